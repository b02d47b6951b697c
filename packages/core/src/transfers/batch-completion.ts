import { inTransaction } from '../db/transaction.ts'
import { recordEvents } from '../events/event.ts'
import type { Pool, Queryable, Tx } from '../db/client.ts'
import type { BatchRef } from '../ids.ts'
import type { SettledStatus } from './transfer.ts'

/*
 * The items of a batch settle in several transactions, some of them much later than others, so none
 * of these knows that it was the last one. Whoever settled a share looks, and the sweep looks again.
 */

/** What a complete batch has come to. */
export type BatchFacts = {
  is_settled: true
  total: number
  counts: Partial<Record<SettledStatus, number>>
}

/**
 * Notes that all items of a batch are settled, where they are, with one event for ever; else it is
 * looked at again later, the longer it takes the less often. Throws only for outages.
 */
export function completeBatch(pool: Pool, ref: BatchRef): Promise<void> {
  return inTransaction(pool, {}, async (tx) => {
    const batch = await lockOpenBatch(tx, ref)
    if (batch === undefined) return
    if (await hasUnsettledItem(tx, ref)) await lookAgainLater(tx, ref)
    else await complete(tx, ref, batch.callbackUrl)
  })
}

/** Batches that may be complete and are due to be looked at, the longest due first. */
export async function findBatchesToCheck(db: Queryable, limit: number): Promise<BatchRef[]> {
  const { rows } = await db.query<BatchRef>(
    `SELECT tenant_id AS "tenantId", id AS "batchId" FROM transfer_batches
      WHERE next_check_at <= clock_timestamp()
      ORDER BY next_check_at
      LIMIT $1`,
    [limit],
  )
  return rows
}

/** Undefined where it is complete, or somebody else is looking at it. */
async function lockOpenBatch(
  tx: Tx,
  { tenantId, batchId }: BatchRef,
): Promise<{ callbackUrl: string | null } | undefined> {
  const { rows } = await tx.query<{ callbackUrl: string | null }>(
    `SELECT callback_url AS "callbackUrl" FROM transfer_batches
      WHERE tenant_id = $1 AND id = $2 AND next_check_at IS NOT NULL
        FOR NO KEY UPDATE SKIP LOCKED`,
    [tenantId, batchId],
  )
  return rows[0]
}

async function hasUnsettledItem(tx: Tx, { tenantId, batchId }: BatchRef): Promise<boolean> {
  const { rowCount } = await tx.query(
    `SELECT FROM batch_items
      WHERE tenant_id = $1 AND batch_id = $2
        AND NOT EXISTS (SELECT FROM transfers
                         WHERE transfers.tenant_id = $1 AND transfers.id = transfer_id)
      LIMIT 1`,
    [tenantId, batchId],
  )
  return rowCount === 1
}

/** After a tenth of its age, from a second to a minute. */
async function lookAgainLater(tx: Tx, { tenantId, batchId }: BatchRef): Promise<void> {
  await tx.query(
    `UPDATE transfer_batches
        SET next_check_at = clock_timestamp() +
              least(interval '1 minute',
                    greatest(interval '1 s', (clock_timestamp() - created_at) / 10))
      WHERE tenant_id = $1 AND id = $2`,
    [tenantId, batchId],
  )
}

async function complete(
  tx: Tx,
  { tenantId, batchId }: BatchRef,
  callbackUrl: string | null,
): Promise<void> {
  const { rows } = await tx.query<{ status: SettledStatus; count: number }>(
    `SELECT status, count(*)::int AS count
       FROM batch_items
       JOIN transfers ON transfers.tenant_id = $1 AND transfers.id = transfer_id
      WHERE batch_items.tenant_id = $1 AND batch_id = $2
      GROUP BY status
      ORDER BY status`,
    [tenantId, batchId],
  )
  const { rows: completed } = await tx.query<{ completedAt: Date }>(
    `UPDATE transfer_batches
        SET completed_at = date_trunc('milliseconds', clock_timestamp()), next_check_at = NULL
      WHERE tenant_id = $1 AND id = $2
      RETURNING completed_at AS "completedAt"`,
    [tenantId, batchId],
  )
  const completedAt = completed[0]?.completedAt
  if (completedAt === undefined) throw new Error('a batch vanished under its lock')
  const facts: BatchFacts = {
    is_settled: true,
    total: rows.reduce((sum, { count }) => sum + count, 0),
    counts: Object.fromEntries(rows.map(({ status, count }) => [status, count])),
  }
  const event = {
    tenantId,
    type: 'transfer_batch.completed',
    objectId: batchId,
    sequence: 1,
  } as const
  await recordEvents(tx, [{ ...event, state: JSON.stringify(facts), callbackUrl }], completedAt)
}
