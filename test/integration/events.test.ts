import { createLog } from '@payonce/core/log'
import { readWorkerConfig } from '@payonce/core/config'
import { createMetrics } from '@payonce/core/metrics'
import { startWorker } from '@payonce/worker/main'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { newKey, type BatchRequest, type TransferRequest } from '../support/client.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import { environmentOf } from '../support/stores.ts'
import { until } from '../support/until.ts'
import { startReceiver } from '../support/webhook-receiver.ts'
import {
  deliveriesTo,
  moveMoney,
  openEndpoint,
  reachable,
  readEventsOf,
  readFeed,
  readFeedUntilNow,
  type EventOnWire,
  type FeedOnWire,
} from '../support/webhooks.ts'
import type { AccountOnWire, BatchOnWire, TimelineOnWire } from '../support/wire.ts'

/*
 * The feed: what is told of everything that happens, in one order, once, and for ever the same.
 */

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ environment: reachable })
})

const openPair = async (balance = 1_000) => ({
  source: await payonce.openAccount(balance),
  destination: await payonce.openAccount(),
})

const send = async (request: TransferRequest) =>
  (await payonce.client.send(request, { wait: 20 })).body

const follow = async (...[what, id, body]: Parameters<Payonce['client']['follow']>) =>
  (await payonce.client.follow(what, id, body, { wait: 20 })).body

const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()

const toldOf = (id: string) => readEventsOf(payonce.client, id)
const typesOf = async (id: string) => (await toldOf(id)).map(({ type }) => type)

/** A connection of its own, for a transaction that stays open as long as the test wants. */
async function openSession(): Promise<pg.Client> {
  const session = new pg.Client(payonce.stores.databaseUrl)
  await session.connect()
  onTestFinished(() => session.end())
  return session
}

/** A second worker on the same stores, as another machine would run it. It ends with the test. */
async function startTwin(): Promise<void> {
  const config = readWorkerConfig({ ...environmentOf(payonce.stores), ...reachable })
  const log = createLog({ name: 'twin', level: 'info', destination: { write: () => undefined } })
  const twin = await startWorker(config, { log, metrics: createMetrics() })
  onTestFinished(() => twin.close())
}

describe('every settled state of a transfer is told by an event', () => {
  test('that has succeeded or failed', async () => {
    const pair = await openPair(10)
    const paid = await send({ ...pair, amount: 10 })
    const refused = await send({ ...pair, amount: 10 })
    const [succeeded, ...more] = await toldOf(paid.id)
    expect(more).toEqual([])
    expect(succeeded).toMatchObject({
      type: 'transfer.succeeded',
      timestamp: paid.settled_at,
      sequence: 1,
      data: paid,
    })
    expect(await toldOf(refused.id)).toMatchObject([
      { type: 'transfer.failed', sequence: 1, data: refused },
    ])
    expect(refused.failure?.code).toBe('insufficient_funds')
  })

  test('that was canceled before it was carried out, however often', async () => {
    const pair = await openPair()
    const { client } = payonce
    const { body } = await client.send({ ...pair, amount: 1, execute_at: inMs(3_600_000) })
    expect(await typesOf(body.id)).toEqual([])
    await client.cancel(body.id)
    const { body: canceled } = await client.cancel(body.id)
    expect(await toldOf(body.id)).toMatchObject([
      { type: 'transfer.canceled', sequence: 1, data: canceled },
    ])
  })

  test('whose time was over before its money came', async () => {
    const source = await payonce.openAccount()
    const { body } = await payonce.client.send({
      source,
      destination: payonce.merchant,
      amount: 5,
      expires_at: inMs(500),
      on_insufficient_funds: { retry_until: inMs(3_600_000) },
    })
    await sleep(600)
    await payonce.fund(source, 5)
    const expired = await payonce.untilSettled(body.id)
    expect(expired.status).toBe('expired')
    expect(await toldOf(body.id)).toMatchObject([
      { type: 'transfer.expired', sequence: 1, data: expired },
    ])
  })

  test('that is held, captured in parts and released, each as it was at that moment', async () => {
    const pair = await openPair()
    const held = await send({ ...pair, amount: 100, hold: true })
    const capture = await follow('capture', held.id, { amount: 30 })
    await follow('release', held.id)
    const events = await toldOf(held.id)
    expect(
      events.map(({ type, sequence, data }) => [
        type,
        sequence,
        data['status'],
        data['captured_amount'],
      ]),
    ).toEqual([
      ['transfer.held', 1, 'held', 0],
      ['transfer.captured', 2, 'held', 30],
      ['transfer.released', 3, 'released', 30],
    ])
    expect(events[0]?.data).toEqual(held)
    expect(await typesOf(capture.id)).toEqual(['transfer.succeeded'])
    expect(events[2]?.data).toEqual(await payonce.client.read(held.id))
  })

  test('that was a hold and is captured to the end, or is over', async () => {
    const pair = await openPair()
    const captured = await send({ ...pair, amount: 100, hold: true })
    await follow('capture', captured.id)
    expect(await typesOf(captured.id)).toEqual(['transfer.held', 'transfer.succeeded'])

    const over = await send({ ...pair, amount: 100, hold: true })
    await payonce.db.query(
      `UPDATE transfers SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1`,
      [uuidOf(over.id)],
    )
    const late = await follow('capture', over.id)
    expect(late.failure?.code).toBe('hold_expired')
    const [held, expired, ...more] = await toldOf(over.id)
    expect([held?.type, expired?.type, more]).toEqual(['transfer.held', 'transfer.expired', []])
    expect([held?.sequence, expired?.sequence]).toEqual([1, 2])
    expect(await typesOf(late.id)).toEqual(['transfer.failed'])
  })

  test('that is refunded in parts: each event knows what was refunded by then', async () => {
    const pair = await openPair()
    const paid = await send({ ...pair, amount: 100 })
    await follow('refund', paid.id, { amount: 5 })
    await follow('refund', paid.id, { amount: 7 })
    const events = await toldOf(paid.id)
    expect(
      events.map(({ type, sequence, data }) => [
        type,
        sequence,
        data['status'],
        data['refunded_amount'],
      ]),
    ).toEqual([
      ['transfer.succeeded', 1, 'succeeded', 0],
      ['transfer.refunded', 2, 'succeeded', 5],
      ['transfer.refunded', 3, 'succeeded', 12],
    ])
  })
})

describe('an account', () => {
  test('is told of as it was then, whatever became of it later', async () => {
    const { client } = payonce
    const { body: opened } = await client.post<AccountOnWire>('/v1/accounts', {
      currency: 'EUR',
      name: 'first',
      metadata: { a: '1' },
    })
    const path = `/v1/accounts/${opened.id}`
    await payonce.fund(opened.id, 40)
    const renamed = (await client.patch<AccountOnWire>(path, { name: 'second' })).body
    await payonce.fund(opened.id, 2)
    const change = { status: 'frozen', metadata: { a: null, b: '2' } }
    const frozen = (await client.patch<AccountOnWire>(path, change)).body
    await client.patch(path, { name: 'last', status: 'open' })
    const events = await toldOf(opened.id)
    expect(events.map(({ type, sequence }) => [type, sequence])).toEqual([
      ['account.created', 1],
      ['account.updated', 2],
      ['account.updated', 3],
      ['account.updated', 4],
    ])
    expect(events.slice(0, 3).map(({ data }) => data)).toEqual([opened, renamed, frozen])
    expect([renamed.balance, frozen.balance]).toEqual([40, 42])
  })

  test('whose change was refused is not told of', async () => {
    const account = await payonce.openAccount(1)
    const refused = await payonce.client.patch(`/v1/accounts/${account}`, { status: 'closed' })
    expect(refused.status).toBe(409)
    expect(await typesOf(account)).toEqual(['account.created'])
  })
})

describe('a batch', () => {
  async function sendBatch(batch: BatchRequest): Promise<BatchOnWire> {
    return (await payonce.client.sendBatch(batch)).body
  }

  /** Resolves with the events of a batch once there is one, and all that came with it. */
  async function untilCompleted(id: string): Promise<EventOnWire[]> {
    await until(
      `batch ${id} is told of`,
      async () =>
        (await readFeed(payonce.client, { type: 'transfer_batch.completed' })).some(
          ({ data }) => data.id === id,
        ),
      { withinMs: 15_000, everyMs: 50 },
    )
    return toldOf(id)
  }

  /** A batch as it is read, without its items. */
  async function headOf(id: string): Promise<Omit<BatchOnWire, 'transfers'>> {
    const { body } = await payonce.client.get<BatchOnWire>(`/v1/transfer-batches/${id}`)
    const { transfers: _, ...head } = body
    return head
  }

  test('is told of once when all of its items are settled', async () => {
    const pair = await openPair(100)
    const transfers = [60, 60, 40].map((amount) => ({ ...pair, amount }))
    const { id } = await sendBatch({ transfers })
    const events = await untilCompleted(id)
    expect(events).toMatchObject([
      {
        type: 'transfer_batch.completed',
        sequence: 1,
        data: { is_settled: true, total: 3, counts: { succeeded: 2, failed: 1 } },
      },
    ])
    expect(events[0]?.data).toEqual(await headOf(id))
    const feed = await readFeed(payonce.client)
    const placeOf = (id: string | undefined) => feed.findIndex(({ data }) => data.id === id)
    for (const item of (await payonce.client.get<BatchOnWire>(`/v1/transfer-batches/${id}`)).body
      .transfers) {
      expect(placeOf(item.id)).toBeGreaterThan(-1)
      expect(placeOf(item.id)).toBeLessThan(placeOf(id))
    }
  })

  test('that is atomic is told of too, whether it succeeded or not', async () => {
    const pair = await openPair(100)
    const transfers = [60, 40].map((amount) => ({ ...pair, amount }))
    const [first, second] = [
      await sendBatch({ transfers, atomic: true }),
      await sendBatch({ transfers, atomic: true }),
    ]
    expect(await untilCompleted(first.id)).toMatchObject([
      { data: { atomic: true, counts: { succeeded: 2 } } },
    ])
    expect(await untilCompleted(second.id)).toMatchObject([{ data: { counts: { failed: 2 } } }])
  })

  test('with an item that waits for money is told of when that one is settled too', async () => {
    const rich = await openPair()
    const poor = await openPair(0)
    const { id, transfers } = await sendBatch({
      transfers: [
        { ...rich, amount: 1 },
        { ...poor, amount: 1, on_insufficient_funds: { retry_until: inMs(3_600_000) } },
      ],
    })
    await payonce.untilSettled(transfers[0]?.id ?? '')
    await until('it was looked at', async () => {
      const { rowCount } = await payonce.db.query('SELECT FROM deferred WHERE transfer_id = $1', [
        uuidOf(transfers[1]?.id ?? ''),
      ])
      return rowCount === 1
    })
    expect(await typesOf(id)).toEqual([])
    await payonce.fund(poor.source, 1)
    expect(await untilCompleted(id)).toMatchObject([{ sequence: 1, data: await headOf(id) }])
    await sleep(1_500)
    expect(await typesOf(id)).toEqual(['transfer_batch.completed'])
  })
})

describe('what has no event', () => {
  test('is a request that was refused', async () => {
    const { client, db, world, merchant } = payonce
    const countEvents = async () =>
      (await db.query<{ count: number }>('SELECT count(*)::int FROM events')).rows[0]?.count
    await readFeedUntilNow(client)
    const before = await countEvents()
    const statuses = [
      await client.post('/v1/accounts', { currency: 'XXXX' }),
      await client.post('/v1/accounts', { currency: 'EUR' }, { key: 'a,b' }),
      await client.post('/v1/transfers', { source: world, destination: merchant }, { key: 'x' }),
      await client.send({ source: world, destination: world, amount: 1 }),
      await client.send({ source: `acc_${newId()}`, destination: merchant, amount: 1 }),
      await client.follow('capture', `tr_${newId()}`),
      await client.patch(`/v1/accounts/${merchant}`, { name: 1 }),
      await client.post('/v1/webhook-endpoints', { url: 'ftp://receiver.example' }),
    ].map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([400, 404, 422]))
    expect(await countEvents()).toBe(before)
  })

  test('is a replay, of a transfer or of an account, after settlement too (I35)', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 1 }
    const { body } = await client.send(request, { key, wait: 20 })
    const accountKey = newKey()
    const open = () =>
      client.post<AccountOnWire>('/v1/accounts', { currency: 'EUR' }, { key: accountKey })
    const account = (await open()).body
    const before = await toldOf(body.id)
    for (let n = 0; n < 3; n++) {
      const replay = await client.send(request, { key })
      expect(replay.headers.get('idempotent-replayed')).toBe('true')
      expect((await open()).headers.get('idempotent-replayed')).toBe('true')
    }
    expect(await toldOf(body.id)).toEqual(before)
    expect(before).toHaveLength(1)
    expect(await typesOf(account.id)).toEqual(['account.created'])
  })
})

const newId = () => payonce.newId().replaceAll('-', '')

describe('GET /v1/events', () => {
  test('pages through everything in one order, with nothing twice and nothing left out', async () => {
    const tenant = await payonce.addTenant('paging')
    for (let n = 0; n < 8; n++) await moveMoney(tenant)
    const whole = await readFeedUntilNow(tenant.client)
    expect(whole.map(({ type }) => type)).toEqual([
      ...Array.from({ length: 3 }, () => 'account.created'),
      ...Array.from({ length: 8 }, () => 'transfer.succeeded'),
    ])
    for (const limit of [1, 2, 11, 100]) {
      const paged = await readFeed(tenant.client, { limit })
      expect(paged.slice(0, whole.length)).toEqual(whole)
      expect(new Set(paged.map(({ id }) => id)).size).toBe(paged.length)
    }
    const fifth = whole[4]?.id ?? ''
    const behind = await readFeed(tenant.client, { after: fifth })
    expect(behind.slice(0, 6)).toEqual(whole.slice(5))
    const { body: end } = await tenant.client.get<FeedOnWire>(
      `/v1/events?after=${(await readFeed(tenant.client)).at(-1)?.id}`,
    )
    expect(end).toEqual({ object: 'list', data: [], has_more: false, next_cursor: null })
  })

  test('shows one type alone where it is asked for it, in pages too', async () => {
    const tenant = await payonce.addTenant('filtering')
    for (let n = 0; n < 3; n++) await moveMoney(tenant)
    await readFeedUntilNow(tenant.client)
    const moved = await readFeed(tenant.client, { type: 'transfer.succeeded', limit: 1 })
    expect(moved.map(({ type }) => type)).toEqual([
      'transfer.succeeded',
      'transfer.succeeded',
      'transfer.succeeded',
    ])
    expect(await readFeed(tenant.client, { type: 'transfer.released' })).toEqual([])
  })

  test.each([
    'limit=0',
    'limit=101',
    'limit=-1',
    'limit=abc',
    'after=evt_0',
    'after=tr_0190f0e0d80070008000000000000007',
    'after=',
    'type=transfer.queued',
    'cursor=abc',
    'type=transfer.held&type=transfer.failed',
  ])('refuses %s (B26)', async (query) => {
    const { status, body } = await payonce.client.get(`/v1/events?${query}`)
    expect([status, body.code]).toEqual([400, 'invalid_parameter'])
  })

  test('shows a tenant nothing of another, and an event of another is not found (B25)', async () => {
    const [mine, other] = [await payonce.addTenant('mine'), await payonce.addTenant('other')]
    const id = await moveMoney(other)
    await moveMoney(mine)
    const theirs = (await readEventsOf(other.client, id))[0]?.id ?? ''
    const seen = await readFeedUntilNow(mine.client)
    expect(seen).toHaveLength(4)
    expect(JSON.stringify(seen)).not.toContain(id)
    const [foreign, unknown] = [
      await mine.client.get(`/v1/events/${theirs}`),
      await mine.client.get(`/v1/events/evt_${newId()}`),
    ]
    expect([foreign.status, unknown.status]).toEqual([404, 404])
    expect(withoutRequest(foreign.text)).toBe(withoutRequest(unknown.text))
    // Its place in the order may be named all the same: nothing of the other one is shown behind it.
    const behind = await readFeed(mine.client, { after: theirs })
    expect(behind.every((event) => event.data.id !== id)).toBe(true)
  })
})

const withoutRequest = (text: string) => text.replace(/req_[0-9a-f]{32}/, '')

describe('GET /v1/events/:id', () => {
  test('shows the event as it stands in the feed', async () => {
    const [event] = await toldOf(await moveMoney(payonce))
    const answer = await payonce.client.get<EventOnWire>(`/v1/events/${event?.id}`)
    expect([answer.status, answer.text]).toEqual([200, JSON.stringify(event)])
  })

  test.each(['evt_0', 'evt_0190f0e0d80070008000000000000007', 'x'])(
    'of an unknown one (%s) is 404',
    async (id) => {
      const { status, body } = await payonce.client.get(`/v1/events/${id}`)
      expect([status, body.code]).toEqual([404, 'not_found'])
    },
  )

  test('is 404 where its position is right and its time is not', async () => {
    const [event] = await toldOf(await moveMoney(payonce))
    const id = event?.id ?? ''
    const changed = id.replace(/^(evt_.{11})(.)/, (_, kept: string, last: string) =>
      kept.concat(last === '0' ? '1' : '0'),
    )
    expect(changed).not.toBe(id)
    expect((await payonce.client.get(`/v1/events/${changed}`)).status).toBe(404)
  })
})

describe('an event above 20 kB', () => {
  const pairs = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`pair-${n}`, '😀'.repeat(500)]))

  test('leaves out what does not fit, names it, and stays below 20,000 bytes', async () => {
    const pair = await openPair()
    const description = '😀'.repeat(500)
    const { body: batch } = await payonce.client.sendBatch({
      transfers: [
        { ...pair, amount: 1, description, metadata: pairs(50) },
        { ...pair, amount: 1, description, metadata: pairs(2) },
      ],
    })
    const [large, small] = batch.transfers.map(({ id }) => id)
    await Promise.all([payonce.untilSettled(large ?? ''), payonce.untilSettled(small ?? '')])
    const [[cut], [whole]] = [await toldOf(large ?? ''), await toldOf(small ?? '')]
    expect(cut?.data).toMatchObject({ omitted: ['metadata'], description, status: 'succeeded' })
    expect(cut?.data).not.toHaveProperty('metadata')
    expect(Buffer.byteLength(JSON.stringify(cut))).toBeLessThan(20_000)
    expect(whole?.data).not.toHaveProperty('omitted')
    expect(whole?.data).toEqual(await payonce.client.read(small ?? ''))
  })

  test('of an account does so too, and it is the same bytes that are delivered', async () => {
    const tenant = await payonce.addTenant('much to tell')
    const receiver = await startReceiver()
    await openEndpoint(tenant.client, receiver.url, { event_types: ['account.created'] })
    const { body } = await tenant.client.post<AccountOnWire>('/v1/accounts', {
      currency: 'EUR',
      metadata: pairs(30),
    })
    const [request] = await receiver.untilReceived(1)
    const [event] = await readEventsOf(tenant.client, body.id)
    expect(event?.data).toMatchObject({ omitted: ['metadata'], balance: 0 })
    expect(request?.body).toBe(JSON.stringify(event))
    expect(Buffer.byteLength(request?.body ?? '')).toBeLessThan(20_000)
  })
})

describe('the order of the feed', () => {
  /** Takes the next position in an open transaction, as a slow writer does. */
  async function takePosition(session: pg.Client, account: string): Promise<void> {
    const facts = {
      status: 'open',
      name: null,
      balance: 0,
      held: 0,
      overdraft_limit: 0,
      version: 0,
      metadata: {},
    }
    await session.query('BEGIN')
    await session.query('SELECT pg_current_xact_id()')
    await session.query(
      `INSERT INTO events (tenant_id, type, object_id, sequence, state, created_at)
       VALUES ($1, 'account.updated', $2, 1000, $3, date_trunc('milliseconds', clock_timestamp()))`,
      [payonce.id, uuidOf(account), JSON.stringify(facts)],
    )
  }

  test('waits for whoever has taken an earlier place, and a follower misses nothing', async () => {
    const { client } = payonce
    const account = await payonce.openAccount()
    const before = (await readFeedUntilNow(client)).at(-1)?.id ?? ''
    const session = await openSession()
    await takePosition(session, account)
    const later = [await payonce.openAccount(), await payonce.openAccount()]
    const paid = await moveMoney(payonce)

    // Whoever follows keeps the id of the last one that it saw.
    const seen: EventOnWire[] = []
    const followOn = async () => {
      seen.push(...(await readFeed(client, { after: seen.at(-1)?.id ?? before })))
    }
    const end = performance.now() + 800
    while (performance.now() < end) {
      await followOn()
      await sleep(50)
    }
    const told = () => seen.map(({ data }) => data.id)
    for (const id of [account, ...later, paid]) expect(told()).not.toContain(id)
    const shown = (await payonce.worker?.metrics.registry.metrics()) ?? ''
    const [, stalled] = /^payonce_events_horizon_stalled_seconds (\S+)$/m.exec(shown) ?? []
    expect(Number(stalled)).toBeGreaterThan(0.5)
    expect(shown).toMatch(/^payonce_events_waiting\{for="horizon"\} [1-9]/m)

    await session.query('COMMIT')
    await until('all are told', async () => {
      await followOn()
      return told().includes(paid)
    })
    expect(told().filter((id) => [account, ...later, paid].includes(id))).toEqual([
      account,
      ...later,
      paid,
    ])
    expect(seen).toEqual(await readFeed(client, { after: before }))
  })

  test('goes on where the earlier place was given up, and says nothing of it', async () => {
    const { client } = payonce
    const account = await payonce.openAccount()
    const session = await openSession()
    await takePosition(session, account)
    const later = await payonce.openAccount()
    await session.query('ROLLBACK')
    expect(await typesOf(later)).toEqual(['account.created'])
    expect(await typesOf(account)).toEqual(['account.created'])
    expect((await client.get('/v1/events?limit=1')).status).toBe(200)
  })

  test('does not wait for a transaction that only reads', async () => {
    const session = await openSession()
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await session.query('SELECT count(*) FROM events')
    expect(await typesOf(await payonce.openAccount())).toEqual(['account.created'])
    await session.query('COMMIT')
  })

  test('is one, and each event is handed on once, however many workers there are', async () => {
    const tenant = await payonce.addTenant('of two workers')
    const { client, world, merchant } = tenant
    const receiver = await startReceiver()
    const endpoint = await openEndpoint(client, receiver.url)
    await startTwin()
    const transfers = await Promise.all(
      Array.from({ length: 60 }, () =>
        client.send({ source: world, destination: merchant, amount: 1 }, { wait: 20 }),
      ),
    )
    // The one that has published until now goes away, and the other one takes over.
    await payonce.stopWorker()
    const last = await moveMoney(tenant)
    await payonce.startWorker()
    const ids = [...transfers.map(({ body }) => body.id), last]
    const feed = await readFeedUntilNow(client)
    const told = feed.filter(({ type }) => type === 'transfer.succeeded')
    expect(told.map(({ data }) => data.id).toSorted()).toEqual(ids.toSorted())

    await until('all is delivered', async () => {
      const deliveries = await deliveriesTo(client, endpoint)
      return (
        deliveries.length > ids.length && deliveries.every(({ status }) => status === 'succeeded')
      )
    })
    const received = receiver.requests.map(({ headers }) => headers['webhook-id'])
    expect(new Set(received).size).toBe(received.length)
    expect(received).toEqual(expect.arrayContaining(told.map(({ id }) => id)))
    const deliveries = await deliveriesTo(client, endpoint)
    expect(new Set(deliveries.map(({ event }) => event)).size).toBe(deliveries.length)
  })
})

describe('the timeline of a transfer', () => {
  test('has its events, and what became of their deliveries', async () => {
    const tenant = await payonce.addTenant('with a history')
    const { client } = tenant
    const receiver = await startReceiver()
    const endpoint = await openEndpoint(client, receiver.url)
    const id = await moveMoney(tenant)
    await until('it is delivered', async () =>
      (await deliveriesTo(client, endpoint)).some(({ status }) => status === 'succeeded'),
    )
    const [event] = await readEventsOf(client, id)
    const [delivery] = await deliveriesTo(client, endpoint)
    const { body } = await client.get<TimelineOnWire>(`/v1/transfers/${id}/timeline`)
    expect(body.data.map(({ type }) => type)).toEqual(['accepted', 'settled', 'event', 'delivery'])
    expect(body.data.slice(2)).toEqual([
      { type: 'event', at: event?.timestamp, id: event?.id, event: 'transfer.succeeded' },
      {
        type: 'delivery',
        at: delivery?.ended_at,
        id: delivery?.id,
        status: 'succeeded',
        attempts: 1,
      },
    ])
  })
})

test('after all of this the books hold', async () => {
  await payonce.untilAllSettled()
  await assertBooksHold(payonce.db)
})
