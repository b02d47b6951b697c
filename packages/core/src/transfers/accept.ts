import { inTransaction } from '../db/transaction.ts'
import { isLockTimeout, isTransient } from '../db/transient.ts'
import { retrying } from '../db/retry.ts'
import { failurePolicies } from '../failure-policies.ts'
import { createGroupCommit } from '../group-commit.ts'
import { KeyInFlightError, matches, readKeys, type KnownKey } from '../idempotency/known-key.ts'
import { insertRequests, type RequestRow } from './request-row.ts'
import type { TransferCommand } from './transfer.ts'
import type { Pool } from '../db/client.ts'
import type { Clock } from '../clock.ts'
import type { Dispatcher } from '../queue/dispatch.ts'

export type AcceptanceRequest = {
  tenantId: string
  /** The id that the transfer gets, unless its key is known already. */
  id: string
  idempotencyKey: string
  fingerprint: Buffer
  command: TransferCommand
}

export type Acceptance =
  | { result: 'accepted'; id: string; acceptedAt: Date }
  /** The same request was accepted before: answer as then. */
  | { result: 'replayed'; id: string; acceptedAt: Date }
  /** The key belongs to another request. */
  | { result: 'mismatched'; known: KnownKey }

export type Accepter = {
  /**
   * Stores a request durably under its key. When this resolves as `accepted`, the row is committed
   * and the doorbell is being rung. Throws `KeyInFlightError`, `GroupCommitFull`, or an outage.
   */
  accept(request: AcceptanceRequest): Promise<Acceptance>
  /** Resolves when every acceptance and its ring have ended. */
  drained(): Promise<void>
  readonly pending: number
}

export type AccepterOptions = {
  /** A pool of its own, so that a flood of retries never loads the ledger. */
  pool: Pool
  dispatcher: Dispatcher
  clock: Clock
  onFlush(stats: { requests: number; accepted: number; durationMs: number }): void
}

/** 100 ms: longer than any healthy commit, short enough for the neighbours of a held key. */
const sharedLockTimeoutMs = 100
/** 2 s: what a client waits for a twin before it is told to come back. */
const aloneLockTimeoutMs = 2_000
/** Names that may wait for their locks at a time; with the shared flush they fill the pool. */
export const MAX_ACCEPTING_ALONE = 4
/** Besides those: the shared flush, the search for a culprit in one, and the counts of replays. */
export const ACCEPTANCE_CONNECTIONS = MAX_ACCEPTING_ALONE + 3

export function createAccepter(options: AccepterOptions): Accepter {
  const { pool, dispatcher, clock, onFlush } = options

  async function flush(requests: readonly AcceptanceRequest[]): Promise<Acceptance[]> {
    const startedAt = performance.now()
    const acceptances = await retrying(
      {
        ...failurePolicies.acceptance_outage.retry,
        isRetryable: (error) => isTransient(error) && !isLockTimeout(error),
      },
      () => acceptOnce(pool, requests, sharedLockTimeoutMs),
    )
    ringAccepted(requests, acceptances, performance.now() - startedAt)
    return acceptances
  }

  async function flushAlone(requests: readonly AcceptanceRequest[]): Promise<Acceptance[]> {
    const startedAt = performance.now()
    try {
      const acceptances = await acceptOnce(pool, requests, aloneLockTimeoutMs)
      ringAccepted(requests, acceptances, performance.now() - startedAt)
      return acceptances
    } catch (error) {
      if (isLockTimeout(error)) throw new KeyInFlightError('the key is in flight', { cause: error })
      throw error
    }
  }

  function ringAccepted(
    requests: readonly AcceptanceRequest[],
    acceptances: readonly Acceptance[],
    durationMs: number,
  ): void {
    const fresh = requests.filter((_, index) => acceptances[index]?.result === 'accepted')
    dispatcher.ring(
      fresh.filter(isDueAtOnce).map(({ tenantId, id, idempotencyKey }) => ({
        ref: { tenantId, transferId: id },
        idempotencyKey,
      })),
    )
    const last = acceptances.findLast((acceptance) => acceptance.result === 'accepted')
    if (last?.result === 'accepted') clock.observe(last.acceptedAt)
    onFlush({ requests: requests.length, accepted: fresh.length, durationMs })
  }

  const group = createGroupCommit<AcceptanceRequest, Acceptance>({
    flush,
    maxItems: 500,
    maxPending: 20_000,
    isTransient,
    contention: {
      isContended: isLockTimeout,
      nameOf: ({ tenantId, idempotencyKey }) => `${tenantId}/${idempotencyKey}`,
      flushAlone,
      maxParallel: MAX_ACCEPTING_ALONE,
    },
  })

  return {
    accept: group.submit,
    drained: async () => {
      await group.drained()
      await dispatcher.drained()
    },
    get pending() {
      return group.pending
    },
  }
}

/** What is scheduled for later is rung by the sweep when its time has come. */
function isDueAtOnce({ command }: AcceptanceRequest): boolean {
  return command.executeAt === null || command.executeAt.getTime() <= Date.now()
}

function toInsert(request: AcceptanceRequest): RequestRow {
  return { ...request, resource: 'transfer', isDue: true, executeAt: request.command.executeAt }
}

function acceptOnce(
  pool: Pool,
  requests: readonly AcceptanceRequest[],
  lockTimeoutMs: number,
): Promise<Acceptance[]> {
  return inTransaction(pool, { lockTimeoutMs }, async (tx) => {
    const accepted = await insertRequests(tx, requests.map(toInsert))
    const others = requests.filter(({ id }) => !accepted.has(id))
    // A second statement: the snapshot of the first may not see the row that it waited for.
    const known = await readKeys(tx, others)
    const knownByRequest = new Map(others.map((request, index) => [request, known[index]]))
    return requests.map((request): Acceptance => {
      const acceptedAt = accepted.get(request.id)
      if (acceptedAt !== undefined) return { result: 'accepted', id: request.id, acceptedAt }
      return compare(request, knownByRequest.get(request))
    })
  })
}

function compare(request: AcceptanceRequest, known: KnownKey | undefined): Acceptance {
  if (known === undefined) throw new Error('a key that conflicted is gone')
  if (!matches(known, request.fingerprint)) return { result: 'mismatched', known }
  // The id is this request's own where an earlier try was committed and its answer lost.
  const result = known.resourceId === request.id ? 'accepted' : 'replayed'
  return { result, id: known.resourceId, acceptedAt: known.acceptedAt }
}
