import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { newKey, type ItemRequest } from '../support/client.ts'
import { takeFootprint } from '../support/footprint.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import { startSettlers } from '../support/settlers.ts'
import { until } from '../support/until.ts'
import type { BatchOnWire } from '../support/wire.ts'

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

beforeEach(() => payonce.stopWorker())

const openPair = async (balance = 1_000) => ({
  source: await payonce.openAccount(balance),
  destination: await payonce.openAccount(),
})

const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n))

const read = async (id: string) =>
  (await payonce.client.get<BatchOnWire>(`/v1/transfer-batches/${id}`)).body

const untilSettled = (id: string, withinMs = 15_000) =>
  until(
    `batch ${id} is settled`,
    async () => {
      const batch = await read(id)
      return batch.is_settled === true && batch
    },
    { withinMs },
  )

const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()

const outcomes = ({ transfers }: BatchOnWire) =>
  transfers.map(({ status, failure }) => failure?.code ?? status)

async function countJobs(): Promise<number> {
  return (await takeFootprint(payonce))['jobs'] ?? 0
}

/** Lets what is accepted grow old, so that a sweep need not wait for it: it rings after 5 seconds. */
async function letTimePass(): Promise<void> {
  await payonce.db.query(
    `UPDATE idempotency_keys SET due_at = due_at - interval '10 s',
                                 accepted_at = accepted_at - interval '10 s'
      WHERE due_at IS NOT NULL AND accepted_at = due_at
        AND accepted_at > now() - interval '5 s'`,
  )
}

describe('a batch', () => {
  test('settles each item by itself, and tells what became of each', async () => {
    const { source, destination } = await openPair(100)
    const { client } = payonce
    const transfers: ItemRequest[] = [60, 60, 40].map((amount) => ({ source, destination, amount }))
    const accepted = await client.sendBatch({ transfers }, { key: 'one-by-one' })
    expect(accepted.status).toBe(202)
    expect(accepted.headers.get('location')).toBe(`/v1/transfer-batches/${accepted.body.id}`)
    expect(accepted.body).toMatchObject({ atomic: false, total: 3, idempotency_key: 'one-by-one' })
    expect(accepted.body.transfers.map(({ idempotency_key }) => idempotency_key)).toEqual([
      'one-by-one,0',
      'one-by-one,1',
      'one-by-one,2',
    ])
    expect(await read(accepted.body.id)).toMatchObject({
      is_settled: false,
      counts: { queued: 3 },
    })
    await payonce.settle(accepted.body)
    const batch = await read(accepted.body.id)
    expect(outcomes(batch)).toEqual(['succeeded', 'insufficient_funds', 'succeeded'])
    expect(batch).toMatchObject({ is_settled: true, counts: { succeeded: 2, failed: 1 } })
    expect(await payonce.balanceOf(destination)).toBe(100)
    await assertBooksHold(payonce.db)
  })

  test('that is atomic is carried out as a whole, or the culprit tells why not', async () => {
    const { source, destination } = await openPair(100)
    const { client } = payonce
    const send = async (...amounts: number[]) => {
      const transfers = amounts.map((amount) => ({ source, destination, amount }))
      const { body } = await client.sendBatch({ transfers, atomic: true })
      await payonce.settle(body)
      return outcomes(await read(body.id))
    }
    expect(await send(60, 41, 10)).toEqual(['batch_aborted', 'insufficient_funds', 'batch_aborted'])
    expect(await payonce.balanceOf(source)).toBe(100)
    expect(await send(60, 40)).toEqual(['succeeded', 'succeeded'])
    expect(await payonce.balanceOf(source)).toBe(0)
    await assertBooksHold(payonce.db)
  })

  test('may have holds and several legs among its items', async () => {
    const { source, destination } = await openPair()
    const third = await payonce.openAccount()
    const legs = [
      { source, destination, amount: 10, currency: 'EUR' },
      { source: destination, destination: third, amount: 10, currency: 'EUR' },
    ]
    for (const atomic of [true, false]) {
      const { body } = await payonce.client.sendBatch({
        atomic,
        transfers: [
          { source, destination, amount: 100, hold: true },
          { legs },
          { source, destination, amount: 1 },
        ],
      })
      await payonce.settle(body)
      expect(outcomes(await read(body.id))).toEqual(['held', 'succeeded', 'succeeded'])
    }
    await assertBooksHold(payonce.db)
  })

  test('is replayed with the same bytes, before and after it is settled', async () => {
    const { source, destination } = await openPair()
    const { client } = payonce
    const transfers = [{ source, destination, amount: 5 }]
    for (const atomic of [true, false]) {
      const key = newKey()
      const first = await client.sendBatch({ transfers, atomic }, { key })
      const early = await client.sendBatch({ transfers, atomic }, { key })
      await payonce.settle(first.body)
      const late = await client.sendBatch({ transfers, atomic }, { key })
      for (const replay of [early, late]) {
        expect([replay.status, replay.text]).toEqual([202, first.text])
        expect(replay.headers.get('location')).toBe(first.headers.get('location'))
        expect(replay.headers.get('idempotent-replayed')).toBe('true')
      }
      await payonce.settle(late.body)
      const reused = await client.sendBatch(
        { transfers: [{ source, destination, amount: 6 }], atomic },
        { key },
      )
      expect([reused.status, reused.body]).toMatchObject([422, { code: 'idempotency_key_reused' }])
    }
    expect(await payonce.balanceOf(destination)).toBe(10)
    await assertBooksHold(payonce.db)
  })

  test('that is sent by many at once is accepted once', async () => {
    const { source, destination } = await openPair()
    const { client } = payonce
    const transfers = times(20, (n) => ({ source, destination, amount: 1 + n }))
    const answers = await Promise.all(
      times(12, () => client.sendBatch({ transfers }, { key: 'at-once' })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    const [first] = answers
    if (first !== undefined) await payonce.settle(first.body)
    expect(await payonce.balanceOf(destination)).toBe(210)
    await assertBooksHold(payonce.db)
  })

  test('has one job, however many items it has', async () => {
    const { source, destination } = await openPair()
    await payonce.emptyQueue()
    for (const atomic of [true, false]) {
      const before = await countJobs()
      const transfers = times(50, () => ({ source, destination, amount: 1 }))
      const { body } = await payonce.client.sendBatch({ transfers, atomic })
      await until('it is rung', async () => (await countJobs()) > before)
      expect(await countJobs()).toBe(before + 1)
      await payonce.settle(body)
    }
    await payonce.emptyQueue()
    await assertBooksHold(payonce.db)
  })
})

describe('an item with a key of its own', () => {
  test('that is known from a single transfer is that transfer', async () => {
    const { source, destination } = await openPair()
    const { client } = payonce
    const key = newKey()
    const single = await client.send({ source, destination, amount: 7 }, { key })
    const transfers = [
      { source, destination, amount: 1 },
      { source, destination, amount: 7, idempotency_key: key },
    ]
    const { body } = await client.sendBatch({ transfers })
    expect(body.transfers[1]).toEqual({
      index: 1,
      id: single.body.id,
      idempotency_key: key,
      replayed: true,
    })
    await payonce.settle(body, single.body)
    expect(outcomes(await read(body.id))).toEqual(['succeeded', 'succeeded'])
    expect(await payonce.balanceOf(destination)).toBe(8)
    await assertBooksHold(payonce.db)
  })

  test('is answered as a single transfer too, when it is sent again alone', async () => {
    const { source, destination } = await openPair()
    const { client } = payonce
    const key = newKey()
    const { body } = await client.sendBatch({
      transfers: [{ source, destination, amount: 7, idempotency_key: key }],
    })
    const alone = await client.send({ source, destination, amount: 7 }, { key })
    expect(alone.headers.get('idempotent-replayed')).toBe('true')
    expect(alone.body.id).toBe(body.transfers[0]?.id)
    await payonce.settle(body)
    expect(await payonce.balanceOf(destination)).toBe(7)
    await assertBooksHold(payonce.db)
  })

  test('that belongs to another request refuses the whole batch, with its place', async () => {
    const { source, destination } = await openPair()
    const { client } = payonce
    const key = newKey()
    const single = await client.send({ source, destination, amount: 7 }, { key })
    const before = await takeFootprint(payonce)
    for (const atomic of [true, false]) {
      const refused = await client.sendBatch({
        atomic,
        transfers: [
          { source, destination, amount: 1 },
          { source, destination, amount: 8, idempotency_key: key },
        ],
      })
      expect([refused.status, refused.body]).toMatchObject([
        422,
        { code: 'idempotency_key_reused', param: '/transfers/1/idempotency_key' },
      ])
    }
    expect(await takeFootprint(payonce)).toEqual(before)
    await payonce.settle(single.body)
    await assertBooksHold(payonce.db)
  })

  test('that is known cannot be part of an atomic batch', async () => {
    const { source, destination } = await openPair()
    const { client } = payonce
    const key = newKey()
    const single = await client.send({ source, destination, amount: 7 }, { key })
    const refused = await client.sendBatch({
      atomic: true,
      transfers: [{ source, destination, amount: 7, idempotency_key: key }],
    })
    expect([refused.status, refused.body]).toMatchObject([
      422,
      { code: 'idempotency_key_reused', param: '/transfers/0/idempotency_key' },
    ])
    await payonce.settle(single.body)
    await assertBooksHold(payonce.db)
  })

  test.each([
    ['twice in one batch', 'twice', '/transfers/1/idempotency_key', 'invalid_field'],
    ['as the key of the batch itself', 'itself', '/transfers/0/idempotency_key', 'invalid_field'],
    ['that is no key', 'no,key', '/transfers/0/idempotency_key', 'idempotency_key_invalid'],
  ])('%s is 400', async (_what, key, param, code) => {
    const { source, destination } = await openPair()
    const item = { source, destination, amount: 1, idempotency_key: key }
    const refused = await payonce.client.sendBatch({ transfers: [item, item] }, { key: 'itself' })
    expect([refused.status, refused.body]).toMatchObject([400, { code, param }])
  })
})

describe('a batch that cannot be accepted', () => {
  test.each([
    ['a member that is unknown', { colour: 'red' }, 400, '/transfers/1/colour', 'unknown_field'],
    ['no amount', { amount: 0 }, 400, '/transfers/1/amount', 'invalid_amount'],
    [
      'an account that is not there',
      { destination: 'acc_01900000000070008000000000000000' },
      422,
      '/transfers/1/destination',
      'account_not_found',
    ],
    [
      'a time of its own',
      { execute_at: '2030-01-01T00:00:00Z' },
      400,
      '/transfers/1/execute_at',
      'unknown_field',
    ],
  ])(
    'for %s in one item says where, and leaves nothing',
    async (_w, fault, status, param, code) => {
      const { source, destination } = await openPair()
      const good = { source, destination, amount: 1 }
      const before = await takeFootprint(payonce)
      const key = newKey()
      const refused = await payonce.client.sendBatch(
        { transfers: [good, { ...good, ...fault }] },
        {
          key,
        },
      )
      expect([refused.status, refused.body]).toMatchObject([status, { code, param }])
      expect(await takeFootprint(payonce)).toEqual(before)
      const { body } = await payonce.client.sendBatch({ transfers: [good] }, { key })
      await payonce.settle(body)
      await assertBooksHold(payonce.db)
    },
  )

  test('has no items, or too many', async () => {
    const { source, destination } = await openPair()
    for (const count of [0, 10_001]) {
      const transfers = times(count, () => ({ source, destination, amount: 1 }))
      const refused = await payonce.client.sendBatch({ transfers })
      expect([refused.status, refused.body]).toMatchObject([400, { param: '/transfers' }])
    }
  })

  test('is 404 to another tenant', async () => {
    const { source, destination } = await openPair()
    const { body } = await payonce.client.sendBatch({
      transfers: [{ source, destination, amount: 1 }],
    })
    const other = await payonce.addTenant('stranger to batches')
    expect((await other.client.get(`/v1/transfer-batches/${body.id}`)).status).toBe(404)
    await payonce.settle(body)
    await assertBooksHold(payonce.db)
  })
})

describe('a batch settles', () => {
  test.each([true, false])('when atomic is %s, although the queue was emptied', async (atomic) => {
    const { source, destination } = await openPair()
    const transfers = times(30, () => ({ source, destination, amount: 1 }))
    const { body } = await payonce.client.sendBatch({ transfers, atomic })
    await until('it is rung', async () => (await countJobs()) > 0)
    await payonce.emptyQueue()
    await letTimePass()
    await payonce.startWorker()
    expect(await untilSettled(body.id)).toMatchObject({ counts: { succeeded: 30 } })
    expect(await payonce.balanceOf(destination)).toBe(30)
    await assertBooksHold(payonce.db)
  })

  test.each([true, false])('of 1,000 items, when atomic is %s', async (atomic) => {
    const { source, destination } = await openPair(1_000)
    await payonce.startWorker()
    const transfers = times(1_000, () => ({ source, destination, amount: 1 }))
    const { body } = await payonce.client.sendBatch({ transfers, atomic })
    expect(await untilSettled(body.id)).toMatchObject({ counts: { succeeded: 1_000 } })
    expect(await payonce.balanceOf(destination)).toBe(1_000)
    await assertBooksHold(payonce.db)
  })

  test('and goes on where a worker that was stopped in between left it', async () => {
    const { source, destination } = await openPair(1_500)
    const transfers = times(1_500, () => ({ source, destination, amount: 1 }))
    const { body } = await payonce.client.sendBatch({ transfers })
    await payonce.startWorker()
    await until('some of it is settled', async () => {
      const { rowCount } = await payonce.db.query(
        `SELECT FROM transfers WHERE source = $1 LIMIT 1`,
        [uuidOf(source)],
      )
      return rowCount !== 0
    })
    await payonce.stopWorker()
    await payonce.emptyQueue()
    await letTimePass()
    await payonce.startWorker()
    expect(await untilSettled(body.id)).toMatchObject({ counts: { succeeded: 1_500 } })
    expect(await payonce.balanceOf(source)).toBe(0)
    await assertBooksHold(payonce.db)
  })

  test.each([true, false])('once, when four workers have it, atomic: %s', async (atomic) => {
    const settlers = startSettlers(4, payonce.stores.databaseUrl)
    const { source, destination } = await openPair(10_000)
    for (let round = 1; round <= 15; round++) {
      const transfers = times(20, () => ({ source, destination, amount: 1 }))
      const { body } = await payonce.client.sendBatch({ transfers, atomic })
      const ref = { tenantId: payonce.id, batchId: uuidOf(body.id) }
      await Promise.all(settlers.map((settler) => settler.settle([ref])))
      expect(await payonce.balanceOf(destination)).toBe(20 * round)
    }
    expect(settlers.flatMap(({ parked }) => parked)).toEqual([])
    await assertBooksHold(payonce.db)
  })

  test.each([true, false])('at its time, when atomic is %s', async (atomic) => {
    const { source, destination } = await openPair()
    const execute_at = inMs(1_500)
    const transfers = times(3, () => ({ source, destination, amount: 1 }))
    const { body } = await payonce.client.sendBatch({ transfers, atomic, execute_at })
    expect(await read(body.id)).toMatchObject({ execute_at, counts: { scheduled: 3 } })
    const { data } = (
      await payonce.client.get<{ data: { id: string }[] }>(
        `/v1/transfers?status=scheduled&account=${source}`,
      )
    ).body
    expect(data).toHaveLength(3)
    await payonce.emptyQueue()
    await payonce.startWorker()
    expect(await untilSettled(body.id)).toMatchObject({ counts: { succeeded: 3 } })
    const { rows } = await payonce.db.query<{ early: boolean }>(
      'SELECT bool_or(settled_at < $2) AS early FROM transfers WHERE source = $1',
      [uuidOf(source), execute_at],
    )
    expect(rows).toEqual([{ early: false }])
    await assertBooksHold(payonce.db)
  })

  test('not at all after its time, when it has one', async () => {
    const { source, destination } = await openPair()
    for (const atomic of [true, false]) {
      const expires_at = inMs(300)
      const transfers = times(3, () => ({ source, destination, amount: 1 }))
      const { body } = await payonce.client.sendBatch({ transfers, atomic, expires_at })
      await until('it is over', () => Date.now() > Date.parse(expires_at) + 50)
      await payonce.settle(body)
      expect(await read(body.id)).toMatchObject({ counts: { expired: 3 } })
    }
    expect(await payonce.balanceOf(source)).toBe(1_000)
    await assertBooksHold(payonce.db)
  })
})

describe('an item of an atomic batch', () => {
  test('whose own time is over keeps the others from being carried out', async () => {
    const { source, destination } = await openPair()
    const expires_at = inMs(300)
    const item = { source, destination, amount: 1 }
    const transfers = [item, { ...item, expires_at }, item]
    const { body } = await payonce.client.sendBatch({ transfers, atomic: true })
    await until('it is over', () => Date.now() > Date.parse(expires_at) + 50)
    await payonce.settle(body)
    expect(outcomes(await read(body.id))).toEqual(['batch_aborted', 'expired', 'batch_aborted'])
    expect(await payonce.balanceOf(source)).toBe(1_000)
    await assertBooksHold(payonce.db)
  })

  test('cannot be canceled alone, and one of another batch can', async () => {
    const { source, destination } = await openPair()
    const { client } = payonce
    const transfers = times(2, () => ({ source, destination, amount: 1 }))
    const [atomic, plain] = await Promise.all([
      client.sendBatch({ transfers, atomic: true }),
      client.sendBatch({ transfers }),
    ])
    const refused = await client.cancel(atomic.body.transfers[0]?.id ?? '')
    expect([refused.status, refused.body]).toMatchObject([409, { code: 'part_of_atomic_batch' }])
    const canceled = await client.cancel(plain.body.transfers[0]?.id ?? '')
    expect([canceled.status, canceled.body.status]).toEqual([200, 'canceled'])
    await payonce.settle(atomic.body, plain.body)
    expect(outcomes(await read(atomic.body.id))).toEqual(['succeeded', 'succeeded'])
    expect(outcomes(await read(plain.body.id))).toEqual(['canceled', 'succeeded'])
    const late = await client.cancel(atomic.body.transfers[0]?.id ?? '')
    expect([late.status, late.body]).toMatchObject([409, { code: 'transfer_already_settled' }])
    await assertBooksHold(payonce.db)
  })

  test('that only a newer worker can read keeps the others waiting for that one', async () => {
    const { source, destination } = await openPair()
    const { client, db } = payonce
    const transfers = times(3, () => ({ source, destination, amount: 1 }))
    const { body } = await client.sendBatch({ transfers, atomic: true })
    const item = uuidOf(body.transfers[1]?.id ?? '')
    const { rows } = await db.query<{ command: unknown }>(
      'SELECT command FROM commands WHERE id = $1',
      [item],
    )
    await db.query(
      `UPDATE commands SET command = (command::jsonb || '{"priority": 1}')::json WHERE id = $1`,
      [item],
    )
    await payonce.settle(body)
    const aside = await db.query('SELECT transfer_id, reason FROM deferred')
    expect(aside.rows).toEqual([{ transfer_id: uuidOf(body.id), reason: 'unknown_command' }])
    expect(await payonce.balanceOf(source)).toBe(1_000)

    await db.query('UPDATE commands SET command = $2 WHERE id = $1', [
      item,
      JSON.stringify(rows[0]?.command),
    ])
    await payonce.settle(body)
    expect(outcomes(await read(body.id))).toEqual(['succeeded', 'succeeded', 'succeeded'])
    expect((await db.query('SELECT FROM deferred')).rowCount).toBe(0)
    await assertBooksHold(payonce.db)
  })
})
