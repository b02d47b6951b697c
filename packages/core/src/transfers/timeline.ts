import { eventIdOf } from '../events/event.ts'
import { findEventsOf } from '../events/feed.ts'
import { readAttempts, type Attempt } from './defer.ts'
import { findTransfer } from './find.ts'
import { isSettled, type Kind, type TransferStatus } from './transfer.ts'
import type { Queryable } from '../db/client.ts'
import type { TransferRef } from '../ids.ts'

/** One thing that happened to a transfer, or that is to happen. */
export type TimelineStep =
  | { type: 'accepted'; at: Date; idempotencyKey: string }
  | { type: 'due'; at: Date }
  | ({ type: 'attempted'; at: Date } & Omit<Attempt, 'attemptedAt'>)
  | { type: 'next_attempt'; at: Date; reason: string }
  | { type: 'settled'; at: Date; status: TransferStatus; settlementId: string }
  | { type: 'child_settled'; at: Date; id: string; kind: Kind; status: TransferStatus }
  | { type: 'event'; at: Date; id: string; event: string }
  | { type: 'delivery'; at: Date; id: string; status: string; attempts: number }

/**
 * What happened to a transfer, in the order of time; undefined where the tenant has none such. A
 * hold that is over is told by the children that ended it, or by its status and `expires_at`.
 */
export async function readTimeline(
  db: Queryable,
  ref: TransferRef,
): Promise<TimelineStep[] | undefined> {
  const transfer = await findTransfer(db, ref)
  if (transfer === undefined) return undefined
  const { createdAt, executeAt, idempotencyKey } = transfer
  const steps: TimelineStep[] = [{ type: 'accepted', at: createdAt, idempotencyKey }]
  if (executeAt !== null && executeAt > createdAt) steps.push({ type: 'due', at: executeAt })
  for (const { attemptedAt, ...attempt } of await readAttempts(db, ref)) {
    steps.push({ type: 'attempted', at: attemptedAt, ...attempt })
  }
  if (isSettled(transfer)) {
    steps.push(...(await readSettlement(db, ref)), ...(await readEvents(db, ref)))
  } else steps.push(...(await readNextAttempt(db, ref)))
  return steps.toSorted((a, b) => a.at.getTime() - b.at.getTime())
}

/** The events about it, each with what became of its deliveries. */
async function readEvents(db: Queryable, { tenantId, transferId }: TransferRef) {
  const events = await findEventsOf(db, { tenantId, objectId: transferId, limit: eventsShown })
  const { rows } = await db.query<Omit<TimelineStep & { type: 'delivery' }, 'type'>>(
    `SELECT id, status, attempts, coalesce(ended_at, created_at) AS at FROM webhook_deliveries
      WHERE tenant_id = $1 AND event_position = ANY($2::bigint[])
      ORDER BY id
      LIMIT $3`,
    [tenantId, events.map(({ position }) => position), deliveriesShown],
  )
  return [
    ...events.map((event) => ({
      type: 'event' as const,
      at: event.createdAt,
      id: eventIdOf(event),
      event: event.type,
    })),
    ...rows.map((row) => ({ type: 'delivery' as const, ...row })),
  ]
}

const eventsShown = 100
const deliveriesShown = 1_000

async function readNextAttempt(
  db: Queryable,
  { tenantId, transferId }: TransferRef,
): Promise<TimelineStep[]> {
  const { rows } = await db.query<{ at: Date; reason: string }>(
    `SELECT next_due_at AS at, reason FROM deferred WHERE tenant_id = $1 AND transfer_id = $2`,
    [tenantId, transferId],
  )
  return rows.map((row) => ({ type: 'next_attempt', ...row }))
}

async function readSettlement(
  db: Queryable,
  { tenantId, transferId }: TransferRef,
): Promise<TimelineStep[]> {
  type Row = { id: string; kind: Kind; status: TransferStatus; at: Date; settlementId: string }
  const { rows } = await db.query<Row>(
    `SELECT id, kind, status, settled_at AS at, settlement_id AS "settlementId" FROM transfers
      WHERE tenant_id = $1 AND (id = $2 OR parent_id = $2)
      ORDER BY settled_at, id
      LIMIT 1000`,
    [tenantId, transferId],
  )
  return rows.map(({ id, kind, status, at, settlementId }) =>
    id === transferId
      ? { type: 'settled', at, status, settlementId }
      : { type: 'child_settled', at, id, kind, status },
  )
}
