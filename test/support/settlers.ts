import { randomBytes } from 'node:crypto'
import { createClock } from '@payonce/core/clock'
import { createPool, type Pool } from '@payonce/core/db/client'
import { createIdGenerator, type NewId, type TransferRef } from '@payonce/core/ids'
import { createAccepter } from '@payonce/core/transfers/accept'
import { createSettler } from '@payonce/core/transfers/settle'
import { onTestFinished } from 'vitest'
import { newKey, type TransferRequest } from './client.ts'
import { uuidOf, type Payonce } from './payonce.ts'

/** A settler as a worker process has it: with connections of its own, and no queue before it. */
export type LoneSettler = {
  settle(refs: readonly TransferRef[]): Promise<void>
  pool: Pool
  newId: NewId
  /** What was put aside, and the error that it was put aside for. */
  parked: { ref: TransferRef; error: unknown }[]
  close(): Promise<void>
}

/** Starts as many settlers as there would be workers. They end with the test. */
export function startSettlers(count: number, databaseUrl: string): LoneSettler[] {
  return Array.from({ length: count }, (_, n) => startSettler(`settler-${n}`, databaseUrl))
}

function startSettler(name: string, databaseUrl: string): LoneSettler {
  const pool = createPool({ databaseUrl, name, maxConnections: 4, onError: () => undefined })
  const newId = createIdGenerator(createClock().nowMs)
  const parked: LoneSettler['parked'] = []
  const settler = createSettler({
    pool,
    newId,
    onFlush: () => undefined,
    onParked: (ref, error) => parked.push({ ref, error }),
  })
  let closing: Promise<void> | undefined
  const close = () => (closing ??= pool.end())
  onTestFinished(close)
  return {
    settle: async (refs) => {
      await Promise.all(refs.map(settler.settle))
    },
    pool,
    newId,
    parked,
    close,
  }
}

/**
 * Accepts many requests as the API does, without HTTP and without a ring: for tests that want to
 * have thousands in hand and to settle them by themselves. Returns what a job would carry for each.
 */
export async function acceptUnrung(
  { db, newId, id: tenantId }: Pick<Payonce, 'db' | 'newId' | 'id'>,
  requests: readonly TransferRequest[],
): Promise<TransferRef[]> {
  const accepter = createAccepter({
    pool: db,
    clock: createClock(),
    dispatcher: { ring: () => undefined, drained: () => Promise.resolve() },
    onFlush: () => undefined,
  })
  return Promise.all(
    requests.map(async ({ source, destination, amount, currency, description, metadata }) => {
      const accepted = await accepter.accept({
        tenantId,
        id: newId(),
        idempotencyKey: newKey(),
        fingerprint: randomBytes(32),
        command: {
          kind: 'transfer',
          source: uuidOf(source),
          destination: uuidOf(destination),
          amount: BigInt(amount),
          currency: currency ?? 'EUR',
          description: description ?? null,
          metadata: metadata ?? {},
          retryFundsUntil: null,
        },
      })
      if (accepted.result !== 'accepted') throw new Error(`a new key was ${accepted.result}`)
      return { tenantId, transferId: accepted.id }
    }),
  )
}
