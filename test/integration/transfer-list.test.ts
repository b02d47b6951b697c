import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { newKey } from '../support/client.ts'
import { startPayonce, type Payonce, type Tenant } from '../support/payonce.ts'
import type { ListOnWire, TransferOnWire } from '../support/wire.ts'

let payonce: Payonce
let other: Tenant
/** A history of every status, as each transfer tells of itself. */
let history: TransferOnWire[]
let rich: string
let poor: string
/** A moment in the middle of the history, and one among those that are still queued. */
let middle: string
let amongQueued: string

beforeAll(async () => {
  payonce = await startPayonce()
  other = await payonce.addTenant('other')
  rich = await payonce.openAccount(1_000_000)
  poor = await payonce.openAccount()
  await writeHistory()
})

async function writeHistory(): Promise<void> {
  const { client, alice, merchant } = payonce
  const ids: string[] = []
  const routes = [
    [rich, alice],
    [poor, merchant],
    [rich, merchant],
    [alice, rich],
    [poor, alice],
    [rich, poor],
  ] as const
  async function sendAll(times: number): Promise<string[]> {
    const sent = await Promise.all(
      Array.from({ length: times }, async (_, n) => {
        const [source, destination] = routes[n % routes.length] ?? [rich, alice]
        return (await client.send({ source, destination, amount: 1_000 + n })).body.id
      }),
    )
    ids.push(...sent)
    return sent
  }
  // Settled together and settled alone, between cancels: what shares a moment and what does not.
  await sendAll(10)
  await payonce.untilAllSettled()
  await payonce.stopWorker()
  for (const id of (await sendAll(12)).filter((_, n) => n % 2 === 0)) {
    await client.post(`/v1/transfers/${id}/cancel`)
  }
  middle = await momentBetween()
  await payonce.startWorker()
  await payonce.untilAllSettled()
  for (let n = 0; n < 6; n++) {
    await sendAll(1)
    await payonce.untilAllSettled()
  }
  await payonce.stopWorker()
  const queued = await sendAll(7)
  amongQueued = await momentBetween()
  queued.push(...(await sendAll(9)))
  for (const id of queued.filter((_, n) => n % 4 === 1)) {
    await client.post(`/v1/transfers/${id}/cancel`)
  }
  history = await Promise.all(ids.map((id) => client.read(id)))
}

/** A time that nothing was accepted at, with something before it and something after. */
async function momentBetween(): Promise<string> {
  await sleep(5)
  const { rows } = await payonce.db.query<{ now: Date }>('SELECT clock_timestamp() AS now')
  await sleep(5)
  return rows[0]?.now.toISOString() ?? ''
}

const byId = (a: TransferOnWire, b: TransferOnWire) => (a.id < b.id ? 1 : -1)

describe('the list of transfers', () => {
  test('has every status in its history, so that the tests below mean something', () => {
    for (const wanted of ['succeeded', 'failed', 'canceled', 'queued']) {
      expect(history.filter(({ status }) => status === wanted).length).toBeGreaterThan(2)
    }
    expect(new Set(history.map(({ id }) => id)).size).toBe(44)
  })

  const filters: {
    status?: string
    account?: 'rich' | 'poor'
    time?: 'after' | 'before' | 'among'
  }[] = [undefined, 'succeeded', 'failed', 'canceled', 'queued'].flatMap((status) =>
    ([undefined, 'rich', 'poor'] as const).flatMap((account) =>
      ([undefined, 'after', 'before', 'among'] as const).map((time) => ({
        ...(status === undefined ? {} : { status }),
        ...(account === undefined ? {} : { account }),
        ...(time === undefined ? {} : { time }),
      })),
    ),
  )

  test.each(filters)('with %o tells each one once, however long the pages are', async (filter) => {
    const account = filter.account === 'rich' ? rich : filter.account && poor
    const query = new URLSearchParams({
      ...(filter.status === undefined ? {} : { status: filter.status }),
      ...(account === undefined ? {} : { account }),
      ...(filter.time === 'after' ? { created_after: middle } : {}),
      ...(filter.time === 'before' ? { created_before: middle } : {}),
      ...(filter.time === 'among' ? { created_before: amongQueued } : {}),
    })
    const expected = history
      .filter(({ status }) => filter.status === undefined || status === filter.status)
      .filter(
        ({ source, destination }) =>
          account === undefined || [source, destination].includes(account),
      )
      .filter(({ created_at }) => filter.time !== 'after' || created_at > middle)
      .filter(({ created_at }) => filter.time !== 'before' || created_at < middle)
      .filter(({ created_at }) => filter.time !== 'among' || created_at < amongQueued)
      .toSorted(byId)
    for (const limit of [3, 4, 100]) {
      const told = await payonce.client.listAll<TransferOnWire>(
        `/v1/transfers?${query.toString()}`,
        limit,
      )
      // What the test set up to have money is no part of its history.
      const listed = told.filter(({ source }) => source !== payonce.world)
      expect(listed.toSorted(byId)).toEqual(expected)
      if (account === undefined) expect(listed).toEqual(expected)
      else expectBookOrder(listed)
    }
  })

  test('is told one by one as well, and an account is told as its book is', async () => {
    const whole = await payonce.client.listAll<TransferOnWire>('/v1/transfers', 1)
    expect(whole).toHaveLength(history.length + 1)
    const book = await payonce.client.listAll<TransferOnWire>(`/v1/transfers?account=${rich}`, 1)
    expect(new Set(book.map(({ id }) => id)).size).toBe(book.length)
    expectBookOrder(book)
  })

  test('may be asked for by kind', async () => {
    const { body } = await payonce.client.get<ListOnWire<TransferOnWire>>(
      '/v1/transfers?kind=transfer&limit=100',
    )
    expect(body.data).toHaveLength(history.length + 1)
  })

  test('finds the one transfer of a key, of this tenant alone (I11)', async () => {
    const transfer = history.at(-1)
    const query = `/v1/transfers?idempotency_key=${transfer?.idempotency_key}`
    const found = await payonce.client.get<ListOnWire<TransferOnWire>>(query)
    expect(found.body).toEqual({
      object: 'list',
      data: [transfer],
      has_more: false,
      next_cursor: null,
    })
    const quoted = await payonce.client.get(
      `/v1/transfers?idempotency_key=${encodeURIComponent(`"${transfer?.idempotency_key}"`)}`,
    )
    expect(quoted.body).toEqual(found.body)
    const elsewhere = await other.client.get<ListOnWire<TransferOnWire>>(query)
    expect(elsewhere.body.data).toEqual([])
    const unknown = await payonce.client.get<ListOnWire<TransferOnWire>>(
      `/v1/transfers?idempotency_key=${newKey()}`,
    )
    expect([unknown.status, unknown.body.data]).toEqual([200, []])
  })

  test('does not take the key of an account for one of a transfer', async () => {
    const key = newKey()
    await payonce.client.post('/v1/accounts', { currency: 'EUR' }, { key })
    const { body } = await payonce.client.get<ListOnWire<TransferOnWire>>(
      `/v1/transfers?idempotency_key=${key}`,
    )
    expect(body.data).toEqual([])
  })

  test('shows nothing to another tenant, whose account it is asked about', async () => {
    const own = await other.client.get<ListOnWire<TransferOnWire>>('/v1/transfers')
    expect(own.body.data).toEqual([])
    const foreign = await other.client.get<ListOnWire<TransferOnWire>>(
      `/v1/transfers?account=${rich}`,
    )
    expect([foreign.status, foreign.body.data]).toEqual([200, []])
  })

  test.each([
    ['status=done', 'invalid_parameter'],
    ['kind=payment', 'invalid_parameter'],
    ['account=me', 'invalid_parameter'],
    ['created_after=yesterday', 'invalid_parameter'],
    ['created_before=2026-01-01', 'invalid_parameter'],
    ['state=queued', 'invalid_parameter'],
    ['status=queued&status=failed', 'invalid_parameter'],
    ['limit=0', 'invalid_parameter'],
    ['limit=101', 'invalid_parameter'],
    ['limit=1e1', 'invalid_parameter'],
    ['idempotency_key=a,b', 'invalid_parameter'],
    ['cursor=', 'invalid_cursor'],
    ['cursor=%00', 'invalid_cursor'],
    ['cursor=eyJhIjoxfQ', 'invalid_cursor'],
  ])('refuses ?%s', async (query, code) => {
    const refused = await payonce.client.get(`/v1/transfers?${query}`)
    expect([refused.status, refused.body.code]).toEqual([400, code])
  })

  test('refuses the cursor of one account for another', async () => {
    const page = await payonce.client.get<ListOnWire<TransferOnWire>>(
      `/v1/transfers?account=${rich}&limit=1`,
    )
    const cursor = page.body.next_cursor
    const refused = await payonce.client.get(`/v1/transfers?account=${poor}&cursor=${cursor}`)
    expect([refused.status, refused.body.code]).toEqual([400, 'invalid_cursor'])
  })
})

/** First what is not settled, newest first; then what is, by the time of settlement, latest first. */
function expectBookOrder(transfers: readonly TransferOnWire[]): void {
  const places = transfers.map(({ settled_at, id }) => settled_at ?? `z${id}`)
  expect(places).toEqual(places.toSorted().toReversed())
}

describe('a list that is read while it changes', () => {
  test('has a transfer from the moment of its acceptance on', async () => {
    const { client, merchant } = payonce
    for (let n = 0; n < 10; n++) {
      const { body } = await client.send({ source: rich, destination: merchant, amount: 1 })
      for (const query of ['limit=1', `limit=1&account=${rich}`, 'limit=1&status=queued']) {
        const list = await client.get<ListOnWire<TransferOnWire>>(`/v1/transfers?${query}`)
        expect(list.body.data).toEqual([body])
      }
    }
  })

  test('leaves none out while all of them settle, and tells none twice by its ids', async () => {
    const { client, merchant } = payonce
    const source = await payonce.openAccount()
    const ids = await Promise.all(
      Array.from(
        { length: 30 },
        async () => (await client.send({ source, destination: merchant, amount: 1 })).body.id,
      ),
    )
    const first = await client.get<ListOnWire<TransferOnWire>>(
      `/v1/transfers?account=${source}&limit=4`,
    )
    const firstById = await client.get<ListOnWire<TransferOnWire>>('/v1/transfers?limit=4')
    await payonce.startWorker()
    await payonce.untilAllSettled()
    await payonce.stopWorker()
    const rest = await restOf(`/v1/transfers?account=${source}`, first.body.next_cursor)
    const restById = await restOf('/v1/transfers', firstById.body.next_cursor)
    const seen = new Set([...first.body.data, ...rest].map(({ id }) => id))
    expect(ids.filter((id) => !seen.has(id))).toEqual([])
    const told = [...firstById.body.data, ...restById].map(({ id }) => id)
    expect(ids.filter((id) => told.filter((one) => one === id).length !== 1)).toEqual([])
  })
})

async function restOf(path: string, cursor: string | null): Promise<TransferOnWire[]> {
  if (cursor === null) return []
  const joint = path.includes('?') ? '&' : '?'
  const { body } = await payonce.client.get<ListOnWire<TransferOnWire>>(
    `${path}${joint}limit=4&cursor=${cursor}`,
  )
  return [...body.data, ...(await restOf(path, body.next_cursor))]
}
