import { dropLease, takeLease, type Lease } from '../db/lease.ts'
import { Parameters } from '../db/parameters.ts'
import { commandColumns, toUnsettledTransfer, type CommandRow } from './transfer-row.ts'
import type { Queryable } from '../db/client.ts'
import type { TransferRef } from '../ids.ts'
import type { Transfer } from './transfer.ts'

/** A command or batch that is due and not settled: what the sweep rings. */
export type Unsettled = {
  tenantId: string
  resource: 'transfer' | 'batch'
  resourceId: string
  idempotencyKey: string
  dueAt: Date
  /** Whether its time came after its acceptance, so that nobody has rung it yet. */
  isScheduled: boolean
}

export type SweepState = {
  /** Below it everything is settled, or stands in `deferred`. */
  watermark: Date
  oldestUnsettledAt: Date | null
  deferredCount: number
  auditFinds: number
  sweptAt: Date | null
}

const sweepName = 'transfers'

/** Takes or extends the lease of the sweep. Undefined while another process holds it. */
export function takeSweepLease(
  db: Queryable,
  holder: string,
): Promise<{ watermark: Date } | undefined> {
  return takeLease(db, leaseOf(holder), 'watermark')
}

export function dropSweepLease(db: Queryable, holder: string): Promise<void> {
  return dropLease(db, leaseOf(holder))
}

function leaseOf(holder: string): Lease {
  return { table: 'sweeps', name: sweepName, holder }
}

/** Notes how far the sweep has come. Returns false where the lease was lost meanwhile. */
export async function recordSweep(
  db: Queryable,
  holder: string,
  state: Pick<SweepState, 'watermark' | 'oldestUnsettledAt' | 'deferredCount'> & {
    newAuditFinds: number
  },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE sweeps
        SET watermark = $3, oldest_unsettled_at = $4, deferred_count = $5,
            audit_finds = audit_finds + $6, swept_at = clock_timestamp()
      WHERE name = $1 AND holder = $2`,
    [
      sweepName,
      holder,
      state.watermark,
      state.oldestUnsettledAt,
      state.deferredCount,
      state.newAuditFinds,
    ],
  )
  return rowCount === 1
}

export async function readSweepState(db: Queryable): Promise<SweepState> {
  const { rows } = await db.query<SweepState>(
    `SELECT watermark, oldest_unsettled_at AS "oldestUnsettledAt",
            deferred_count AS "deferredCount", audit_finds AS "auditFinds", swept_at AS "sweptAt"
       FROM sweeps WHERE name = $1`,
    [sweepName],
  )
  const state = rows[0]
  if (state === undefined) throw new Error('the sweeps table has no row for transfers')
  return state
}

/**
 * The time up to which no request can be accepted any more: acceptance is dated with the start of
 * its transaction, so nothing older than the oldest open one can still appear. Transactions that
 * have written nothing and are older than 30 s are dumps and reports: an acceptance that writes
 * nothing for 10 s is ended by Postgres (idle_in_transaction_session_timeout).
 */
export async function readHorizon(db: Queryable): Promise<{ now: Date; horizon: Date }> {
  const { rows } = await db.query<{ now: Date; horizon: Date }>(
    `SELECT date_trunc('milliseconds', clock_timestamp()) AS now,
            date_trunc('milliseconds',
              least(min(xact_start), clock_timestamp() - interval '1 s')) AS horizon
       FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND (backend_xid IS NOT NULL OR xact_start > clock_timestamp() - interval '30 s')`,
  )
  const row = rows[0]
  if (row === undefined) throw new Error('Postgres told no time')
  return row
}

/**
 * Refuses a role that cannot see the transactions of others: its horizon would be a guess. For what
 * has to be right at once; the sweep looks again every hour.
 */
export async function requireSight(db: Queryable): Promise<void> {
  const { rowCount } = await db.query(
    `SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND query = '<insufficient privilege>'
        -- Workers of autovacuum are nobody's, and write nothing of ours.
        AND usesysid IS NOT NULL
      LIMIT 1`,
  )
  if (rowCount === 0) return
  throw new Error(
    "this role may not see other roles' transactions: use the role of the workers, or grant pg_read_all_stats",
  )
}

/** Where a page of unsettled commands begins: behind this one, by due time and id. */
export type UnsettledPosition = { dueAt: Date; resourceId: string }

const beforeAllIds = '00000000-0000-0000-0000-000000000000'

/** The position of the first command that is due at this time or later. */
export function positionAt(dueAt: Date): UnsettledPosition {
  return { dueAt, resourceId: beforeAllIds }
}

/**
 * Commands that were due by `until` and neither settled nor deferred, oldest first; of those that
 * were rung when they were accepted, only what was due by `overdueSince`. The bounds are parameters,
 * so that the plan is made for them: the cost follows the range, not the history.
 */
export async function findUnsettled(
  db: Queryable,
  range: { after: UnsettledPosition; until: Date; overdueSince?: Date; limit: number },
): Promise<Unsettled[]> {
  const { rows } = await db.query<Unsettled>(
    `SELECT tenant_id AS "tenantId", resource, resource_id AS "resourceId",
            idempotency_key AS "idempotencyKey", due_at AS "dueAt",
            due_at > accepted_at AS "isScheduled"
       FROM idempotency_keys AS accepted
      WHERE due_at >= $1 AND due_at <= $3 AND (due_at, resource_id) > ($1, $2)
        AND (due_at <= $5 OR due_at > accepted_at)
        AND NOT EXISTS (SELECT FROM transfers
                         WHERE transfers.tenant_id = accepted.tenant_id
                           AND transfers.id = CASE accepted.resource
                             WHEN 'batch' THEN (
                               SELECT transfer_id FROM batch_items
                                WHERE batch_items.tenant_id = accepted.tenant_id
                                  AND batch_items.batch_id = accepted.resource_id
                                  AND position = 0)
                             ELSE accepted.resource_id END)
        AND NOT EXISTS (SELECT FROM deferred
                         WHERE deferred.tenant_id = accepted.tenant_id
                           AND deferred.transfer_id = accepted.resource_id)
      ORDER BY due_at, resource_id
      LIMIT $4`,
    [
      range.after.dueAt,
      range.after.resourceId,
      range.until,
      range.limit,
      range.overdueSince ?? range.until,
    ],
  )
  return rows
}

/** 50,000: a statement looks at no more, however long the range is, and takes a fraction of a second. */
const keysPerSlice = 50_000

/**
 * The same for a range of any length, page by page; a page may be empty. The range is cut into slices
 * of so many keys, whether these are settled or not.
 */
export async function* readUnsettled(
  db: Queryable,
  range: { after: UnsettledPosition; until: Date; overdueSince?: Date; limit: number },
): AsyncGenerator<Unsettled[]> {
  let { after } = range
  for (;;) {
    const end = await endOfSlice(db, after.dueAt, range.until)
    let page: Unsettled[]
    do {
      page = await findUnsettled(db, { ...range, after, until: end })
      yield page
      after = page.at(-1) ?? after
    } while (page.length === range.limit)
    if (end.getTime() >= range.until.getTime()) return
    after = positionAt(new Date(end.getTime() + 1))
  }
}

async function endOfSlice(db: Queryable, from: Date, until: Date): Promise<Date> {
  const { rows } = await db.query<{ due_at: Date }>(
    `SELECT due_at FROM idempotency_keys WHERE due_at >= $1 AND due_at <= $2
      ORDER BY due_at OFFSET $3 LIMIT 1`,
    [from, until, keysPerSlice],
  )
  return rows[0]?.due_at ?? until
}

/** Deferred commands whose next attempt is due, oldest first. */
export async function findDeferredDue(db: Queryable, limit: number): Promise<Unsettled[]> {
  const { rows } = await db.query<Unsettled>(
    `SELECT deferred.tenant_id AS "tenantId",
            CASE WHEN commands.id IS NULL THEN 'batch' ELSE 'transfer' END AS resource,
            deferred.transfer_id AS "resourceId",
            coalesce(commands.idempotency_key, batches.idempotency_key) AS "idempotencyKey",
            deferred.next_due_at AS "dueAt", true AS "isScheduled"
       FROM deferred
       LEFT JOIN commands ON commands.tenant_id = deferred.tenant_id
                         AND commands.id = deferred.transfer_id
       LEFT JOIN transfer_batches AS batches ON batches.tenant_id = deferred.tenant_id
                                            AND batches.id = deferred.transfer_id
      WHERE coalesce(commands.idempotency_key, batches.idempotency_key) IS NOT NULL AND deferred.next_due_at <= clock_timestamp()
      ORDER BY deferred.next_due_at
      LIMIT $1`,
    [limit],
  )
  return rows
}

/** How many commands are deferred, counted up to `limit`. */
export async function countDeferred(db: Queryable, limit: number): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM (SELECT FROM deferred LIMIT $1) AS counted`,
    [limit],
  )
  return rows[0]?.count ?? 0
}

/** Holds whose time is over, oldest first. */
export async function findExpiredHolds(db: Queryable, limit: number): Promise<TransferRef[]> {
  const { rows } = await db.query<TransferRef>(
    `SELECT tenant_id AS "tenantId", id AS "transferId" FROM transfers
      WHERE status = 'held' AND expires_at <= clock_timestamp()
      ORDER BY expires_at
      LIMIT $1`,
    [limit],
  )
  return rows
}

/**
 * A tenant's transfers that are accepted and not settled, newest first; `conditions` adds what is
 * asked of `commands` besides. The cost follows what is unsettled.
 */
export async function findAwaiting(
  db: Queryable,
  range: {
    tenantId: string
    beforeId?: string | undefined
    createdAfter?: Date | undefined
    createdBefore?: Date | undefined
    limit: number
    conditions(p: Parameters): string[]
  },
): Promise<Transfer[]> {
  const { watermark } = await readSweepState(db)
  const p = new Parameters()
  const tenant = p.add(range.tenantId)
  const since = p.add(watermark)
  const conditions = [
    ...(range.beforeId === undefined ? [] : [`commands.id < ${p.add(range.beforeId)}`]),
    ...range.conditions(p),
  ]
  const { rows } = await db.query<CommandRow & { now: Date }>(
    `WITH due AS (
       SELECT resource, resource_id FROM idempotency_keys
        WHERE due_at >= ${since} AND tenant_id = ${tenant}
     ), unsettled AS (
       SELECT resource_id AS id FROM due WHERE resource = 'transfer'
        UNION
       SELECT transfer_id FROM due
         JOIN batch_items ON batch_items.tenant_id = ${tenant} AND batch_id = resource_id
        WHERE resource = 'batch'
        UNION
       SELECT transfer_id FROM deferred WHERE tenant_id = ${tenant}
        UNION
       SELECT batch_items.transfer_id FROM deferred
         JOIN batch_items ON batch_items.tenant_id = ${tenant}
                         AND batch_items.batch_id = deferred.transfer_id
        WHERE deferred.tenant_id = ${tenant}
     )
     SELECT ${commandColumns}, clock_timestamp() AS now
       FROM unsettled
       JOIN commands ON commands.tenant_id = ${tenant} AND commands.id = unsettled.id
      WHERE NOT EXISTS (SELECT FROM transfers WHERE transfers.tenant_id = ${tenant}
                                               AND transfers.id = unsettled.id)
        ${conditions.map((condition) => `AND ${condition}`).join(' ')}
      ORDER BY commands.id DESC
      LIMIT ${p.add(range.limit)}`,
    p.values,
  )
  return rows.flatMap((row) => toUnsettledTransfer(row) ?? [])
}
