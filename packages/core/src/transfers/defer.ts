import { failurePolicies, type FailureWith } from '../failure-policies.ts'
import { accountKey, type AccountState } from '../ledger/books.ts'
import type { Queryable, Tx } from '../db/client.ts'
import type { JobRef, TransferRef } from '../ids.ts'

/** Why a command that was tried is to be tried later. */
export type DeferredReason = Exclude<
  FailureWith<{ policy: 'retry'; by: 'sweep' }>,
  'overdue_transfer'
>

export type Deferral = {
  reason: DeferredReason
  /** What the last attempt ended with: a code, never client data. */
  code: string
  /** Names the process that tried. */
  worker: string
  /** The account whose next credit makes another attempt worth while. */
  awaitsAccount?: string | null
  /** The next attempt is not put off beyond this. */
  notAfter?: Date
}

/** Of what fails again and again, the first attempts tell as much as all of them. */
const maxRecordedAttempts = 100

/**
 * Notes that a command is to be tried later, at the growing gaps of its failure policy. Does nothing
 * where the command has been settled in the meantime.
 */
export async function defer(
  db: Queryable,
  { tenantId, transferId }: TransferRef,
  { reason, code, awaitsAccount, notAfter, worker }: Deferral,
): Promise<void> {
  const { minDelayMs, maxDelayMs } = failurePolicies[reason].retry
  await db.query(
    `WITH put_aside AS (
       INSERT INTO deferred (tenant_id, transfer_id, reason, attempts, last_code, awaits_account,
                             next_due_at)
       SELECT $1, $2, $3, 1, $4, $5, least($6, clock_timestamp() + $7 * interval '1 ms')
        WHERE NOT EXISTS (SELECT FROM transfers WHERE tenant_id = $1 AND id = $2)
       ON CONFLICT ON CONSTRAINT deferred_primary DO UPDATE
          SET reason = excluded.reason, last_code = excluded.last_code,
              awaits_account = excluded.awaits_account,
              attempts = deferred.attempts + 1,
              next_due_at = least($6, clock_timestamp()
                + least($8, $7 * 2 ^ least(deferred.attempts, 20)) * interval '1 ms')
       RETURNING attempts
     )
     INSERT INTO transfer_attempts (tenant_id, transfer_id, attempt, worker, code, attempted_at)
     SELECT $1, $2, attempts, $9, $4, clock_timestamp() FROM put_aside
      WHERE attempts <= ${maxRecordedAttempts}
     -- The deferral may have been ended, and begins anew.
     ON CONFLICT DO NOTHING`,
    [
      tenantId,
      transferId,
      reason,
      code,
      awaitsAccount ?? null,
      notAfter ?? null,
      minDelayMs,
      maxDelayMs,
      worker,
    ],
  )
}

/** What is left sleeping comes with the next credit, or at its own time. */
const wokenAtATime = 1_000

/**
 * Makes another attempt due at once for what waits for funds of these accounts. `awaited` names, by
 * `accountKey`, the accounts that something waits for, so that a flush without any asks nothing.
 */
export async function wakeWaiting(
  tx: Tx,
  enriched: readonly AccountState[],
  awaited: readonly string[],
): Promise<void> {
  if (awaited.length === 0) return
  const woken = enriched.filter(({ tenantId, id }) => awaited.includes(accountKey(tenantId, id)))
  if (woken.length === 0) return
  await tx.query(
    `UPDATE deferred SET next_due_at = clock_timestamp()
       FROM (SELECT deferred.tenant_id, transfer_id
               FROM unnest($1::uuid[], $2::uuid[]) AS enriched (tenant_id, account_id)
               JOIN deferred ON deferred.tenant_id = enriched.tenant_id
                            AND deferred.awaits_account = enriched.account_id
              WHERE next_due_at > clock_timestamp()
              LIMIT $3) AS woken
      WHERE deferred.tenant_id = woken.tenant_id AND deferred.transfer_id = woken.transfer_id`,
    [woken.map(({ tenantId }) => tenantId), woken.map(({ id }) => id), wokenAtATime],
  )
}

/** Forgets that something was to be tried later: it has been settled. */
export async function endDeferral(
  db: Queryable,
  { tenantId, transferId }: TransferRef,
): Promise<void> {
  await db.query('DELETE FROM deferred WHERE tenant_id = $1 AND transfer_id = $2', [
    tenantId,
    transferId,
  ])
}

/** A command that was put aside, for an operator. */
export type Deferred = TransferRef & {
  reason: DeferredReason
  attempts: number
  lastCode: string
  nextDueAt: Date
  /** It is an atomic batch, and the id is the batch's. */
  isBatch: boolean
}

const deferredColumns = `
  tenant_id AS "tenantId", transfer_id AS "transferId", reason, attempts, last_code AS "lastCode",
  next_due_at AS "nextDueAt",
  EXISTS (SELECT FROM transfer_batches AS batches
           WHERE batches.tenant_id = deferred.tenant_id
             AND batches.id = deferred.transfer_id) AS "isBatch"`

/** What is put aside, those first that are tried next. */
export async function listDeferred(db: Queryable, limit: number): Promise<Deferred[]> {
  const { rows } = await db.query<Deferred>(
    `SELECT ${deferredColumns} FROM deferred ORDER BY next_due_at, transfer_id LIMIT $1`,
    [limit],
  )
  return rows
}

/** The command with this id that is put aside, or undefined where it is not. */
export async function findDeferred(
  db: Queryable,
  transferId: string,
): Promise<Deferred | undefined> {
  const { rows } = await db.query<Deferred>(
    `SELECT ${deferredColumns} FROM deferred WHERE transfer_id = $1`,
    [transferId],
  )
  return rows[0]
}

/** Puts a command aside that throws by itself. The code names the error, never client data. */
export async function park(
  db: Queryable,
  ref: JobRef,
  { error, worker }: { error: unknown; worker: string },
): Promise<void> {
  const transferId = 'batchId' in ref ? ref.batchId : ref.transferId
  await defer(
    db,
    { tenantId: ref.tenantId, transferId },
    { reason: 'poison', code: codeOf(error), worker },
  )
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' ? code : error.name
}

export type Attempt = { attempt: number; worker: string; code: string; attemptedAt: Date }

/** The attempts that did not settle a transfer, oldest first. */
export async function readAttempts(
  db: Queryable,
  { tenantId, transferId }: TransferRef,
): Promise<Attempt[]> {
  const { rows } = await db.query<Attempt>(
    `SELECT attempt, worker, code, attempted_at AS "attemptedAt" FROM transfer_attempts
      WHERE tenant_id = $1 AND transfer_id = $2
      ORDER BY attempt`,
    [tenantId, transferId],
  )
  return rows
}
