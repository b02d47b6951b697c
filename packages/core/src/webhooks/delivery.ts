import { inTransaction } from '../db/transaction.ts'
import { Parameters } from '../db/parameters.ts'
import { lowestIdAt } from '../ids.ts'
import type { Pool, Queryable } from '../db/client.ts'
import type { StoredEvent } from '../events/event.ts'
import type { EndpointRef } from '../ids.ts'
import type { SendResult } from './send.ts'

export type DeliveryStatus = 'pending' | 'succeeded' | 'failed' | 'skipped'

/** An event on its way to an endpoint, with what has become of it. */
export type Delivery = {
  tenantId: string
  id: string
  endpointId: string
  /** Whether it goes to the `callback_url` of a request, and not to an endpoint of the tenant. */
  isCallback: boolean
  url: string
  event: Pick<StoredEvent, 'type' | 'position' | 'createdAt'>
  status: DeliveryStatus
  attempts: Attempt[]
  nextDueAt: Date | null
  createdAt: Date
  endedAt: Date | null
}

export type Attempt = Omit<SendResult, 'retryAfterMs'> & { attempt: number }

/** A delivery that is due, with the event that it carries. */
export type DueDelivery = {
  id: string
  /** Where it goes instead of the endpoint's URL. */
  url: string | null
  tries: number
  attempts: number
  event: StoredEvent
}

/** An attempt that was made, and what follows from it. */
export type AttemptRecord = {
  delivery: DueDelivery
  result: SendResult
  status: Exclude<DeliveryStatus, 'skipped'>
  /** How long until the next attempt, where there is one. */
  gapMs: number | null
}

/** What is due for an endpoint, oldest first, but for what is in hand already. */
export async function findDue(
  db: Queryable,
  { tenantId, endpointId }: EndpointRef,
  { inHand, limit }: { inHand: readonly string[]; limit: number },
): Promise<DueDelivery[]> {
  type Row = Omit<DueDelivery, 'event' | 'url'> &
    Omit<StoredEvent, 'tenantId'> & { deliveryUrl: string | null }
  const { rows } = await db.query<Row>(
    `SELECT deliveries.id, deliveries.url AS "deliveryUrl", tries, attempts, events.position,
            events.type, events.object_id AS "objectId", events.sequence, events.state,
            events.callback_url AS "callbackUrl", events.created_at AS "createdAt"
       FROM webhook_deliveries AS deliveries
       JOIN events ON events.tenant_id = deliveries.tenant_id
                  AND events.position = deliveries.event_position
      WHERE deliveries.tenant_id = $1 AND endpoint_id = $2 AND status = 'pending'
        AND next_due_at <= clock_timestamp() AND deliveries.id <> ALL($3::uuid[])
      ORDER BY next_due_at, deliveries.id
      LIMIT $4`,
    [tenantId, endpointId, inHand, limit],
  )
  return rows.map(({ id, deliveryUrl, tries, attempts, ...event }) => ({
    id,
    url: deliveryUrl,
    tries,
    attempts,
    event: { ...event, tenantId },
  }))
}

/** What is known of an endpoint's health after some attempts. */
export type HealthRecord = {
  failures: number
  failingSince: Date | null
  /** How long nothing is sent; 0 where there is no need for a rest. */
  restMs: number
  lastSuccessAt: Date | null
  lastFailureAt: Date | null
}

/**
 * Logs attempts, says when each delivery is due next, and notes the health of the endpoint. Returns
 * false where another process has taken the endpoint over. What a crash of Postgres undoes of it is
 * sent again: at least once is the promise.
 */
export function recordAttempts(
  pool: Pool,
  ref: EndpointRef & { holder: string },
  records: readonly AttemptRecord[],
  health: HealthRecord,
): Promise<boolean> {
  const column = <T>(valueOf: (record: AttemptRecord) => T) => records.map(valueOf)
  return inTransaction(pool, { mayBeUndone: true }, async (tx) => {
    await tx.query(
      `WITH made AS (
         SELECT * FROM unnest($2::uuid[], $3::integer[], $4::timestamptz[], $5::integer[],
                              $6::integer[], $7::text[], $8::text[], $9::text[], $10::bigint[])
           AS made (id, attempt, started_at, duration_ms, status_code, error, answer, status, gap_ms)
       ), logged AS (
         INSERT INTO webhook_attempts (tenant_id, delivery_id, attempt, started_at, duration_ms,
                                       status_code, error, answer)
         SELECT $1, id, attempt, started_at, duration_ms, status_code, error, answer FROM made
         ON CONFLICT DO NOTHING
       )
       UPDATE webhook_deliveries AS deliveries
          SET status = made.status, tries = tries + 1, attempts = made.attempt,
              next_due_at = clock_timestamp() + gap_ms * interval '1 ms',
              ended_at = CASE WHEN made.status <> 'pending' THEN clock_timestamp() END
         FROM made
        WHERE deliveries.tenant_id = $1 AND deliveries.id = made.id
          AND deliveries.attempts < made.attempt`,
      [
        ref.tenantId,
        column(({ delivery }) => delivery.id),
        column(({ delivery }) => delivery.attempts + 1),
        column(({ result }) => result.startedAt),
        column(({ result }) => result.durationMs),
        column(({ result }) => result.statusCode),
        column(({ result }) => result.error),
        column(({ result }) => result.answer),
        column(({ status }) => status),
        column(({ gapMs }) => gapMs),
      ],
    )
    const { rowCount } = await tx.query(
      `UPDATE webhook_endpoints
          SET failures = $4, failing_since = $5,
              probe_at = CASE WHEN $6 > 0 THEN clock_timestamp() + $6 * interval '1 ms' END,
              last_success_at = coalesce($7, last_success_at),
              last_failure_at = coalesce($8, last_failure_at),
              lease_expires_at = clock_timestamp() + ${lease}
        WHERE tenant_id = $1 AND id = $2 AND holder = $3`,
      [
        ref.tenantId,
        ref.endpointId,
        ref.holder,
        health.failures,
        health.failingSince,
        health.restMs,
        health.lastSuccessAt,
        health.lastFailureAt,
      ],
    )
    return rowCount === 1
  })
}

/** 40 s: longer than an attempt and its record take, so that it is not lost between two of them. */
const lease = `interval '40 s'`

/** An endpoint that one process at a time sends to, as it is when it is taken. */
export type TakenEndpoint = {
  kind: 'endpoint' | 'callback'
  url: string
  rateLimit: number
  failures: number
  failingSince: Date | null
}

/**
 * Takes an endpoint for this holder alone. Undefined where another one has it, it is disabled, or it is
 * given a rest.
 */
export async function takeEndpoint(
  db: Queryable,
  ref: EndpointRef & { holder: string },
): Promise<TakenEndpoint | undefined> {
  const { rows } = await db.query<TakenEndpoint>(
    `UPDATE webhook_endpoints
        SET holder = $3, lease_expires_at = clock_timestamp() + ${lease}
      WHERE tenant_id = $1 AND id = $2 AND status = 'enabled'
        AND (probe_at IS NULL OR probe_at <= clock_timestamp())
        AND (holder IS NULL OR lease_expires_at < clock_timestamp())
      RETURNING kind, url, rate_limit AS "rateLimit", failures, failing_since AS "failingSince"`,
    [ref.tenantId, ref.endpointId, ref.holder],
  )
  return rows[0]
}

export async function dropEndpoint(
  db: Queryable,
  ref: EndpointRef & { holder: string },
): Promise<void> {
  await db.query(
    `UPDATE webhook_endpoints SET holder = NULL, lease_expires_at = NULL
      WHERE tenant_id = $1 AND id = $2 AND holder = $3`,
    [ref.tenantId, ref.endpointId, ref.holder],
  )
}

/**
 * The endpoints that anything waits for, found by going from one to the next in the index: the cost
 * follows their number, and neither that of all endpoints nor that of all that waits.
 */
const awaited = `RECURSIVE awaited AS (
  (SELECT tenant_id, endpoint_id FROM webhook_deliveries
    WHERE status = 'pending'
    ORDER BY tenant_id, endpoint_id
    LIMIT 1)
   UNION ALL
  SELECT following.tenant_id, following.endpoint_id
    FROM awaited
   CROSS JOIN LATERAL (
     SELECT tenant_id, endpoint_id FROM webhook_deliveries
      WHERE status = 'pending'
        AND (tenant_id, endpoint_id) > (awaited.tenant_id, awaited.endpoint_id)
      ORDER BY tenant_id, endpoint_id
      LIMIT 1) AS following
)`

/**
 * Enabled endpoints that something is due for, and that nobody sends to now: one of each tenant
 * before the second of any, and a tenant's own in any order, so that none is always the last.
 */
export async function findDueEndpoints(db: Queryable, limit: number): Promise<EndpointRef[]> {
  const { rows } = await db.query<EndpointRef>(
    `WITH ${awaited}
     SELECT endpoints.tenant_id AS "tenantId", id AS "endpointId"
       FROM awaited
       JOIN webhook_endpoints AS endpoints
         ON endpoints.tenant_id = awaited.tenant_id AND endpoints.id = awaited.endpoint_id
      WHERE endpoints.status = 'enabled' AND (probe_at IS NULL OR probe_at <= clock_timestamp())
        AND (holder IS NULL OR lease_expires_at < clock_timestamp())
        AND EXISTS (SELECT FROM webhook_deliveries
                     WHERE webhook_deliveries.tenant_id = awaited.tenant_id
                       AND webhook_deliveries.endpoint_id = awaited.endpoint_id
                       AND webhook_deliveries.status = 'pending'
                       AND next_due_at <= clock_timestamp())
      ORDER BY row_number() OVER (PARTITION BY endpoints.tenant_id ORDER BY random())
      LIMIT $1`,
    [limit],
  )
  return rows
}

/** Skips what waits for endpoints that were deleted, some at a time. Returns how many. */
export async function skipForDeleted(db: Queryable, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `WITH ${awaited}, abandoned AS (
       SELECT waiting.tenant_id, waiting.id
         FROM awaited
         JOIN webhook_endpoints AS endpoints
           ON endpoints.tenant_id = awaited.tenant_id AND endpoints.id = awaited.endpoint_id
        CROSS JOIN LATERAL (
          SELECT tenant_id, id FROM webhook_deliveries
           WHERE webhook_deliveries.tenant_id = awaited.tenant_id
             AND webhook_deliveries.endpoint_id = awaited.endpoint_id
             AND webhook_deliveries.status = 'pending'
           LIMIT $1) AS waiting
        WHERE endpoints.status = 'deleted'
        LIMIT $1
     )
     UPDATE webhook_deliveries AS deliveries
        SET status = 'skipped', next_due_at = NULL, ended_at = clock_timestamp()
       FROM abandoned
      WHERE deliveries.tenant_id = abandoned.tenant_id AND deliveries.id = abandoned.id`,
    [limit],
  )
  return rowCount ?? 0
}

/** 20: a delivery that was sent again and again by hand has more, and nobody reads them all. */
const attemptsShown = 20

type DeliveryRow = Omit<Delivery, 'event' | 'attempts'> & {
  type: string
  position: bigint
  eventCreatedAt: Date
  attemptCount: number
}

const deliveryColumns = `deliveries.tenant_id AS "tenantId", deliveries.id,
  endpoint_id AS "endpointId", deliveries.url IS NOT NULL AS "isCallback",
  coalesce(deliveries.url, endpoints.url) AS url, deliveries.status,
  next_due_at AS "nextDueAt", deliveries.created_at AS "createdAt", ended_at AS "endedAt",
  events.type, events.position, events.created_at AS "eventCreatedAt",
  deliveries.attempts AS "attemptCount"`

const deliverySource = `webhook_deliveries AS deliveries
  JOIN events ON events.tenant_id = deliveries.tenant_id
             AND events.position = deliveries.event_position
  JOIN webhook_endpoints AS endpoints ON endpoints.tenant_id = deliveries.tenant_id
                                     AND endpoints.id = endpoint_id`

export type DeliveryFilter = {
  tenantId: string
  status?: DeliveryStatus | undefined
  endpointId?: string | undefined
  eventPosition?: bigint | undefined
  createdAfter?: Date | undefined
  createdBefore?: Date | undefined
  beforeId?: string | undefined
  limit: number
}

/** Characters of an answer in a list: a hundred deliveries with whole ones would be megabytes. */
const listedAnswerLength = 500
/** All that is kept of an answer: see send.ts. */
const wholeAnswer = 2 ** 31 - 1

/** A tenant's deliveries, newest first, each with its last attempts and how the answers begin. */
export async function listDeliveries(db: Queryable, filter: DeliveryFilter): Promise<Delivery[]> {
  const p = new Parameters()
  const conditions = [`deliveries.tenant_id = ${p.add(filter.tenantId)}`]
  const where = (value: unknown, condition: (parameter: string) => string) => {
    if (value !== undefined) conditions.push(condition(p.add(value)))
  }
  where(filter.status, (status) => `deliveries.status = ${status}`)
  where(filter.endpointId, (id) => `endpoint_id = ${id}`)
  where(filter.eventPosition, (position) => `event_position = ${position}`)
  where(filter.beforeId, (id) => `deliveries.id < ${id}`)
  where(filter.createdAfter && lowestIdAt(filter.createdAfter), (id) => `deliveries.id >= ${id}`)
  where(filter.createdBefore && lowestIdAt(filter.createdBefore), (id) => `deliveries.id < ${id}`)
  const { rows } = await db.query<DeliveryRow>(
    `SELECT ${deliveryColumns} FROM ${deliverySource}
      WHERE ${conditions.join(' AND ')}
      ORDER BY deliveries.id DESC
      LIMIT ${p.add(filter.limit)}`,
    p.values,
  )
  return withAttempts(db, filter.tenantId, rows, listedAnswerLength)
}

export async function findDelivery(
  db: Queryable,
  { tenantId, deliveryId }: { tenantId: string; deliveryId: string },
): Promise<Delivery | undefined> {
  const { rows } = await db.query<DeliveryRow>(
    `SELECT ${deliveryColumns} FROM ${deliverySource}
      WHERE deliveries.tenant_id = $1 AND deliveries.id = $2`,
    [tenantId, deliveryId],
  )
  const [delivery] = await withAttempts(db, tenantId, rows, wholeAnswer)
  return delivery
}

async function withAttempts(
  db: Queryable,
  tenantId: string,
  deliveries: readonly DeliveryRow[],
  answerLength: number,
): Promise<Delivery[]> {
  const { rows } = await db.query<Attempt & { deliveryId: string }>(
    `SELECT wanted.id AS "deliveryId", attempt, started_at AS "startedAt",
            duration_ms AS "durationMs", status_code AS "statusCode", error,
            left(answer, $4) AS answer
       FROM unnest($2::uuid[], $3::integer[]) AS wanted (id, attempts)
      CROSS JOIN LATERAL (
        SELECT * FROM webhook_attempts
         WHERE tenant_id = $1 AND delivery_id = wanted.id AND attempt <= wanted.attempts
         ORDER BY attempt DESC
         LIMIT ${attemptsShown}) AS attempts
      ORDER BY attempt`,
    // What was logged since the deliveries were read is not shown beside an older status.
    [
      tenantId,
      deliveries.map(({ id }) => id),
      deliveries.map(({ attemptCount }) => attemptCount),
      answerLength,
    ],
  )
  const attempts = new Map<string, Attempt[]>(deliveries.map(({ id }) => [id, []]))
  for (const { deliveryId, ...attempt } of rows) attempts.get(deliveryId)?.push(attempt)
  return deliveries.map((row) => {
    const { type, position, eventCreatedAt, attemptCount: _, ...delivery } = row
    return {
      ...delivery,
      event: { type, position, createdAt: eventCreatedAt },
      attempts: attempts.get(delivery.id) ?? [],
    }
  })
}

/**
 * Makes a delivery due now, whatever became of it: a new attempt with the same event id, and a new
 * round of them where that fails. What went to an endpoint that is deleted stays as it is.
 */
export async function resendDelivery(
  db: Queryable,
  { tenantId, deliveryId }: { tenantId: string; deliveryId: string },
): Promise<'due' | 'endpoint_deleted' | 'unknown'> {
  const { rows } = await db.query<{ isDeleted: boolean }>(
    `WITH wanted AS (
       SELECT deliveries.tenant_id, deliveries.id, endpoints.status = 'deleted' AS is_deleted
         FROM webhook_deliveries AS deliveries
         JOIN webhook_endpoints AS endpoints ON endpoints.tenant_id = deliveries.tenant_id
                                            AND endpoints.id = endpoint_id
        WHERE deliveries.tenant_id = $1 AND deliveries.id = $2
     ), reset AS (
       UPDATE webhook_deliveries AS deliveries
          SET status = 'pending', tries = 0, next_due_at = clock_timestamp(), ended_at = NULL
         FROM wanted
        WHERE deliveries.tenant_id = wanted.tenant_id AND deliveries.id = wanted.id
          AND NOT is_deleted
     )
     SELECT is_deleted AS "isDeleted" FROM wanted`,
    [tenantId, deliveryId],
  )
  const [found] = rows
  if (found === undefined) return 'unknown'
  return found.isDeleted ? 'endpoint_deleted' : 'due'
}
