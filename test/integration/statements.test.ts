import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import type { AccountOnWire, BalanceOnWire, EntryOnWire, TransferOnWire } from '../support/wire.ts'

/* What an account looked like, and lists of transfers by every filter, against the whole of each. */

let payonce: Payonce
let rich: string
let other: string
/** Between any two rounds of the history: nothing happened at these times. */
const moments: string[] = []

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
  rich = await payonce.openAccount(100_000)
  other = await payonce.openAccount(10)
  await writeHistory()
})

const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()

async function moment(): Promise<void> {
  await sleep(4)
  const { rows } = await payonce.db.query<{ now: Date }>('SELECT clock_timestamp() AS now')
  moments.push(rows[0]?.now.toISOString() ?? '')
  await sleep(4)
}

/** Some of every kind and every status, in rounds. */
async function writeHistory(): Promise<void> {
  const { client } = payonce
  const pair = { source: rich, destination: other }
  for (let round = 0; round < 4; round++) {
    await moment()
    const metadata = { round: String(round), order: '6735' }
    const send = (more: object = {}) =>
      client.send({ ...pair, amount: 10 + round, metadata, ...more })
    const legs = [
      { ...pair, amount: 2, currency: 'EUR' },
      { source: other, destination: rich, amount: 1, currency: 'EUR' },
    ]
    const sent = await Promise.all([
      send(),
      send({ hold: true }),
      send({ hold: true }),
      send({ hold: true }),
      send({ amount: 10_000_000 }),
      send({ amount: 10_000_000, hold: true }),
      client.send({ legs, metadata }),
      client.send({ legs: [legs[0] ?? legs[1], { ...legs[1], amount: 10_000_000 }] } as never),
    ])
    await payonce.settle(...sent.map(({ body }) => body))
    const [paid, captured, released] = sent.map(({ body }) => body.id)
    const children = await Promise.all([
      client.follow('refund', paid ?? '', { amount: 1 }),
      client.follow('capture', captured ?? '', { amount: 5 }),
      client.follow('capture', captured ?? '', { amount: 1_000 }),
      client.follow('release', released ?? ''),
    ])
    await payonce.settle(...children.map(({ body }) => body))
    await client.cancel((await send()).body.id)
    const expiring = (await send({ expires_at: inMs(60) })).body
    await sleep(80)
    await payonce.settle(expiring)
    // The rest stays as it is.
    await send({ execute_at: inMs(3_600_000) })
    await send({ execute_at: inMs(3_600_000), hold: true })
    await send()
    await client.sendBatch({
      transfers: [{ ...pair, amount: 1, metadata }],
      atomic: true,
      ...(round % 2 === 0 ? { execute_at: inMs(3_600_000) } : {}),
    })
    if (round === 3) {
      const waiting = (
        await send({ amount: 10_000_000, on_insufficient_funds: { retry_until: inMs(600_000) } })
      ).body
      await payonce.settle(waiting)
    }
  }
  await moment()
}

const list = (query: Record<string, string>, limit = 100) =>
  payonce.client.listAll<TransferOnWire>(
    `/v1/transfers?${new URLSearchParams(query).toString()}`,
    limit,
  )

const ids = (transfers: readonly TransferOnWire[]) => transfers.map(({ id }) => id)

function names({ source, destination, legs = [] }: TransferOnWire, account: string): boolean {
  const named = [source, destination, ...legs.flatMap((leg) => [leg.source, leg.destination])]
  return named.includes(account)
}

const statuses = [
  'scheduled',
  'queued',
  'succeeded',
  'failed',
  'canceled',
  'expired',
  'held',
  'released',
]
const kinds = ['transfer', 'hold', 'capture', 'release', 'refund']

describe('the list of transfers', () => {
  test('has every status and every kind, so that the tests below mean something', async () => {
    const all = await list({})
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set(statuses))
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(kinds))
    expect(new Set(ids(all)).size).toBe(all.length)
    expect(all.length).toBeGreaterThan(70)
    for (const transfer of all) expect(await payonce.client.read(transfer.id)).toEqual(transfer)
  })

  const filters = [undefined, ...statuses].flatMap((status) =>
    [undefined, ...kinds].map((kind): { status?: string; kind?: string } => ({
      ...(status === undefined ? {} : { status }),
      ...(kind === undefined ? {} : { kind }),
    })),
  )

  test.each(filters)('by %o tells just those, of all and of an account', async (filter) => {
    const all = await list({})
    for (const account of [undefined, other]) {
      const expected = all
        .filter(({ status }) => filter.status === undefined || status === filter.status)
        .filter(({ kind }) => filter.kind === undefined || kind === filter.kind)
        .filter((transfer) => account === undefined || names(transfer, account))
      const query = { ...filter, ...(account === undefined ? {} : { account }) }
      for (const limit of [7, 100]) {
        const told = ids(await list(query, limit))
        if (account === undefined) expect(told).toEqual(ids(expected))
        else expect(told.toSorted()).toEqual(ids(expected).toSorted())
      }
    }
  })

  test.each([
    { metadata: { order: '6735' } },
    { metadata: { order: '6735', round: '2' } },
    { metadata: { round: '9' } },
    { metadata: { round: '1' }, status: 'held' },
    { metadata: { round: '1' }, kind: 'transfer' },
    { metadata: { round: '1' }, status: 'scheduled' },
  ])('by %o tells just those with all of the pairs', async ({ metadata, ...filter }) => {
    const pairs = Object.entries(metadata)
    const expected = (await list({}))
      .filter((transfer) => pairs.every(([key, value]) => transfer.metadata[key] === value))
      .filter(({ status }) => filter.status === undefined || status === filter.status)
      .filter(({ kind }) => filter.kind === undefined || kind === filter.kind)
    const asked = {
      ...filter,
      ...Object.fromEntries(pairs.map(([key, value]) => [`metadata[${key}]`, value])),
    } as Record<string, string>
    const told = await list({ ...asked, created_after: '2020-01-01T00:00:00Z' }, 5)
    expect(ids(told)).toEqual(ids(expected))
    const ofAccount = await list({ ...asked, account: other }, 5)
    expect(ids(ofAccount).toSorted()).toEqual(ids(expected).toSorted())
    const later = await list({ ...asked, created_after: moments[2] ?? '' })
    expect(ids(later)).toEqual(
      ids(expected.filter(({ created_at }) => created_at > (moments[2] ?? ''))),
    )
  })

  test('by metadata alone is refused: it would look through everything', async () => {
    for (const more of ['', '&status=held', '&created_before=2030-01-01T00:00:00Z']) {
      const refused = await payonce.client.get(`/v1/transfers?metadata[order]=6735${more}`)
      expect([refused.status, refused.body]).toMatchObject([400, { code: 'invalid_parameter' }])
    }
  })
})

const entriesOf = (account: string, query: Record<string, string> = {}, limit = 100) =>
  payonce.client.listAll<EntryOnWire>(
    `/v1/accounts/${account}/entries?${new URLSearchParams(query).toString()}`,
    limit,
  )

describe('the balance at a time', () => {
  const balanceAt = async (account: string, at?: string) =>
    (
      await payonce.client.get<BalanceOnWire>(
        `/v1/accounts/${account}/balance${at === undefined ? '' : `?at=${at}`}`,
      )
    ).body

  test('is the sum of the entries up to then, at every moment and at every entry', async () => {
    const entries = await entriesOf(other)
    expect(entries.length).toBeGreaterThan(20)
    const times = [
      ...moments,
      ...entries.map(({ created_at }) => created_at),
      '2020-01-01T00:00:00.000Z',
      '2999-01-01T00:00:00.000Z',
    ]
    for (const at of times) {
      const upTo = entries.filter(({ created_at }) => created_at <= at)
      expect(await balanceAt(other, at)).toEqual({
        object: 'balance',
        account: other,
        currency: 'EUR',
        balance: upTo.reduce((sum, { amount }) => sum + amount, 0),
        seq: upTo.length,
        at,
      })
    }
  })

  test('is the balance of now where no time is given, and 0 for an account without entries', async () => {
    const account = (await payonce.client.get<AccountOnWire>(`/v1/accounts/${other}`)).body
    expect((await balanceAt(other)).balance).toBe(account.balance)
    const empty = await payonce.openAccount()
    expect(await balanceAt(empty, moments[0])).toMatchObject({ balance: 0, seq: 0 })
  })

  test('of a foreign or unknown account is 404, and a time that is none is 400', async () => {
    const stranger = await payonce.addTenant('reads balances')
    const path = `/v1/accounts/${other}/balance`
    expect((await stranger.client.get(path)).status).toBe(404)
    expect((await payonce.client.get(`${path}?at=yesterday`)).status).toBe(400)
  })
})

describe('the entries of a range of time', () => {
  test('are those after its begin and before its end, in pages of any length', async () => {
    const all = await entriesOf(other)
    const ends = [undefined, ...moments, all[5]?.created_at, all.at(-1)?.created_at]
    for (const after of ends) {
      for (const before of ends) {
        const expected = all
          .filter(({ created_at }) => after === undefined || created_at > after)
          .filter(({ created_at }) => before === undefined || created_at < before)
        const range = {
          ...(after === undefined ? {} : { created_after: after }),
          ...(before === undefined ? {} : { created_before: before }),
        }
        for (const limit of [6, 100]) expect(await entriesOf(other, range, limit)).toEqual(expected)
      }
    }
  })

  test('are a CSV whose pages are linked, with the same lines', async () => {
    const { client } = payonce
    const range = { created_after: moments[1] ?? '', created_before: moments[3] ?? '' }
    const expected = await entriesOf(other, range)
    expect(expected.length).toBeGreaterThan(8)
    const lines: string[] = []
    const columns = 'object,account,seq,transfer,amount,currency,balance_after,created_at'
    let path: string | undefined = `/v1/accounts/${other}/entries?${new URLSearchParams({
      ...range,
      format: 'csv',
      limit: '5',
    }).toString()}`
    let pages = 0
    while (path !== undefined) {
      const page: { status: number; headers: Headers; text: string } = await client.get(path)
      expect([page.status, page.headers.get('content-type')]).toEqual([
        200,
        'text/csv; charset=utf-8; header=present',
      ])
      const [header, ...rest] = page.text.trimEnd().split('\n')
      expect(header).toBe(columns)
      lines.push(...rest)
      pages += 1
      path = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
    }
    expect(pages).toBe(Math.ceil(expected.length / 5))
    expect(lines).toEqual(expected.map((entry) => Object.values(entry).join(',')))
  })

  test('that is empty is a CSV with its header alone', async () => {
    const { text, headers } = await payonce.client.get(
      `/v1/accounts/${other}/entries?format=csv&created_before=2020-01-01T00:00:00Z`,
    )
    expect(text).toBe('object,account,seq,transfer,amount,currency,balance_after,created_at\n')
    expect(headers.get('link')).toBeNull()
  })
})

test('the books hold, and what was left open is settled or canceled', async () => {
  const { client, db } = payonce
  for (const { id, status } of [
    ...(await list({ status: 'queued' })),
    ...(await list({ status: 'scheduled' })),
  ]) {
    const canceled = await client.post(`/v1/transfers/${id}/cancel`)
    expect([200, 409]).toContain(canceled.status)
    expect(['queued', 'scheduled']).toContain(status)
  }
  const left = await db.query<{ id: string }>(
    `SELECT batch_items.transfer_id AS id FROM batch_items
      WHERE NOT EXISTS (SELECT FROM transfers WHERE transfers.id = batch_items.transfer_id)`,
  )
  expect(left.rows).toHaveLength(4)
  await assertBooksHold(db, { unsettled: left.rows.map(({ id }) => id) })
})
