import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { newKey } from '../support/client.ts'
import { takeFootprint } from '../support/footprint.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire, DryRunOnWire, TimelineOnWire } from '../support/wire.ts'

/* What is for later, for a time only, under a condition, or only a question. */

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

beforeEach(() => payonce.stopWorker())

const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()
const openPair = async (balance = 1_000) => ({
  source: await payonce.openAccount(balance),
  destination: await payonce.openAccount(),
})

/** Its events are looked at by events.test.ts. */
const timeline = async (id: string) =>
  (await payonce.client.get<TimelineOnWire>(`/v1/transfers/${id}/timeline`)).body.data.filter(
    ({ type }) => type !== 'event',
  )

describe('a scheduled transfer', () => {
  test('is carried out at its time and not before, although the queue was emptied', async () => {
    const pair = await openPair()
    const { client } = payonce
    await payonce.startWorker()
    const execute_at = inMs(2_500)
    const { body } = await client.send({ ...pair, amount: 5, execute_at })
    expect(body).toMatchObject({ status: 'scheduled', execute_at })
    await payonce.emptyQueue()
    const settled = await payonce.untilSettled(body.id)
    expect(settled).toMatchObject({ status: 'succeeded', execute_at })
    expect((settled.settled_at ?? '') >= execute_at).toBe(true)
    expect(Date.parse(settled.settled_at ?? '') - Date.parse(execute_at)).toBeLessThan(10_000)
    await assertBooksHold(payonce.db)
  })

  test('is left alone by a job that comes too early', async () => {
    const pair = await openPair()
    const { body } = await payonce.client.send({ ...pair, amount: 5, execute_at: inMs(60_000) })
    await payonce.settle(body)
    expect(await payonce.client.read(body.id)).toMatchObject({ status: 'scheduled' })
    await payonce.client.cancel(body.id)
    await assertBooksHold(payonce.db)
  })

  test('can be canceled until then, also when its time comes afterwards', async () => {
    const pair = await openPair()
    const { client } = payonce
    const execute_at = inMs(1_500)
    const { body } = await client.send({ ...pair, amount: 5, execute_at })
    const canceled = await client.cancel(body.id)
    expect([canceled.status, canceled.body.status]).toEqual([200, 'canceled'])
    await payonce.startWorker()
    await until('its time has come', () => Date.now() > Date.parse(execute_at) + 1_500)
    await payonce.settle(body)
    expect(await client.read(body.id)).toEqual(canceled.body)
    expect(await payonce.balanceOf(pair.source)).toBe(1_000)
    await assertBooksHold(payonce.db)
  })

  test('for a time in the past is carried out at once', async () => {
    const pair = await openPair()
    await payonce.startWorker()
    const { body } = await payonce.client.send(
      { ...pair, amount: 5, execute_at: '2020-01-01T00:00:00Z' },
      { wait: 10 },
    )
    expect(body).toMatchObject({ status: 'succeeded' })
    await assertBooksHold(payonce.db)
  })

  test('is answered to a replay as at first, with its status now beside it', async () => {
    const pair = await openPair()
    const { client } = payonce
    const request = { ...pair, amount: 5, execute_at: inMs(1_200) }
    const first = await client.send(request, { key: 'scheduled-once' })
    const early = await client.send(request, { key: 'scheduled-once' })
    expect([early.text, early.headers.get('payonce-status')]).toEqual([first.text, 'scheduled'])
    await payonce.startWorker()
    await payonce.untilSettled(first.body.id)
    const late = await client.send(request, { key: 'scheduled-once' })
    expect([late.text, late.headers.get('payonce-status')]).toEqual([first.text, 'succeeded'])
    await assertBooksHold(payonce.db)
  })

  test.each([
    ['execute_at', 367 * 86_400_000, {}],
    ['expires_at', -1_000, {}],
    ['expires_at', 91 * 86_400_000, { hold: true }],
  ])('with %s out of bounds (%i ms from now) is 400 and uses no key up', async (name, ms, more) => {
    const pair = await openPair()
    const { client } = payonce
    const key = newKey()
    const refused = await client.send({ ...pair, amount: 5, ...more, [name]: inMs(ms) }, { key })
    expect([refused.status, refused.body]).toMatchObject([
      400,
      { code: 'invalid_field', param: `/${name}` },
    ])
    const accepted = await client.send({ ...pair, amount: 5 }, { key })
    expect(accepted.status).toBe(202)
    await payonce.settle(accepted.body)
    await assertBooksHold(payonce.db)
  })
})

describe('a transfer that expires', () => {
  test('before anybody carried it out is not carried out any more', async () => {
    const pair = await openPair()
    const { client } = payonce
    const expires_at = inMs(300)
    const { body } = await client.send({ ...pair, amount: 5, expires_at })
    expect(body).toMatchObject({ status: 'queued', expires_at })
    await payonce.emptyQueue()
    await until('it is over', () => Date.now() > Date.parse(expires_at) + 50)
    await payonce.startWorker()
    expect(await payonce.untilSettled(body.id)).toMatchObject({ status: 'expired', failure: null })
    expect(await payonce.balanceOf(pair.source)).toBe(1_000)
    const cancel = await client.cancel(body.id)
    expect([cancel.status, cancel.body]).toMatchObject([409, { code: 'transfer_already_settled' }])
    await assertBooksHold(payonce.db)
  })

  test('while it waits for funds ends as expired, and a later credit does not revive it', async () => {
    const pair = await openPair(10)
    const { client } = payonce
    const { body } = await client.send({
      ...pair,
      amount: 11,
      expires_at: inMs(1_500),
      on_insufficient_funds: { retry_until: inMs(600_000) },
    })
    await payonce.startWorker()
    expect(await payonce.untilSettled(body.id)).toMatchObject({ status: 'expired' })
    await payonce.fund(pair.source, 100)
    expect(await payonce.balanceOf(pair.source)).toBe(110)
    await assertBooksHold(payonce.db)
  })
})

describe('a condition', () => {
  const condition = async (source: string, test: (account: AccountOnWire) => object) =>
    test((await payonce.client.get<AccountOnWire>(`/v1/accounts/${source}`)).body)

  test.each([
    ['the balance is at least what it is', { source_balance_at_least: 0 }, 0, 'succeeded'],
    ['the balance is one more', { source_balance_at_least: 1 }, 0, 'failed'],
    ['the version is the one that was read', {}, 0, 'succeeded'],
    ['the version is another one', {}, 1, 'failed'],
  ])('that %s decides', async (_what, limit, versionOffset, status) => {
    const pair = await openPair()
    const { client } = payonce
    const sent = await condition(pair.source, ({ balance, version }) =>
      'source_balance_at_least' in limit
        ? { source_balance_at_least: balance + (limit.source_balance_at_least ?? 0) }
        : { source_version: version + versionOffset },
    )
    const { body } = await client.send({ ...pair, amount: 5, if: sent })
    await payonce.settle(body)
    const settled = await client.read(body.id)
    expect([settled.status, settled.failure?.code]).toEqual([
      status,
      status === 'failed' ? 'condition_not_met' : undefined,
    ])
    expect(await payonce.balanceOf(pair.source)).toBe(status === 'failed' ? 1_000 : 995)
    await assertBooksHold(payonce.db)
  })

  test('on one version lets one of ten through that all read it', async () => {
    const pair = await openPair()
    const { client } = payonce
    const { version } = (await client.get<AccountOnWire>(`/v1/accounts/${pair.source}`)).body
    const sent = await Promise.all(
      Array.from({ length: 10 }, () =>
        client.send({ ...pair, amount: 5, if: { source_version: version } }),
      ),
    )
    await payonce.settle(...sent.map(({ body }) => body))
    const all = await Promise.all(sent.map(({ body }) => client.read(body.id)))
    expect(all.filter(({ status }) => status === 'succeeded')).toHaveLength(1)
    expect(all.filter(({ failure }) => failure?.code === 'condition_not_met')).toHaveLength(9)
    await assertBooksHold(payonce.db)
  })

  test('is judged before the funds, and after the state of the accounts', async () => {
    const pair = await openPair(1)
    const { client } = payonce
    const request = { ...pair, amount: 5, if: { source_balance_at_least: 2 } }
    const codeOf = async () => {
      const { body } = await client.send(request)
      await payonce.settle(body)
      return (await client.read(body.id)).failure?.code
    }
    expect(await codeOf()).toBe('condition_not_met')
    await client.patch(`/v1/accounts/${pair.source}`, { status: 'frozen' })
    expect(await codeOf()).toBe('account_frozen')
    await assertBooksHold(payonce.db)
  })
})

describe('a dry run', () => {
  test('tells what would happen, needs no key, and writes nothing', async () => {
    const pair = await openPair()
    const { client } = payonce
    const held = (await client.send({ ...pair, amount: 100, hold: true })).body
    await payonce.settle(held)
    const dry = async (path: string, body: unknown) =>
      (await client.post<DryRunOnWire>(`${path}?dry_run=true`, body)).body
    const plain = { ...pair, amount: 900, currency: 'EUR' }
    const before = await takeFootprint(payonce)
    const source = async () => (await client.get<AccountOnWire>(`/v1/accounts/${pair.source}`)).body
    const account = await source()

    const paid = await dry('/v1/transfers', plain)
    expect(paid.transfers).toMatchObject([{ status: 'succeeded', amount: 900 }])
    expect(paid.accounts.find(({ id }) => id === pair.source)).toMatchObject({
      balance: 100,
      held: 100,
      available: 0,
    })
    const refused = await dry('/v1/transfers', { ...plain, amount: 901 })
    expect(refused.transfers).toMatchObject([
      { status: 'failed', failure: { code: 'insufficient_funds' } },
    ])
    expect(refused.accounts).toEqual([])
    const capture = await dry(`/v1/transfers/${held.id}/capture`, { amount: 40 })
    expect(capture.transfers).toMatchObject([{ kind: 'capture', status: 'succeeded', amount: 40 }])
    const release = await dry(`/v1/transfers/${held.id}/release`, {})
    expect(release.accounts).toMatchObject([{ id: pair.source, held: 0, available: 1_000 }])
    const items = [plain, plain]
    const each = await dry('/v1/transfer-batches', { transfers: items })
    expect(each.transfers.map(({ status }) => status)).toEqual(['succeeded', 'failed'])
    const all = await dry('/v1/transfer-batches', { transfers: items, atomic: true })
    expect(all.transfers.map(({ failure }) => failure?.code)).toEqual([
      'batch_aborted',
      'insufficient_funds',
    ])
    expect(all.accounts).toEqual([])

    expect(await source()).toEqual(account)
    expect(await takeFootprint(payonce)).toEqual(before)
    await assertBooksHold(payonce.db)
  })

  test('refuses what a request would be refused for, and leaves its key free', async () => {
    const { client, alice, merchant } = payonce
    const refused = await client.post('/v1/transfers?dry_run=true', {
      source: alice,
      destination: alice,
      amount: 1,
      currency: 'EUR',
    })
    expect([refused.status, refused.body.code]).toEqual([422, 'same_account'])
    const request = { source: payonce.world, destination: merchant, amount: 1, currency: 'EUR' }
    const key = newKey()
    await client.post('/v1/transfers?dry_run=true', request, { key })
    const { status, body } = await client.send({ ...request, amount: 2 }, { key })
    expect(status).toBe(202)
    await payonce.settle(body)
    await assertBooksHold(payonce.db)
  })
})

describe('the timeline', () => {
  test('tells acceptance, time, attempts and settlement in their order', async () => {
    const pair = await openPair(10)
    const { client } = payonce
    const { body } = await client.send({
      ...pair,
      amount: 11,
      on_insufficient_funds: { retry_until: inMs(600_000) },
    })
    await payonce.settle(body)
    expect((await timeline(body.id)).map(({ type }) => type)).toEqual([
      'accepted',
      'attempted',
      'next_attempt',
    ])
    await payonce.fund(pair.source, 100)
    await payonce.settle(body)
    const steps = await timeline(body.id)
    expect(steps).toMatchObject([
      { type: 'accepted', at: body.created_at, idempotency_key: body.idempotency_key },
      { type: 'attempted', attempt: 1, worker: 'test', code: 'insufficient_funds' },
      { type: 'settled', status: 'succeeded', settlement: expect.stringMatching(/-7/) },
    ])
    expect(steps.map(({ at }) => at)).toEqual(steps.map(({ at }) => at).toSorted())
    await assertBooksHold(payonce.db)
  })

  test('of a hold tells its children, and of a scheduled one its time', async () => {
    const pair = await openPair()
    const { client } = payonce
    const held = (await client.send({ ...pair, amount: 100, hold: true })).body
    await payonce.settle(held)
    const capture = (await client.follow('capture', held.id, { amount: 40 })).body
    await payonce.settle(capture)
    const release = (await client.follow('release', held.id)).body
    await payonce.settle(release)
    const steps = await timeline(held.id)
    expect(steps).toMatchObject([
      { type: 'accepted' },
      { type: 'settled', status: 'released' },
      { type: 'child_settled', id: capture.id, kind: 'capture', status: 'succeeded' },
      { type: 'child_settled', id: release.id, kind: 'release', status: 'succeeded' },
    ])
    const execute_at = inMs(60_000)
    const later = (await client.send({ ...pair, amount: 1, execute_at })).body
    expect(await timeline(later.id)).toMatchObject([
      { type: 'accepted' },
      { type: 'due', at: execute_at },
    ])
    await client.cancel(later.id)
    const unknown = `tr_${uuidOf(later.id).replaceAll('-', '').replace(/.{4}$/, '0000')}`
    expect((await client.get(`/v1/transfers/${unknown}/timeline`)).status).toBe(404)
    await assertBooksHold(payonce.db)
  })
})
