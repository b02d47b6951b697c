import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook as SvixWebhook } from 'svix'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startPayonce, type Payonce, type Tenant } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import { startReceiver } from '../support/webhook-receiver.ts'
import {
  deliveriesTo,
  moveMoney,
  newestDeliveries,
  openEndpoint,
  reachable,
  readDelivery,
  readEndpoint,
  readEventsOf,
  readFeedUntilNow,
  storedId,
  untilDeliveries,
  verified,
  type DeliveryOnWire,
  type RecoveryOnWire,
} from '../support/webhooks.ts'
import type { AccountOnWire } from '../support/wire.ts'

/*
 * What is sent, again and again where it has to be, and what its log tells (F18, invariant 13). Time
 * passes by SQL: a due time is moved back instead of being waited for.
 */

let payonce: Payonce
/** A new one for each test, so that its endpoints are told of nothing else. */
let tenant: Tenant

beforeAll(async () => {
  payonce = await startPayonce({ worker: false, environment: reachable })
})

beforeEach(async ({ task }) => {
  tenant = await payonce.addTenant(task.id)
  await payonce.startWorker()
})

const succeeded = { event_types: ['transfer.succeeded'] }

/** Makes many events at once: a batch of transfers, all of which succeed. */
async function moveMoneyOften(count: number): Promise<void> {
  const { client, world, merchant } = tenant
  const item = { source: world, destination: merchant, amount: 1 }
  const { status } = await client.sendBatch({
    transfers: Array.from({ length: count }, () => item),
  })
  expect(status).toBe(202)
}

/** Makes what waits for an endpoint due, and ends its rest, as the passing of time would. */
async function letTimePass({ id }: { id: string }): Promise<void> {
  const stored = storedId('endpoint', id)
  await payonce.db.query(
    `UPDATE webhook_deliveries SET next_due_at = clock_timestamp() - interval '1 s'
      WHERE endpoint_id = $1 AND status = 'pending'`,
    [stored],
  )
  await payonce.db.query(
    `UPDATE webhook_endpoints SET probe_at = clock_timestamp() - interval '1 s'
      WHERE id = $1 AND probe_at IS NOT NULL`,
    [stored],
  )
}

/** The one delivery to an endpoint, once so many attempts of it are logged. */
const untilTried = async (endpoint: { id: string }, attempts: number): Promise<DeliveryOnWire> => {
  const [delivery] = await untilDeliveries(
    tenant.client,
    endpoint,
    `tried ${attempts} times`,
    ([one]) => one !== undefined && one.attempts.length >= attempts,
  )
  if (delivery === undefined) throw new Error('there is no delivery')
  return delivery
}

/** Seconds from the end of the last attempt to the next. */
function gapOf({ attempts, next_due_at: nextDueAt }: DeliveryOnWire): number {
  const last = attempts.at(-1)
  const endedAt = Date.parse(last?.started_at ?? '') + (last?.duration_ms ?? 0)
  return (Date.parse(nextDueAt ?? '') - endedAt) / 1_000
}

describe('a delivery', () => {
  test('arrives within a second of its cause, signed for every library of the standard', async () => {
    const receiver = await startReceiver()
    const { secret, ...endpoint } = await openEndpoint(tenant.client, receiver.url, succeeded)
    // Whoever else uses this Postgres may hold the feed up for a moment, but not each time.
    const tookMs: number[] = []
    for (let n = 1; n <= 5; n++) {
      const beganMs = performance.now()
      await moveMoney(tenant)
      const request = (await receiver.untilReceived(n)).at(-1)
      tookMs.push((request?.atMs ?? Infinity) - beganMs)
    }
    expect(Math.min(...tookMs)).toBeLessThan(1_000)

    const [request] = receiver.requests
    if (request === undefined) throw new Error('nothing came')
    const event = verified(request, secret)
    expect(() => new SvixWebhook(secret).verify(request.body, request.headers)).not.toThrow()
    expect(() => new SvixWebhook(secret).verify(`${request.body} `, request.headers)).toThrow()
    expect([event]).toEqual(await readEventsOf(tenant.client, event.data.id))
    expect(request.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'payonce-webhooks/1',
      'webhook-id': event.id,
      'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
      'webhook-signature': expect.stringMatching(/^v1,\S+$/),
    })
    const [logged] = await deliveriesTo(tenant.client, endpoint)
    expect(logged).toMatchObject({
      endpoint: endpoint.id,
      url: receiver.url,
      event: event.id,
      event_type: 'transfer.succeeded',
      status: 'succeeded',
      next_due_at: null,
      attempts: [{ attempt: 1, status_code: 200, error: null, answer: '' }],
    })
    expect(await readEndpoint(tenant.client, endpoint)).toMatchObject({
      health: { state: 'healthy', failures: 0, last_success_at: expect.any(String) },
    })
  })

  test('that fails is tried again after 5 s, with the same bytes under the same id', async () => {
    const receiver = await startReceiver({ status: 500, body: 'not today' })
    const { secret, ...endpoint } = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    const failed = await untilTried(endpoint, 1)
    expect(failed).toMatchObject({
      status: 'pending',
      attempts: [{ attempt: 1, status_code: 500, error: 'status_not_2xx', answer: 'not today' }],
    })
    expect(gapOf(failed)).toBeGreaterThan(3.9)
    expect(gapOf(failed)).toBeLessThan(6.5)
    expect(await readEndpoint(tenant.client, endpoint)).toMatchObject({
      health: { state: 'failing', failures: 1, failing_since: failed.attempts[0]?.started_at },
    })
    await sleep(1_100)
    receiver.react = {}
    await letTimePass(endpoint)
    await untilDeliveries(tenant.client, endpoint, 'there', ([one]) => one?.status === 'succeeded')
    const [first, second, ...more] = receiver.requests
    expect(more).toEqual([])
    expect(second?.body).toBe(first?.body)
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id'])
    expect(second?.headers['webhook-timestamp']).not.toBe(first?.headers['webhook-timestamp'])
    for (const request of receiver.requests) verified(request, secret)
    expect((await untilTried(endpoint, 2)).attempts).toMatchObject([
      { attempt: 1, error: 'status_not_2xx' },
      { attempt: 2, error: null },
    ])
  })

  test('has failed after ten attempts, and can be sent again by hand in a new round', async () => {
    const receiver = await startReceiver({ status: 503 })
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    for (let attempt = 1; attempt <= 9; attempt++) {
      expect(await untilTried(endpoint, attempt)).toMatchObject({ status: 'pending' })
      await letTimePass(endpoint)
    }
    const failed = await untilTried(endpoint, 10)
    expect(failed).toMatchObject({ status: 'failed', next_due_at: null })
    expect(failed.ended_at).not.toBeNull()
    expect(failed.attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])

    const again = await tenant.client.post<DeliveryOnWire>(
      `/v1/webhook-deliveries/${failed.id}/resend`,
    )
    expect([again.status, again.body.status]).toEqual([202, 'pending'])
    await letTimePass(endpoint)
    const tried = await untilTried(endpoint, 11)
    expect(tried).toMatchObject({ status: 'pending' })
    expect(gapOf(tried)).toBeLessThan(6.5)
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
  })

  test('to an endpoint that is deleted stays as it is, and says why', async () => {
    const receiver = await startReceiver()
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    const { id } = await untilTried(endpoint, 1)
    await tenant.client.request('DELETE', `/v1/webhook-endpoints/${endpoint.id}`)
    const { status, body } = await tenant.client.post(`/v1/webhook-deliveries/${id}/resend`)
    expect([status, body.code]).toEqual([409, 'endpoint_deleted'])
    const { body: delivery } = await tenant.client.get(`/v1/webhook-deliveries/${id}`)
    expect(delivery).toMatchObject({ status: 'succeeded' })
  })

  test('that has arrived is sent again where somebody asks for it, as the same event', async () => {
    const receiver = await startReceiver()
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    const { id } = await untilTried(endpoint, 1)
    await tenant.client.post(`/v1/webhook-deliveries/${id}/resend`)
    const again = await untilTried(endpoint, 2)
    expect(again).toMatchObject({ status: 'succeeded', attempts: [{ attempt: 1 }, { attempt: 2 }] })
    const [first, second] = receiver.requests
    expect([second?.headers['webhook-id'], second?.body]).toEqual([
      first?.headers['webhook-id'],
      first?.body,
    ])
  })

  test('is tried again no earlier than its receiver asks for', async () => {
    const receiver = await startReceiver({ status: 429, headers: { 'retry-after': '600' } })
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    const gap = gapOf(await untilTried(endpoint, 1))
    expect(gap).toBeGreaterThan(599)
    expect(gap).toBeLessThan(603)
  })

  test.each([
    ['is cut off', 'reset' as const, 'connection_failed'],
    ['is sent elsewhere', { status: 302, headers: { location: 'http://127.0.0.1/' } }, 'redirect'],
  ])('that %s has failed, and says why', async (_what, reaction, error) => {
    const receiver = await startReceiver(reaction)
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    expect(await untilTried(endpoint, 1)).toMatchObject({
      status: 'pending',
      attempts: [{ attempt: 1, error }],
    })
    expect(receiver.requests).toHaveLength(1)
  })

  test('whose worker stops while the receiver hangs is sent again by the next one (F18)', async () => {
    const receiver = await startReceiver('hang')
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    await receiver.untilReceived(1)
    await payonce.stopWorker()
    // Nobody knows whether it arrived, so it is no failure.
    const [left] = await deliveriesTo(tenant.client, endpoint)
    expect(left).toMatchObject({ status: 'pending', attempts: [] })
    receiver.react = {}
    await payonce.startWorker()
    expect(await untilTried(endpoint, 1)).toMatchObject({ status: 'succeeded' })
    const [first, second] = receiver.requests
    expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id'])
    expect(second?.body).toBe(first?.body)
  })

  test('is made from Postgres alone: the queue may forget everything', async () => {
    const receiver = await startReceiver({ status: 500 })
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    await untilTried(endpoint, 1)
    await payonce.stopWorker()
    receiver.react = {}
    await letTimePass(endpoint)
    await payonce.emptyQueue()
    await payonce.startWorker()
    expect(await untilTried(endpoint, 2)).toMatchObject({ status: 'succeeded' })
  })

  test('that a crash of Postgres has undone is made again, before any later one', async () => {
    const receiver = await startReceiver()
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    await untilTried(endpoint, 1)
    const [first] = receiver.requests
    await payonce.db.query(
      `WITH undone AS (DELETE FROM webhook_deliveries RETURNING event_position)
       UPDATE event_feed SET fanned_out = (SELECT min(event_position) - 1 FROM undone)`,
    )
    await moveMoney(tenant)
    const all = await receiver.untilReceived(3)
    const ids = all.map(({ headers }) => headers['webhook-id'])
    expect(ids[1]).toBe(first?.headers['webhook-id'])
    expect(new Set(ids).size).toBe(2)
  })
})

describe('an endpoint', () => {
  test('that answers 410 is disabled, with one event that others are told of', async () => {
    const receiver = await startReceiver({ status: 410, delayMs: 100 })
    const other = await startReceiver()
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await openEndpoint(tenant.client, other.url, { event_types: ['webhook_endpoint.disabled'] })
    await moveMoneyOften(5)
    await other.untilReceived(1)
    expect(await readEndpoint(tenant.client, endpoint)).toMatchObject({
      status: 'disabled',
      disabled_reason: 'gone',
      disabled_at: expect.any(String),
    })
    const told = await readEventsOf(tenant.client, endpoint.id)
    expect(told).toMatchObject([
      {
        type: 'webhook_endpoint.disabled',
        sequence: 1,
        data: { object: 'webhook_endpoint', url: receiver.url, disabled_reason: 'gone' },
      },
    ])
    expect(other.requests.map(({ body }) => body)).toEqual([JSON.stringify(told[0])])

    // What happens while it is disabled is skipped, and told so.
    const id = await moveMoney(tenant)
    const [event] = await readEventsOf(tenant.client, id)
    const skipped = await untilDeliveries(tenant.client, endpoint, 'skipped', (all) =>
      all.some(({ event: about, status }) => about === event?.id && status === 'skipped'),
    )
    expect(skipped.filter(({ status }) => status === 'pending')).toHaveLength(5)

    // Enabled again, it is sent what waited for it, and not what was skipped.
    receiver.react = {}
    const path = `/v1/webhook-endpoints/${endpoint.id}`
    const enabled = await tenant.client.patch(path, { status: 'enabled' })
    expect(enabled.body).toMatchObject({ status: 'enabled', health: { failures: 0 } })
    await letTimePass(endpoint)
    const all = await untilDeliveries(tenant.client, endpoint, 'sent', (all) =>
      all.every(({ status }) => status !== 'pending'),
    )
    expect(all.map(({ status }) => status).toSorted()).toEqual([
      'skipped',
      ...Array.from({ length: 5 }, () => 'succeeded'),
    ])
  })

  test('that has failed for days is disabled with one event, however many attempts fail', async () => {
    const receiver = await startReceiver({ status: 500 })
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoneyOften(4)
    await untilDeliveries(
      tenant.client,
      endpoint,
      'tried',
      (all) => all.length === 4 && all.every(({ attempts }) => attempts.length === 1),
    )
    await payonce.db.query(
      `UPDATE webhook_endpoints SET failing_since = failing_since - interval '6 days' WHERE id = $1`,
      [storedId('endpoint', endpoint.id)],
    )
    await letTimePass(endpoint)
    await until('it is disabled', async () => {
      const { status } = await readEndpoint(tenant.client, endpoint)
      return status === 'disabled'
    })
    expect(await readEndpoint(tenant.client, endpoint)).toMatchObject({
      disabled_reason: 'failing',
    })
    expect((await readEventsOf(tenant.client, endpoint.id)).map(({ type }) => type)).toEqual([
      'webhook_endpoint.disabled',
    ])
  })

  test('that fails five times in a row is given a rest, then one probe, then everything', async () => {
    const receiver = await startReceiver({ status: 500 })
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoneyOften(5)
    await receiver.untilReceived(5)
    const resting = await until('it rests', async () => {
      const one = await readEndpoint(tenant.client, endpoint)
      return one.health.state === 'resting' && one
    })
    const restMs = Date.parse(resting.health.next_probe_at ?? '') - Date.now()
    expect(restMs).toBeGreaterThan(25_000)
    expect(restMs).toBeLessThan(31_000)
    await moveMoneyOften(25)
    await untilDeliveries(tenant.client, endpoint, 'made', (all) => all.length === 30)
    await sleep(1_300)
    expect(receiver.requests).toHaveLength(5)

    // The probe fails: nothing else is sent with it.
    await letTimePass(endpoint)
    await receiver.untilReceived(6)
    await until('it rests again', async () => {
      const { health } = await readEndpoint(tenant.client, endpoint)
      return health.failures === 6 && Date.parse(health.next_probe_at ?? '') > Date.now()
    })
    await sleep(1_300)
    expect(receiver.requests).toHaveLength(6)

    receiver.react = {}
    await letTimePass(endpoint)
    await untilDeliveries(tenant.client, endpoint, 'all there', (all) =>
      all.every(({ status }) => status === 'succeeded'),
    )
    expect(receiver.requests).toHaveLength(36)
    expect((await readEndpoint(tenant.client, endpoint)).health).toMatchObject({
      state: 'healthy',
      failures: 0,
      next_probe_at: null,
    })
  })

  test('never has more than 20 attempts in hand', async () => {
    const receiver = await startReceiver({ delayMs: 60 })
    await openEndpoint(tenant.client, receiver.url, { ...succeeded, rate_limit: 10_000 })
    await moveMoneyOften(120)
    await receiver.untilReceived(120)
    expect(receiver.mostInHand).toBeLessThanOrEqual(20)
    expect(receiver.mostInHand).toBeGreaterThan(5)
  })

  test.each([
    ['at once', 20, 0],
    ['one by one', 10, 300],
  ])('is sent no more in a second than it takes, of what happens %s', async (_, count, everyMs) => {
    const receiver = await startReceiver()
    const rate = everyMs === 0 ? 5 : 1
    await openEndpoint(tenant.client, receiver.url, { ...succeeded, rate_limit: rate })
    if (everyMs === 0) await moveMoneyOften(count)
    else {
      for (let n = 0; n < count; n++) {
        await moveMoney(tenant)
        await sleep(everyMs)
      }
    }
    const [first] = await receiver.untilReceived(1)
    await sleep(Math.max(0, (first?.atMs ?? 0) + 3_000 - performance.now()))
    const inTime = receiver.requests.filter(({ atMs }) => atMs <= (first?.atMs ?? 0) + 3_000)
    expect(inTime.length).toBeLessThanOrEqual(rate * (3 + 1) + 1)
    expect(inTime.length).toBeGreaterThan(rate)
  })

  test('that hangs delays no other one', async () => {
    const [slow, quick] = [await startReceiver('hang'), await startReceiver()]
    await openEndpoint(tenant.client, slow.url, succeeded)
    await openEndpoint(tenant.client, quick.url, succeeded)
    await moveMoneyOften(25)
    await slow.untilReceived(1)
    const before = (await quick.untilReceived(25)).length
    const beganMs = performance.now()
    await moveMoney(tenant)
    await quick.untilReceived(before + 1, 4_000)
    expect((quick.requests.at(-1)?.atMs ?? Infinity) - beganMs).toBeLessThan(2_000)
  })

  test('of a tenant with many that hang leaves lanes to other tenants', async () => {
    await payonce.stopWorker()
    await payonce.startWorker({ WEBHOOK_CONCURRENCY: '4' })
    const slow = await startReceiver('hang')
    for (let n = 0; n < 6; n++) {
      await openEndpoint(tenant.client, `${slow.url}/${n}`, succeeded)
    }
    await moveMoney(tenant)
    await slow.untilReceived(1)
    // Until the others have been rung as well.
    await sleep(1_500)
    expect(new Set(slow.requests.map(({ path }) => path)).size).toBe(1)

    const other = await payonce.addTenant('who waits for nobody')
    const quick = await startReceiver()
    await openEndpoint(other.client, quick.url, succeeded)
    const beganMs = performance.now()
    await moveMoney(other)
    await quick.untilReceived(1, 6_000)
    expect((quick.requests[0]?.atMs ?? Infinity) - beganMs).toBeLessThan(3_000)
    await payonce.stopWorker()
  })

  test('that takes its time over one delivery gets the next ones meanwhile', async () => {
    const receiver = await startReceiver({ delayMs: 6_000 })
    await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    await receiver.untilReceived(1)
    await moveMoney(tenant)
    await receiver.untilReceived(2, 4_000)
  })
})

describe('a recovery', () => {
  const open = async (endpoint: { id: string }, since: string) =>
    tenant.client.post<RecoveryOnWire>(`/v1/webhook-endpoints/${endpoint.id}/recoveries`, { since })

  const path = ({ endpoint, id }: RecoveryOnWire) =>
    `/v1/webhook-endpoints/${endpoint}/recoveries/${id}`

  const untilEnded = (recovery: RecoveryOnWire) =>
    until(
      'it has ended',
      async () => {
        const { body } = await tenant.client.get<RecoveryOnWire>(path(recovery))
        return body.status !== 'running' && body
      },
      { withinMs: 15_000 },
    )

  test('sends what failed or was skipped since a time, and nothing else', async () => {
    const { client } = tenant
    const receiver = await startReceiver({ status: 500 })
    const endpoint = await openEndpoint(client, receiver.url, succeeded)
    await moveMoney(tenant)
    const early = await untilTried(endpoint, 1)
    await payonce.db.query(
      `UPDATE webhook_deliveries SET status = 'failed', next_due_at = NULL, ended_at = now()
        WHERE id = $1`,
      [storedId('delivery', early.id)],
    )
    await sleep(20)
    const since = new Date().toISOString()
    receiver.react = {}
    await moveMoney(tenant)
    await untilDeliveries(client, endpoint, 'there', ([, two]) => two?.status === 'succeeded')
    await client.patch(`/v1/webhook-endpoints/${endpoint.id}`, { status: 'disabled' })
    await moveMoney(tenant)
    await moveMoney(tenant)
    await untilDeliveries(client, endpoint, 'skipped', (all) => all.length === 4)
    await client.patch(`/v1/webhook-endpoints/${endpoint.id}`, { status: 'enabled' })
    expect(receiver.requests).toHaveLength(2)

    const { status, headers, body } = await open(endpoint, since)
    expect([status, headers.get('location')]).toEqual([202, path(body)])
    expect(body).toMatchObject({ status: 'running', since, endpoint: endpoint.id })
    expect(await untilEnded(body)).toMatchObject({ status: 'completed', examined: 3, recovered: 2 })
    await receiver.untilReceived(4)
    const all = await untilDeliveries(client, endpoint, 'there', (all) =>
      all.every(({ status }) => status !== 'pending'),
    )
    expect(all.map(({ status }) => status)).toEqual([
      'failed',
      'succeeded',
      'succeeded',
      'succeeded',
    ])
    expect(receiver.requests).toHaveLength(4)
  })

  test('goes on page by page until it has looked at all, each once', async () => {
    const { client } = tenant
    const since = new Date(Date.now() - 60_000).toISOString()
    const endpoint = await openEndpoint(client, 'http://127.0.0.1:9/', succeeded)
    await client.patch(`/v1/webhook-endpoints/${endpoint.id}`, { status: 'disabled' })
    await moveMoneyOften(2_300)
    await until(
      'all are skipped',
      async () => {
        const { rows } = await payonce.db.query<{ count: number }>(
          'SELECT count(*)::int FROM webhook_deliveries WHERE endpoint_id = $1',
          [storedId('endpoint', endpoint.id)],
        )
        return rows[0]?.count === 2_300
      },
      { withinMs: 15_000, everyMs: 100 },
    )
    const ended = await untilEnded((await open(endpoint, since)).body)
    expect(ended).toMatchObject({ status: 'completed', examined: 2_300, recovered: 2_300 })
  })

  test('that is canceled goes no further, and a second cancel changes nothing', async () => {
    const { client } = tenant
    const endpoint = await openEndpoint(client, 'http://127.0.0.1:9/', succeeded)
    await payonce.stopWorker()
    const { body } = await open(endpoint, new Date().toISOString())
    const canceled = await client.post<RecoveryOnWire>(`${path(body)}/cancel`)
    expect(canceled.body).toMatchObject({ status: 'canceled', examined: 0, recovered: 0 })
    expect((await client.post(`${path(body)}/cancel`)).text).toBe(canceled.text)
    await payonce.startWorker()
    await readFeedUntilNow(client)
    expect((await client.get(path(body))).text).toBe(canceled.text)
  })

  test('belongs to its endpoint and its tenant', async () => {
    const { client } = tenant
    const [one, two] = [
      await openEndpoint(client, 'http://127.0.0.1:9/', succeeded),
      await openEndpoint(client, 'http://127.0.0.1:9/', succeeded),
    ]
    const { body } = await open(one, new Date().toISOString())
    const wrong = path({ ...body, endpoint: two.id })
    const answers = [
      await client.get(wrong),
      await client.post(`${wrong}/cancel`),
      await payonce.client.get(path(body)),
      await payonce.client.post(`${path(body)}/cancel`),
      await payonce.client.post(`/v1/webhook-endpoints/${one.id}/recoveries`, {
        since: body.since,
      }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404])
  })
})

describe('the log of deliveries', () => {
  test('is filtered by status, endpoint, event and time, and read in pages', async () => {
    const { client } = tenant
    const [good, bad] = [await startReceiver(), await startReceiver({ status: 500 })]
    const one = await openEndpoint(client, good.url, succeeded)
    const two = await openEndpoint(client, bad.url, succeeded)
    const first = await moveMoney(tenant)
    await good.untilReceived(1)
    await sleep(20)
    const between = new Date().toISOString()
    await moveMoney(tenant)
    const [event] = await readEventsOf(client, first)
    await untilDeliveries(
      client,
      one,
      'there',
      (all) => all.length === 2 && all.every(({ status }) => status === 'succeeded'),
    )
    await untilDeliveries(
      client,
      two,
      'tried',
      (all) => all.length === 2 && all.every(({ attempts }) => attempts.length === 1),
    )
    const all = (await newestDeliveries(client, 'limit=100')).data
    expect(all).toHaveLength(4)
    expect(all.map(({ id }) => id)).toEqual(
      all
        .map(({ id }) => id)
        .toSorted()
        .toReversed(),
    )
    const shown = async (query: string) =>
      (await newestDeliveries(client, query)).data.map(({ id }) => id)
    const those = (isOne: (delivery: DeliveryOnWire) => boolean) =>
      all.filter(isOne).map(({ id }) => id)
    expect(await shown('status=pending')).toEqual(those(({ endpoint }) => endpoint === two.id))
    expect(await shown('status=failed')).toEqual([])
    expect(await shown(`endpoint=${one.id}`)).toEqual(those(({ endpoint }) => endpoint === one.id))
    expect(await shown(`event=${event?.id}`)).toEqual(those((one) => one.event === event?.id))
    expect(await shown(`created_after=${between}`)).toEqual(all.slice(0, 2).map(({ id }) => id))
    expect(await shown(`created_before=${between}`)).toEqual(all.slice(2).map(({ id }) => id))
    expect(await shown(`status=succeeded&event=${event?.id}`)).toHaveLength(1)
    expect(await client.listAll('/v1/webhook-deliveries', 1)).toEqual(all)
    for (const delivery of all) expect(await readDelivery(client, delivery)).toEqual(delivery)
  })

  test('refuses what it cannot read, and a cursor of another list or tenant (B26)', async () => {
    const { client } = tenant
    const receiver = await startReceiver()
    await openEndpoint(client, receiver.url)
    await moveMoneyOften(2)
    await receiver.untilReceived(2)
    const { next_cursor: cursor } = await newestDeliveries(client, 'limit=1')
    const own = await client.get(`/v1/webhook-deliveries?cursor=${cursor}`)
    expect(own.status).toBe(200)
    const answers = [
      await payonce.client.get(`/v1/webhook-deliveries?cursor=${cursor}`),
      await client.get(`/v1/webhook-endpoints?cursor=${cursor}`),
      await client.get(`/v1/accounts?cursor=${cursor}`),
    ]
    for (const query of ['limit=0', 'limit=101', 'cursor=abc', 'status=held', 'endpoint=we_0']) {
      answers.push(await client.get(`/v1/webhook-deliveries?${query}`))
    }
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 400))
  })

  test('shows another tenant nothing (B25)', async () => {
    const receiver = await startReceiver()
    const endpoint = await openEndpoint(tenant.client, receiver.url, succeeded)
    await moveMoney(tenant)
    const { id, event } = await untilTried(endpoint, 1)
    const { client } = await payonce.addTenant('curious')
    expect(await deliveriesTo(client, endpoint)).toEqual([])
    expect((await newestDeliveries(client, `event=${event}`)).data).toEqual([])
    const unknown = `dlv_${payonce.newId().replaceAll('-', '')}`
    const answers = [
      await client.get(`/v1/webhook-deliveries/${id}`),
      await client.post(`/v1/webhook-deliveries/${id}/resend`),
      await client.get(`/v1/webhook-deliveries/${unknown}`),
      await client.post(`/v1/webhook-deliveries/${unknown}/resend`),
    ]
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404])
    const texts = answers.map(({ text }) => text.replace(/req_[0-9a-f]{32}/, ''))
    expect(new Set(texts).size).toBe(1)
    expect(receiver.requests).toHaveLength(1)
  })

  test('holds no secret, not even one that the receiver sends back (B22)', async () => {
    const { client } = tenant
    let secret = ''
    const receiver = await startReceiver(({ headers }) => ({
      status: 500,
      body: JSON.stringify({ headers, secret, bare: `secret=${secret}`, key: tenant.apiKey }),
    }))
    const endpoint = await openEndpoint(client, receiver.url)
    secret = endpoint.secret
    const account = await client.post<AccountOnWire>('/v1/accounts', { currency: 'EUR' })
    expect(account.status).toBe(201)
    const tried = await untilTried(endpoint, 1)
    expect(tried.attempts[0]?.answer).toContain('[redacted]')
    const { rows } = await payonce.db.query<{ rows: string }>(
      `SELECT concat((SELECT string_agg(webhook_attempts::text, ' ') FROM webhook_attempts),
                     (SELECT string_agg(events::text, ' ') FROM events)) AS rows`,
    )
    const told = [
      ...payonce.log,
      rows[0]?.rows ?? '',
      JSON.stringify(await readDelivery(client, tried)),
      (await client.get('/metrics')).text,
    ].join('\n')
    expect(told).toContain('[redacted]')
    expect(told).not.toContain(secret.slice('whsec_'.length))
    expect(told).not.toContain(tenant.apiKey.slice(-20))
  })
})
