import { lowestIdAt } from '../ids.ts'
import type { Queryable } from '../db/client.ts'
import type { EndpointRef } from '../ids.ts'

/** A request to send again what did not arrive at an endpoint, with how far it has come. */
export type Recovery = {
  tenantId: string
  id: string
  endpointId: string
  since: Date
  status: 'running' | 'completed' | 'canceled'
  /** Deliveries looked at so far, and of them those that were made due again. */
  examined: number
  recovered: number
  createdAt: Date
  endedAt: Date | null
}

const recoveryColumns = `tenant_id AS "tenantId", id, endpoint_id AS "endpointId", since, status,
  examined, recovered, created_at AS "createdAt", ended_at AS "endedAt"`

/** Asks for it; a worker carries it out page by page. */
export async function createRecovery(
  db: Queryable,
  recovery: EndpointRef & { id: string; since: Date },
): Promise<Recovery> {
  const { rows } = await db.query<Recovery>(
    `INSERT INTO webhook_recoveries (tenant_id, id, endpoint_id, since, status, last_delivery_id,
                                     examined, recovered, created_at)
     VALUES ($1, $2, $3, $4, 'running', $5, 0, 0, date_trunc('milliseconds', clock_timestamp()))
     RETURNING ${recoveryColumns}`,
    [
      recovery.tenantId,
      recovery.id,
      recovery.endpointId,
      recovery.since,
      lowestIdAt(recovery.since),
    ],
  )
  const row = rows[0]
  if (row === undefined) throw new Error('a recovery was inserted and not returned')
  return row
}

export async function findRecovery(
  db: Queryable,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<Recovery | undefined> {
  const { rows } = await db.query<Recovery>(
    `SELECT ${recoveryColumns} FROM webhook_recoveries WHERE tenant_id = $1 AND id = $2`,
    [tenantId, id],
  )
  return rows[0]
}

/** Ends it where it stands: what was made due stays due. Safe to repeat; undefined for none such. */
export async function cancelRecovery(
  db: Queryable,
  ref: { tenantId: string; id: string },
): Promise<Recovery | undefined> {
  await db.query(
    `UPDATE webhook_recoveries SET status = 'canceled', ended_at = clock_timestamp()
      WHERE tenant_id = $1 AND id = $2 AND status = 'running'`,
    [ref.tenantId, ref.id],
  )
  return findRecovery(db, ref)
}

/** 1,000 deliveries at a time, so that a cancel comes through and no lock is held for long. */
const pageSize = 1_000

/**
 * Carries open recoveries one page further, of each tenant one before the second of any. Failed and
 * skipped deliveries are made due now, as far as they were there when it was asked for. Returns
 * whether any has more to do.
 */
export async function advanceRecoveries(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ tenantId: string; id: string; createdAt: Date }>(
    `SELECT tenant_id AS "tenantId", id, created_at AS "createdAt" FROM webhook_recoveries
      WHERE status = 'running'
      ORDER BY row_number() OVER (PARTITION BY tenant_id ORDER BY created_at), created_at
      LIMIT 20`,
  )
  let isMore = false
  for (const recovery of rows) isMore = (await advance(db, recovery)) || isMore
  return isMore
}

async function advance(
  db: Queryable,
  { tenantId, id, createdAt }: { tenantId: string; id: string; createdAt: Date },
): Promise<boolean> {
  const { rows } = await db.query<{ isMore: boolean }>(
    `WITH recovery AS (
       SELECT * FROM webhook_recoveries
        WHERE tenant_id = $1 AND id = $2 AND status = 'running'
          FOR NO KEY UPDATE
     ), page AS (
       SELECT found.id, found.status
         FROM recovery
        CROSS JOIN LATERAL (
          SELECT id, status FROM webhook_deliveries
           WHERE tenant_id = $1 AND webhook_deliveries.endpoint_id = recovery.endpoint_id
             AND webhook_deliveries.id >= recovery.last_delivery_id
             AND webhook_deliveries.id < $3
           ORDER BY id
           LIMIT $4) AS found
     ), reset AS (
       UPDATE webhook_deliveries AS deliveries
          SET status = 'pending', tries = 0, next_due_at = clock_timestamp(), ended_at = NULL
         FROM page
        WHERE deliveries.tenant_id = $1 AND deliveries.id = page.id
          AND deliveries.status IN ('failed', 'skipped')
       RETURNING 1
     ), progress AS (
       SELECT count(*)::int AS examined,
              (array_agg(id ORDER BY id DESC))[1] AS last_id
         FROM page
     )
     UPDATE webhook_recoveries
        SET examined = webhook_recoveries.examined + progress.examined
                         - CASE WHEN progress.examined = $4 THEN 1 ELSE 0 END,
            recovered = webhook_recoveries.recovered + (SELECT count(*) FROM reset),
            last_delivery_id = coalesce(progress.last_id, webhook_recoveries.last_delivery_id),
            status = CASE WHEN progress.examined = $4 THEN 'running' ELSE 'completed' END,
            ended_at = CASE WHEN progress.examined = $4 THEN NULL ELSE clock_timestamp() END
       FROM progress, recovery
      WHERE webhook_recoveries.tenant_id = $1 AND webhook_recoveries.id = recovery.id
      RETURNING progress.examined = $4 AS "isMore"`,
    // The last one of a full page is the first of the next: it is counted there.
    [tenantId, id, lowestIdAt(new Date(createdAt.getTime() + 1)), pageSize],
  )
  return rows[0]?.isMore === true
}
