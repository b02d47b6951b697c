import { decodeId, type IdKind } from '@payonce/core/ids'
import { Webhook } from 'standardwebhooks'
import { newKey, type Client } from './client.ts'
import { until } from './until.ts'
import type { ReceivedRequest } from './webhook-receiver.ts'
import type { AccountOnWire, ListOnWire } from './wire.ts'

/** What api and worker are told so that they may reach the receivers of a test. */
export const reachable = { WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' }

export type EventOnWire = {
  id: string
  type: string
  timestamp: string
  sequence: number
  data: { id: string; object: string; omitted?: string[] } & Record<string, unknown>
}

export type FeedOnWire = { object: 'list'; data: EventOnWire[]; has_more: boolean }

export type EndpointOnWire = {
  id: string
  object: 'webhook_endpoint'
  url: string
  description: string | null
  event_types: string[] | null
  rate_limit: number
  ed25519: boolean
  public_key: string | null
  status: 'enabled' | 'disabled'
  disabled_reason: string | null
  disabled_at: string | null
  health: {
    state: 'healthy' | 'failing' | 'resting'
    failures: number
    failing_since: string | null
    next_probe_at: string | null
    last_success_at: string | null
    last_failure_at: string | null
  }
  created_at: string
}

export type EndpointWithSecret = EndpointOnWire & { secret: string }

export type DeliveryOnWire = {
  id: string
  object: 'webhook_delivery'
  endpoint: string | null
  url: string
  event: string
  event_type: string
  status: 'pending' | 'succeeded' | 'failed' | 'skipped'
  next_due_at: string | null
  created_at: string
  ended_at: string | null
  attempts: {
    attempt: number
    started_at: string
    duration_ms: number
    status_code: number | null
    error: string | null
    answer: string | null
  }[]
}

export type RecoveryOnWire = {
  id: string
  object: 'webhook_recovery'
  endpoint: string
  since: string
  status: 'running' | 'completed' | 'canceled'
  examined: number
  recovered: number
  created_at: string
  ended_at: string | null
}

/** The stored uuid of a wire id of this kind. */
export function storedId(kind: IdKind, wireId: string): string {
  const uuid = decodeId(kind, wireId)
  if (uuid === undefined) throw new Error(`${wireId} is no id of this kind: ${kind}`)
  return uuid
}

/** The whole feed behind an event, read in pages as a client follows it. */
export async function readFeed(
  client: Client,
  { after, type, limit = 100 }: { after?: string; type?: string; limit?: number } = {},
): Promise<EventOnWire[]> {
  const all: EventOnWire[] = []
  for (;;) {
    const last = all.at(-1)?.id ?? after
    const query = new URLSearchParams({
      limit: String(limit),
      ...(last === undefined ? {} : { after: last }),
      ...(type === undefined ? {} : { type }),
    })
    const { body } = await client.get<FeedOnWire>(`/v1/events?${query.toString()}`)
    all.push(...body.data)
    if (!body.has_more) return all
  }
}

/**
 * All that has happened until now: it opens an account, and waits until the feed shows that. What
 * came before it is in the feed by then, or is never.
 */
export async function readFeedUntilNow(client: Client): Promise<EventOnWire[]> {
  const { body: marker } = await client.post<AccountOnWire>('/v1/accounts', { currency: 'EUR' })
  return until(
    'the feed shows what has just happened',
    async () => {
      const feed = await readFeed(client)
      const end = feed.findIndex(({ data }) => data.id === marker.id)
      return end !== -1 && feed.slice(0, end)
    },
    { withinMs: 15_000, everyMs: 50 },
  )
}

/** All that has happened to one object until now. */
export async function readEventsOf(client: Client, id: string): Promise<EventOnWire[]> {
  return (await readFeedUntilNow(client)).filter(({ data }) => data.id === id)
}

/** An endpoint that sends to this URL, for every type of event unless told otherwise. */
export async function openEndpoint(
  client: Client,
  url: string,
  more: { event_types?: string[]; rate_limit?: number; ed25519?: boolean } = {},
): Promise<EndpointWithSecret> {
  const { status, text, body } = await client.post<EndpointWithSecret>('/v1/webhook-endpoints', {
    url,
    ...more,
  })
  if (status !== 201) throw new Error(`an endpoint was answered with ${text}`)
  return body
}

export const readEndpoint = async (client: Client, { id }: { id: string }) =>
  (await client.get<EndpointOnWire>(`/v1/webhook-endpoints/${id}`)).body

/** The deliveries to an endpoint, oldest first. */
export async function deliveriesTo(
  client: Client,
  { id }: { id: string },
  status?: DeliveryOnWire['status'],
): Promise<DeliveryOnWire[]> {
  const query = new URLSearchParams({ endpoint: id, ...(status === undefined ? {} : { status }) })
  const newestFirst = await client.listAll<DeliveryOnWire>(
    `/v1/webhook-deliveries?${query.toString()}`,
    100,
  )
  return newestFirst.toReversed()
}

export const readDelivery = async (client: Client, { id }: { id: string }) =>
  (await client.get<DeliveryOnWire>(`/v1/webhook-deliveries/${id}`)).body

/** Resolves with what there is of an endpoint's deliveries once it is as the test wants it. */
export const untilDeliveries = (
  client: Client,
  endpoint: { id: string },
  what: string,
  isSo: (deliveries: DeliveryOnWire[]) => boolean,
) =>
  until(
    `the deliveries are ${what}`,
    async () => {
      const deliveries = await deliveriesTo(client, endpoint)
      return isSo(deliveries) && deliveries
    },
    { withinMs: 15_000, everyMs: 25 },
  )

/** The one page of a tenant's newest deliveries. */
export const newestDeliveries = async (client: Client, query: string) =>
  (await client.get<ListOnWire<DeliveryOnWire>>(`/v1/webhook-deliveries?${query}`)).body

/** The event in a request whose signature the library of Standard Webhooks has verified. */
export function verified({ body, headers }: ReceivedRequest, secret: string): EventOnWire {
  return new Webhook(secret).verify(body, headers) as EventOnWire
}

export function isVerified(request: ReceivedRequest, secret: string): boolean {
  try {
    verified(request, secret)
    return true
  } catch {
    return false
  }
}

/** Moves one cent of a tenant from the world to its merchant, and waits until that is settled. */
export async function moveMoney(
  { client, world, merchant }: { client: Client; world: string; merchant: string },
  more: { callback_url?: string } = {},
): Promise<string> {
  const request = { source: world, destination: merchant, amount: 1, ...more }
  const { body } = await client.send(request, { key: newKey(), wait: 20 })
  if (body.status !== 'succeeded') throw new Error(`money was not moved: ${body.status}`)
  return body.id
}
