import { afterEach, describe, expect, it } from 'vitest'
import { createAccountBook } from '../../apps/cli/src/submit/accounts.ts'
import { createHttpClient } from '../../apps/cli/src/submit/http.ts'
import type { Order } from '../../apps/cli/src/submit/order.ts'
import { createPayonce } from '../../apps/cli/src/submit/payonce.ts'
import { Stopped } from '../../apps/cli/src/submit/stop.ts'
import { submitOrders, type NumberedOrder } from '../../apps/cli/src/submit/submit.ts'
import { createTally, renderTable } from '../../apps/cli/src/submit/tally.ts'
import { startDouble, type Double, type DoubleOptions } from './submit-double.ts'

const running: Double[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((double) => double.stop()))
})

describe('a run', { timeout: 30_000 }, () => {
  it('opens the accounts, moves every order once and counts it', async () => {
    const payonce = await start()
    const { tally, stopped } = await submit(payonce, orders(200))
    expect(stopped).toBeUndefined()
    expect(tally).toMatchObject({ submitted: 200, replayed: 0, succeeded: 200, retries: 0 })
    expect(tally.movedNow).toBe(20100n)
    expect(payonce.moved()).toBe(20100)
    // Ten payers and two hundred receivers, each asked for once.
    expect(payonce.count('POST', '/v1/accounts')).toBe(210)
    expect(payonce.count('POST', '/v1/transfers')).toBe(200)
  })

  it('again moves nothing, and says what was moved before', async () => {
    const payonce = await start()
    await submit(payonce, orders(50))
    const getsBefore = payonce.count('GET', '/v1/transfers')
    const { tally } = await submit(payonce, orders(50).toReversed())
    expect(tally).toMatchObject({ submitted: 0, replayed: 50, heardLate: 0, succeeded: 50 })
    expect(tally).toMatchObject({ movedNow: 0n, movedBefore: 1275n })
    expect(payonce.moved()).toBe(1275)
    // A replay tells its state, so there is nothing to follow.
    expect(payonce.count('GET', '/v1/transfers')).toBe(getsBefore)
  })

  it('sends what the order says and nothing that could differ the next time', async () => {
    const payonce = await start()
    await submit(payonce, [
      order(1, { description: 'Rent', category: 'HH', payer: { bank: '', number: '7' } }),
      order(2, { receiver: { bank: 'YZ', number: '7' } }),
    ])
    expect([...payonce.accounts.values()].map(({ body }) => body)).toContainEqual({
      currency: 'EUR',
      kind: 'external',
      name: 'Payer 7',
      reference: 'payer:EUR::7',
    })
    expect([...payonce.accounts.values()].map(({ body }) => body)).toContainEqual({
      currency: 'EUR',
      kind: 'internal',
      name: 'Receiver 7 at YZ',
      reference: 'receiver:EUR:YZ:7',
    })
    expect(payonce.transfers.get('july:1')?.body).toEqual({
      source: payonce.accounts.get('account:payer:EUR::7')?.id,
      destination: payonce.accounts.get('account:receiver:EUR:OST:r1')?.id,
      amount: 1,
      currency: 'EUR',
      description: 'Rent',
      metadata: { order_id: '1', category: 'HH' },
    })
    expect(payonce.transfers.get('july:2')?.body).not.toHaveProperty('description')
    expect(payonce.transfers.get('july:2')?.body['metadata']).toEqual({ order_id: '2' })
  })

  it('never has more requests open than it may', async () => {
    const payonce = await start({ answerAfterMs: 5 })
    await submit(payonce, orders(100), { concurrency: 8 })
    // Eight that send, and one that follows.
    expect(payonce.mostOpen).toBeLessThanOrEqual(8 + 1)
    expect(payonce.mostOpen).toBeGreaterThanOrEqual(8)
  })

  it('follows transfers that take long with a few requests', async () => {
    const settlesAt = performance.now() + 2000
    const payonce = await start({ settleAfterMs: () => settlesAt - performance.now() })
    const { tally } = await submit(payonce, orders(300), { concurrency: 8 })
    expect(tally.succeeded).toBe(300)
    // Some ten; on a slow machine, where the last are accepted later than that, some more.
    expect(payonce.count('GET', '/v1/transfers')).toBeLessThan(60)
  })

  it('asks for an account again that it had to forget, and gets the same one', async () => {
    const payonce = await start()
    const { tally } = await submit(payonce, orders(100), { maxAccounts: 4 })
    expect(tally.succeeded).toBe(100)
    expect(payonce.accounts.size).toBe(110)
  })
})

// 30 s: they wait out outages of seconds, and the machine may be busy.
describe('outages', { timeout: 30_000 }, () => {
  it('are waited out, whatever their kind, and no order is paid twice', async () => {
    const kinds = [
      'cut before it is carried out',
      'cut after it is carried out',
      { status: 503, code: 'backlog_full', retryAfter: '0' },
      { status: 429, code: 'rate_limited', retryAfter: '0' },
      { status: 409, code: 'idempotency_in_flight', retryable: true },
      { status: 500, code: 'internal_error' },
      { status: 502, html: '<h1>Bad gateway</h1>' },
    ] as const
    const payonce = await start({
      // Every second request goes wrong at its first try.
      fault: ({ before, total }) =>
        before === 0 && total % 2 === 0 ? kinds[(total / 2) % kinds.length] : undefined,
    })
    const { tally, stopped } = await submit(payonce, orders(120))
    expect(stopped).toBeUndefined()
    expect(tally.succeeded).toBe(120)
    expect(tally.submitted + tally.replayed).toBe(120)
    expect(tally.retries).toBeGreaterThan(50)
    expect(payonce.moved()).toBe(7260)
    // All of it was moved by this run, also where it first heard of it by a replay.
    expect(tally).toMatchObject({ movedNow: 7260n, movedBefore: 0n })
  })

  it('of which only the answer was lost count as moved by the run that sent them', async () => {
    const payonce = await start({
      fault: ({ path, before }) =>
        path === '/v1/transfers' && before === 0 ? 'cut after it is carried out' : undefined,
    })
    const { tally } = await submit(payonce, orders(5))
    expect(tally).toMatchObject({ submitted: 0, replayed: 5, heardLate: 5, movedNow: 15n })
  })

  it('do not make what an earlier run moved look like this one', async () => {
    const earlier = await start()
    await submit(earlier, orders(5))
    for (const transfer of earlier.transfers.values()) {
      transfer.text = transfer.text.replace(
        /"created_at":"[^"]*"/,
        '"created_at":"2020-01-01T00:00:00.000Z"',
      )
    }
    const payonce = await start({
      from: earlier,
      fault: ({ before }) => (before === 0 ? 'cut before it is carried out' : undefined),
    })
    const { tally } = await submit(payonce, orders(5))
    expect(tally).toMatchObject({ replayed: 5, heardLate: 0, movedNow: 0n, movedBefore: 15n })
  })

  it('are waited out for as long as the server asks', async () => {
    const payonce = await start({
      fault: ({ path, before }) =>
        path === '/v1/transfers' && before === 0
          ? { status: 503, code: 'backlog_full', retryAfter: '1' }
          : undefined,
    })
    const startedAt = performance.now()
    const { tally } = await submit(payonce, orders(3))
    expect(tally.succeeded).toBe(3)
    expect(performance.now() - startedAt).toBeGreaterThan(1000)
  })

  it('of the whole server are survived when it comes back with its data', async () => {
    const before = await start({ settleAfterMs: () => 20 })
    const submitting = submit(before, orders(2000), { concurrency: 8 })
    await until(() => before.transfers.size > 300)
    await before.stop()
    running.splice(running.indexOf(before), 1)
    const after = await start({ port: before.port, from: before })
    const { tally, stopped } = await submitting
    expect(stopped).toBeUndefined()
    expect(tally.succeeded).toBe(2000)
    expect(tally.movedNow).toBe(2001000n)
    expect(after.moved()).toBe(2001000)
  })

  it('without end stop the run, which says why', async () => {
    const payonce = await start({
      fault: ({ path, total }) =>
        path === '/v1/transfers' && total > 40 ? 'cut before it is carried out' : undefined,
    })
    const { tally, stopped } = await submit(payonce, orders(100), { giveUpAfterMs: 700 })
    expect(stopped?.message).toMatch(
      /No progress for 0\.7 s; the last trouble was: .*(hang up|RESET)/,
    )
    expect(stopped?.exitCode).toBe(1)
    expect(tally.succeeded).toBeLessThan(100)
    expect(payonce.open).toBe(0)
  })

  it('in which requests are never answered stop the run too', async () => {
    const payonce = await start({ fault: () => 'never answer' })
    const { stopped } = await submit(payonce, orders(10), { giveUpAfterMs: 500 })
    expect(stopped?.message).toMatch(/No progress/)
  })

  it('of the workers stop the run with everything accepted, and the next run finishes it', async () => {
    const payonce = await start({ settleAfterMs: () => Infinity })
    const first = await submit(payonce, orders(50), { giveUpAfterMs: 700 })
    expect(first.stopped?.message).toMatch(/no transfer settles: look at its workers/)
    expect(first.tally).toMatchObject({ submitted: 50, succeeded: 0, movedNow: 0n })
    for (const transfer of payonce.transfers.values()) transfer.settlesAt = performance.now() + 50
    const second = await submit(payonce, orders(50))
    expect(second.tally).toMatchObject({ submitted: 0, replayed: 50, succeeded: 50 })
    expect(second.tally).toMatchObject({ movedNow: 0n, movedBefore: 1275n })
  })

  it('of some transfers do not keep the others from being followed', async () => {
    // Three of the first stay queued for ever.
    const stuck = new Set(['july:1', 'july:2', 'july:3'])
    const payonce = await start({ settleAfterMs: (key) => (stuck.has(key) ? Infinity : 5) })
    const options = { concurrency: 4, waitS: 1, giveUpAfterMs: 2500 }
    const { tally, stopped } = await submit(payonce, orders(100), options)
    expect(tally).toMatchObject({ submitted: 100, succeeded: 97 })
    expect(stopped?.message).toMatch(/No progress/)
  })
})

describe('refusals', () => {
  it('by the ledger are counted by code, now and on a replay', async () => {
    const payonce = await start({
      refuse: ({ key }) => (['july:2', 'july:4'].includes(key) ? 'insufficient_funds' : undefined),
    })
    for (const replayed of [0, 5]) {
      const { tally, stopped } = await submit(payonce, orders(5))
      expect(stopped).toBeUndefined()
      expect(tally).toMatchObject({ replayed, succeeded: 3 })
      expect(tally.failed).toEqual(new Map([['insufficient_funds', 2]]))
      expect(tally.troubles.map(({ line, orderId, kind }) => [line, orderId, kind])).toEqual([
        [3, '2', 'failed'],
        [5, '4', 'failed'],
      ])
      expect(tally.movedNow + tally.movedBefore).toBe(9n)
    }
  })

  it('of a request are counted, and the other orders go on', async () => {
    const payonce = await start({
      fault: ({ key }) =>
        key === 'july:3' ? { status: 422, code: 'account_not_found' } : undefined,
    })
    const { tally } = await submit(payonce, orders(5))
    expect(tally).toMatchObject({ submitted: 4, succeeded: 4 })
    expect(tally.refused).toEqual(new Map([['account_not_found', 1]]))
    expect(tally.troubles).toMatchObject([
      { line: 4, orderId: '3', detail: 'The double says account_not_found.' },
    ])
  })

  it('show the first twenty', async () => {
    const payonce = await start({ refuse: () => 'account_frozen' })
    const { tally } = await submit(payonce, orders(30))
    expect(tally.failed.get('account_frozen')).toBe(30)
    expect(tally.troubles).toHaveLength(20)
  })

  it('of a known order id with another amount are told', async () => {
    const payonce = await start()
    await submit(payonce, [order(1)])
    const { tally } = await submit(payonce, [order(1, { amount: 2n })])
    expect(tally.refused).toEqual(new Map([['idempotency_key_reused', 1]]))
    expect(payonce.moved()).toBe(1)
  })

  it('of an account concern all its orders, and it is asked for once', async () => {
    const payonce = await start({
      fault: ({ key }) =>
        key === 'account:payer:EUR:NORD:p1' ? { status: 400, code: 'invalid_name' } : undefined,
    })
    const { tally } = await submit(payonce, orders(20))
    expect(tally.refused).toEqual(new Map([['invalid_name', 2]]))
    expect(tally.troubles[0]?.detail).toMatch(/^payer: /)
    expect(payonce.requests.filter(({ key }) => key.endsWith('p1'))).toHaveLength(1)
  })

  it('do not befall an account that was opened by other means', async () => {
    const payonce = await start()
    await submit(payonce, [order(1)])
    const [account] = payonce.accounts.values()
    if (account === undefined) throw new Error('no account was opened')
    account.body['name'] = 'Alice, as somebody else calls her'
    const { tally } = await submit(payonce, [order(1)])
    expect(tally).toMatchObject({ replayed: 1, succeeded: 1 })
  })

  it('befall an account of another kind', async () => {
    const payonce = await start()
    await submit(payonce, [order(1)])
    const { tally } = await submit(payonce, [order(1)], { payerKind: 'internal' })
    expect(tally.refused).toEqual(new Map([['account_differs', 1]]))
    expect(tally.troubles[0]?.detail).toMatch(/external in EUR, not internal in EUR/)
  })
})

describe('a run stops at once', { timeout: 30_000 }, () => {
  it.each([
    [
      'where the key is unknown',
      { status: 401, code: 'unauthorized' },
      /401 unauthorized: the API key/,
    ],
    [
      'where the key may not',
      { status: 403, code: 'insufficient_scope' },
      /403 insufficient_scope/,
    ],
    ['where a page answers', { status: 200, html: '<h1>It works!</h1>' }, /not as Payonce.*--url/],
    ['where nothing is served', { status: 404, html: 'Cannot POST' }, /answered 404.*--url/],
    ['where it is sent elsewhere', { status: 301, html: 'Moved' }, /answered 301/],
  ] as const)('%s', async (_, fault, message) => {
    const payonce = await start({ fault: () => fault })
    const { stopped } = await submit(payonce, orders(500))
    expect(stopped?.message).toMatch(message)
    expect(payonce.requests.length).toBeLessThan(100)
  })

  it('where an accepted transfer is unknown', async () => {
    const payonce = await start({
      fault: ({ method }) => (method === 'GET' ? { status: 404, code: 'not_found' } : undefined),
    })
    const { stopped } = await submit(payonce, orders(5))
    expect(stopped?.message).toMatch(/404 not_found for a transfer that was accepted/)
  })

  it('where reading the orders fails, with what was sent counted', async () => {
    const payonce = await start()
    async function* broken() {
      yield* orders(3)
      await until(() => payonce.moved() === 6)
      throw new Stopped('The file has changed since it was checked.')
    }
    const { stopped, tally } = await submit(payonce, broken())
    expect(stopped?.message).toMatch(/file has changed/)
    expect(tally.submitted).toBe(3)
  })

  it('when it is interrupted, and can be taken up again', async () => {
    const payonce = await start({ settleAfterMs: () => 20 })
    const stop = new AbortController()
    const submitting = submit(payonce, orders(2000), { stop })
    await until(() => payonce.moved() > 100)
    stop.abort(new Stopped('SIGINT was received.', 130))
    const first = await submitting
    expect(first.stopped?.exitCode).toBe(130)
    const second = await submit(payonce, orders(2000))
    expect(second.tally.succeeded).toBe(2000)
    expect(second.tally.submitted).toBeGreaterThan(0)
    expect(payonce.moved()).toBe(2001000)
  })
})

it('the table holds every count, and the money in both units', () => {
  const tally = createTally()
  tally.submitted = 7
  tally.replayed = 3
  tally.succeeded = 6
  tally.failed = new Map([
    ['account_frozen', 1],
    ['insufficient_funds', 2],
  ])
  tally.refused = new Map([['currency_mismatch', 1]])
  tally.movedNow = 212289936n
  tally.movedBefore = 5n
  const facts = { orders: 12, repeated: 1, elapsedMs: 4500, currency: 'EUR', digits: 2 }
  expect(renderTable(tally, facts)).toMatchInlineSnapshot(`
    "orders                12
    repeated in file      1
    submitted             7
    replayed              3
    succeeded             6
    failed                3
      insufficient_funds  2
      account_frozen      1
    refused               1
      currency_mismatch   1
    not settled           1
    not answered          1
    total moved           212289936 minor units (2122899.36 EUR)
    moved before          5 minor units (0.05 EUR)
    elapsed               4.5 s
    rate                  2 orders/s
    "
  `)
})

type Options = {
  concurrency?: number
  giveUpAfterMs?: number
  waitS?: number
  maxAccounts?: number
  payerKind?: 'internal' | 'external'
  stop?: AbortController
}

async function submit(
  double: Double,
  numbered: NumberedOrder[] | AsyncGenerator<NumberedOrder>,
  options: Options = {},
) {
  const {
    concurrency = 16,
    giveUpAfterMs = 5000,
    waitS = 5,
    stop = new AbortController(),
  } = options
  const tally = createTally()
  const http = createHttpClient(new URL(double.url))
  stop.signal.addEventListener('abort', http.close)
  const payonce = createPayonce({
    http,
    apiKey: 'po_test_double',
    signal: stop.signal,
    onTrouble: (trouble) => {
      tally.retries += 1
      tally.lastTrouble = trouble
    },
  })
  const accounts = createAccountBook({
    payonce,
    currency: 'EUR',
    kinds: { payer: options.payerKind ?? 'external', receiver: 'internal' },
    ...(options.maxAccounts === undefined ? {} : { maxAccounts: options.maxAccounts }),
  })
  const given = Array.isArray(numbered) ? each(numbered) : numbered
  const common = { payonce, accounts, tally, currency: 'EUR', prefix: 'july' }
  const stopped = await submitOrders(given, { ...common, concurrency, giveUpAfterMs, waitS, stop })
  http.close()
  return { tally, stopped }
}

async function start(options: DoubleOptions = {}): Promise<Double> {
  const double = await startDouble(options)
  running.push(double)
  return double
}

/** Orders 1 to `count`, each of as many cents as its id, from ten payers to a receiver each. */
function orders(count: number): NumberedOrder[] {
  return Array.from({ length: count }, (_, index) => order(index + 1))
}

type Party = { bank: string; number: string }

function order(
  id: number,
  changes: Partial<Pick<Order, 'amount' | 'description' | 'category'>> & {
    payer?: Party
    receiver?: Party
  } = {},
): NumberedOrder {
  return {
    line: id + 1,
    order: {
      orderId: String(id),
      amount: BigInt(id),
      description: '',
      category: '',
      ...changes,
      payer: { role: 'payer', ...(changes.payer ?? { bank: 'NORD', number: `p${id % 10}` }) },
      receiver: { role: 'receiver', ...(changes.receiver ?? { bank: 'OST', number: `r${id}` }) },
    },
  }
}

async function* each<T>(items: T[]): AsyncGenerator<T> {
  yield* items
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 2))
}
