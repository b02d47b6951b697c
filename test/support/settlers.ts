import { randomBytes } from 'node:crypto'
import { createClock } from '@payonce/core/clock'
import { createPool, type Pool } from '@payonce/core/db/client'
import { createIdGenerator, type JobRef, type NewId, type TransferRef } from '@payonce/core/ids'
import { createAccepter } from '@payonce/core/transfers/accept'
import { createSettler } from '@payonce/core/transfers/settle'
import { onTestFinished } from 'vitest'
import { newKey, type TransferRequest } from './client.ts'
import { uuidOf, type Payonce } from './payonce.ts'
import type { TransferCommand } from '@payonce/core/transfers/transfer'

/** A settler as a worker process has it: with connections of its own, and no queue before it. */
export type LoneSettler = {
  settle(refs: readonly JobRef[]): Promise<void>
  /** Releases what is left of holds whose time is over, as the sweep asks for it. */
  expireHolds(holds: readonly TransferRef[]): Promise<void>
  pool: Pool
  newId: NewId
  /** What was put aside, and the error that it was put aside for. */
  parked: { ref: JobRef; error: unknown }[]
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
    worker: name,
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
    expireHolds: settler.expireHolds,
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
export function acceptUnrung(
  payonce: Pick<Payonce, 'db' | 'newId' | 'id'>,
  requests: readonly TransferRequest[],
): Promise<TransferRef[]> {
  return acceptCommands(payonce, requests.map(toCommand))
}

/** As `acceptUnrung`, for any commands. */
export async function acceptCommands(
  { db, newId, id: tenantId }: Pick<Payonce, 'db' | 'newId' | 'id'>,
  commands: readonly TransferCommand[],
): Promise<TransferRef[]> {
  const accepter = createAccepter({
    pool: db,
    clock: createClock(),
    dispatcher: { ring: () => undefined, drained: () => Promise.resolve() },
    onFlush: () => undefined,
  })
  return Promise.all(
    commands.map(async (command) => {
      const accepted = await accepter.accept({
        tenantId,
        id: newId(),
        idempotencyKey: newKey(),
        fingerprint: randomBytes(32),
        command,
      })
      if (accepted.result !== 'accepted') throw new Error(`a new key was ${accepted.result}`)
      return { tenantId, transferId: accepted.id }
    }),
  )
}

/** The command of a request in EUR; its accounts are those of the wire. */
export function toCommand(request: TransferRequest): TransferCommand {
  const { source, destination, amount, currency, description, metadata, hold, expires_at } = request
  return {
    ...nothing,
    kind: hold ? 'hold' : 'transfer',
    source: uuidOf(source),
    destination: uuidOf(destination),
    amount: BigInt(amount),
    currency: currency ?? 'EUR',
    description: description ?? null,
    metadata: metadata ?? {},
    expiresAt: expires_at === undefined ? null : new Date(expires_at),
  }
}

/** A command that builds on a transfer which was accepted with this request. */
export function toChild(
  kind: 'capture' | 'release' | 'refund',
  { transferId }: TransferRef,
  parent: TransferRequest,
  { amount, isFinal = false }: { amount?: number; isFinal?: boolean } = {},
): TransferCommand {
  const isBack = kind === 'refund'
  return {
    ...nothing,
    kind,
    parentId: transferId,
    source: uuidOf(isBack ? parent.destination : parent.source),
    destination: uuidOf(isBack ? parent.source : parent.destination),
    amount: amount === undefined ? null : BigInt(amount),
    currency: parent.currency ?? 'EUR',
    isFinal,
  }
}

const nothing: Omit<TransferCommand, 'kind'> = {
  parentId: null,
  source: null,
  destination: null,
  amount: null,
  currency: null,
  legs: null,
  description: null,
  metadata: {},
  isFinal: false,
  executeAt: null,
  expiresAt: null,
  retryFundsUntil: null,
  condition: null,
  atomicBatchId: null,
  callbackUrl: null,
}
