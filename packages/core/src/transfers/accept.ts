import { inTransaction } from '../db/transaction.ts'
import { isLockTimeout, isTransient } from '../db/transient.ts'
import { retrying } from '../db/retry.ts'
import { failurePolicies } from '../failure-policies.ts'
import { createGroupCommit } from '../group-commit.ts'
import { matches, readKeys, type KnownKey } from '../idempotency/known-key.ts'
import { encodeCommand, type TransferCommand } from './transfer.ts'
import type { Pool, Tx } from '../db/client.ts'
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

/** A lock on the key was held for longer than a client should wait: the same request may be sent again. */
export class KeyInFlightError extends Error {
  override name = 'KeyInFlightError'
}

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
/** The connections that acceptance uses at most. */
export const ACCEPTANCE_CONNECTIONS = MAX_ACCEPTING_ALONE + 2

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
      fresh.map(({ tenantId, id, idempotencyKey }) => ({
        tenantId,
        transferId: id,
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

function acceptOnce(
  pool: Pool,
  requests: readonly AcceptanceRequest[],
  lockTimeoutMs: number,
): Promise<Acceptance[]> {
  return inTransaction(pool, { lockTimeoutMs }, async (tx) => {
    const accepted = await insertRequests(tx, requests)
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

/**
 * Inserts the requests whose keys are new, and returns their ids with the time of acceptance. Rows
 * go in by the order of their keys: two flushes that share keys in different orders would deadlock.
 * The time is the transaction's start, which the sweep's watermark waits for (see unsettled.ts).
 */
async function insertRequests(
  tx: Tx,
  requests: readonly AcceptanceRequest[],
): Promise<Map<string, Date>> {
  const { rows } = await tx.query<{ id: string; accepted_at: Date }>(
    `WITH request AS (
       SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::text[])
         AS request (tenant_id, idempotency_key, fingerprint, id, command)
     ), fresh AS (
       INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                     accepted_at, due_at)
       SELECT tenant_id, idempotency_key, fingerprint, 'transfer', id,
              date_trunc('milliseconds', now()), date_trunc('milliseconds', now())
         FROM request
        ORDER BY tenant_id, idempotency_key COLLATE "C"
       ON CONFLICT ON CONSTRAINT idempotency_keys_primary DO NOTHING
       RETURNING tenant_id, resource_id, idempotency_key, accepted_at, due_at
     )
     INSERT INTO commands (tenant_id, id, idempotency_key, accepted_at, due_at, command)
     SELECT fresh.tenant_id, fresh.resource_id, fresh.idempotency_key, fresh.accepted_at,
            fresh.due_at, request.command::json
       FROM fresh JOIN request ON request.id = fresh.resource_id
     RETURNING id, accepted_at`,
    [
      requests.map(({ tenantId }) => tenantId),
      requests.map(({ idempotencyKey }) => idempotencyKey),
      requests.map(({ fingerprint }) => fingerprint),
      requests.map(({ id }) => id),
      requests.map(({ command }) => encodeCommand(command)),
    ],
  )
  return new Map(rows.map((row) => [row.id, row.accepted_at]))
}
