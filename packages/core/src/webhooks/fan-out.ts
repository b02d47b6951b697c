import { inTransaction } from '../db/transaction.ts'
import { readPublished, recordFannedOut } from '../events/feed.ts'
import { DEFAULT_RATE_LIMIT } from './endpoint.ts'
import type { Pool, Tx } from '../db/client.ts'
import type { StoredEvent } from '../events/event.ts'
import type { EndpointRef, NewId } from '../ids.ts'

export type FanOutResult = {
  /** Up to here each event has its deliveries. */
  fannedOut: bigint
  deliveries: number
  /** The enabled endpoints that something is due for now. */
  due: EndpointRef[]
}

/** 1,000 events: a transaction of some ten milliseconds. */
const pageSize = 1_000

class LeaseLost extends Error {
  override name = 'LeaseLost'
}

/**
 * Gives the next page of published events their deliveries: one for each endpoint that wants the
 * event, due at once, and `skipped` where the endpoint is disabled. Settlement never looks at
 * endpoints: this does, once for each event, by whoever holds the feed's lease. Throws where the lease
 * was lost, and then nothing of the page remains.
 */
export function fanOut(
  pool: Pool,
  options: { holder: string; newId: NewId; after: bigint; until: bigint },
): Promise<FanOutResult> {
  const { holder, newId, after, until } = options
  // What a crash undoes is fanned out again: the position is part of the transaction.
  return inTransaction(pool, { mayBeUndone: true }, async (tx) => {
    const page = await readPublished(tx, { after, until, limit: pageSize })
    const subscribers = await readSubscribers(tx, page)
    const callbacks = await openCallbacks(tx, page, newId)
    const deliveries = page.flatMap((event) => [
      ...(subscribers.get(event.tenantId) ?? [])
        .filter((endpoint) => wants(endpoint, event))
        .map((endpoint) => ({ event, endpoint, url: null })),
      ...callbackOf(event, callbacks),
    ])
    await insertDeliveries(tx, deliveries, newId)
    const fannedOut = page.length < pageSize ? until : (page.at(-1)?.position ?? until)
    if (!(await recordFannedOut(tx, holder, { after, fannedOut }))) {
      throw new LeaseLost('the lease was lost, or a crash has undone the page before')
    }
    return { fannedOut, deliveries: deliveries.length, due: dueEndpoints(deliveries) }
  })
}

type Subscriber = EndpointRef & {
  eventTypes: string[] | null
  isEnabled: boolean
  createdAt: Date
}

type NewDelivery = {
  event: StoredEvent
  endpoint: Pick<Subscriber, 'tenantId' | 'endpointId' | 'isEnabled'>
  url: string | null
}

async function readSubscribers(
  tx: Tx,
  page: readonly StoredEvent[],
): Promise<Map<string, Subscriber[]>> {
  const tenantIds = [...new Set(page.map(({ tenantId }) => tenantId))]
  const { rows } = await tx.query<Subscriber>(
    `SELECT tenant_id AS "tenantId", id AS "endpointId", event_types AS "eventTypes",
            status = 'enabled' AS "isEnabled", created_at AS "createdAt"
       FROM webhook_endpoints
      WHERE tenant_id = ANY($1::uuid[]) AND kind = 'endpoint' AND status <> 'deleted'`,
    [tenantIds],
  )
  const subscribers = new Map<string, Subscriber[]>(tenantIds.map((id) => [id, []]))
  for (const row of rows) subscribers.get(row.tenantId)?.push(row)
  return subscribers
}

/** An endpoint is told what happens from its beginning on, and a test only if it is the tested one. */
function wants({ endpointId, eventTypes, createdAt }: Subscriber, event: StoredEvent): boolean {
  if (event.type === 'webhook_endpoint.tested') return event.objectId === endpointId
  return event.createdAt >= createdAt && (eventTypes === null || eventTypes.includes(event.type))
}

/** 1,000 places of one tenant have a health of their own; what goes to any others shares one. */
const maxPlaces = 1_000
/** Stands for all of those. Nothing is ever sent to it: a delivery to a place carries its own URL. */
const sharedOrigin = 'https://others.invalid'

type Place = { tenantId: string; origin: string }

/**
 * The `callback_url`s of one place share an endpoint, which is made when it is first met. Returns the
 * endpoint of each place that the page names.
 */
async function openCallbacks(
  tx: Tx,
  page: readonly StoredEvent[],
  newId: NewId,
): Promise<Map<string, string>> {
  const places = new Map<string, Place>()
  for (const { tenantId, callbackUrl } of page) {
    if (callbackUrl === null) continue
    const { origin } = new URL(callbackUrl)
    places.set(placeKey(tenantId, origin), { tenantId, origin })
  }
  const wanted = [...places.values()]
  if (wanted.length === 0) return new Map()
  const known = await findPlaces(tx, wanted)
  const fresh = wanted.filter(({ tenantId, origin }) => !known.has(placeKey(tenantId, origin)))
  if (fresh.length === 0) return known
  const opening = await withinLimit(tx, fresh)
  await insertPlaces(tx, [...opening.values()], newId)
  const opened = await findPlaces(tx, [...opening.values()])
  for (const [key, { tenantId, origin }] of opening) {
    const id = opened.get(placeKey(tenantId, origin))
    if (id !== undefined) known.set(key, id)
  }
  return known
}

async function findPlaces(tx: Tx, places: readonly Place[]): Promise<Map<string, string>> {
  const { rows } = await tx.query<Place & { id: string }>(
    `SELECT tenant_id AS "tenantId", url AS origin, id
       FROM unnest($1::uuid[], $2::text[]) AS wanted (tenant_id, url)
       JOIN webhook_endpoints USING (tenant_id, url)
      WHERE kind = 'callback'`,
    [places.map(({ tenantId }) => tenantId), places.map(({ origin }) => origin)],
  )
  return new Map(rows.map(({ tenantId, origin, id }) => [placeKey(tenantId, origin), id]))
}

/** The place that each of these is to be opened as: itself, or the shared one of its tenant. */
async function withinLimit(tx: Tx, fresh: readonly Place[]): Promise<Map<string, Place>> {
  const { rows } = await tx.query<{ tenantId: string; count: number }>(
    `SELECT tenant_id AS "tenantId", count(*)::int AS count FROM webhook_endpoints
      WHERE tenant_id = ANY($1::uuid[]) AND kind = 'callback'
      GROUP BY tenant_id`,
    [[...new Set(fresh.map(({ tenantId }) => tenantId))]],
  )
  const counts = new Map(rows.map(({ tenantId, count }) => [tenantId, count]))
  return new Map(
    fresh.map(({ tenantId, origin }) => {
      const count = counts.get(tenantId) ?? 0
      counts.set(tenantId, count + 1)
      const own = count < maxPlaces ? origin : sharedOrigin
      return [placeKey(tenantId, origin), { tenantId, origin: own }]
    }),
  )
}

async function insertPlaces(tx: Tx, places: readonly Place[], newId: NewId): Promise<void> {
  await tx.query(
    `INSERT INTO webhook_endpoints (tenant_id, id, kind, url, rate_limit, status, created_at)
     SELECT tenant_id, id, 'callback', url, $4, 'enabled',
            date_trunc('milliseconds', clock_timestamp())
       FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS fresh (tenant_id, id, url)
     ON CONFLICT (tenant_id, url) WHERE kind = 'callback' DO NOTHING`,
    [
      places.map(({ tenantId }) => tenantId),
      places.map(() => newId()),
      places.map(({ origin }) => origin),
      DEFAULT_RATE_LIMIT,
    ],
  )
}

function placeKey(tenantId: string, origin: string): string {
  return `${tenantId} ${origin}`
}

function callbackOf(event: StoredEvent, callbacks: ReadonlyMap<string, string>): NewDelivery[] {
  const { tenantId, callbackUrl: url } = event
  if (url === null) return []
  const endpointId = callbacks.get(placeKey(tenantId, new URL(url).origin))
  if (endpointId === undefined) throw new Error('a callback has no endpoint')
  return [{ event, endpoint: { tenantId, endpointId, isEnabled: true }, url }]
}

async function insertDeliveries(
  tx: Tx,
  deliveries: readonly NewDelivery[],
  newId: NewId,
): Promise<void> {
  if (deliveries.length === 0) return
  await tx.query(
    `INSERT INTO webhook_deliveries (tenant_id, id, endpoint_id, event_position, url, status, tries,
                                     attempts, next_due_at, created_at, ended_at)
     SELECT tenant_id, id, endpoint_id, event_position, url,
            CASE WHEN is_enabled THEN 'pending' ELSE 'skipped' END, 0, 0,
            CASE WHEN is_enabled THEN now END, now, CASE WHEN NOT is_enabled THEN now END
       FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::boolean[])
              AS fresh (tenant_id, id, endpoint_id, event_position, url, is_enabled),
            date_trunc('milliseconds', clock_timestamp()) AS now`,
    [
      deliveries.map(({ event }) => event.tenantId),
      deliveries.map(() => newId()),
      deliveries.map(({ endpoint }) => endpoint.endpointId),
      deliveries.map(({ event }) => event.position),
      deliveries.map(({ url }) => url),
      deliveries.map(({ endpoint }) => endpoint.isEnabled),
    ],
  )
}

function dueEndpoints(deliveries: readonly NewDelivery[]): EndpointRef[] {
  const due = new Map<string, EndpointRef>()
  for (const { endpoint } of deliveries) {
    const { tenantId, endpointId, isEnabled } = endpoint
    if (isEnabled) due.set(endpointId, { tenantId, endpointId })
  }
  return [...due.values()]
}
