import { beforeAll, describe, expect, test } from 'vitest'
import { newKey } from '../support/client.ts'
import { startPayonce, uuidOf, type Payonce, type Tenant } from '../support/payonce.ts'
import type { AccountOnWire, EntryOnWire, ListOnWire, TrialBalanceOnWire } from '../support/wire.ts'

let payonce: Payonce
let other: Tenant

beforeAll(async () => {
  payonce = await startPayonce()
  other = await payonce.addTenant('other')
})

const create = (body: object, key?: string) =>
  payonce.client.post<AccountOnWire>('/v1/accounts', body, key === undefined ? {} : { key })
const createBadly = (body: object, key?: string) =>
  payonce.client.post('/v1/accounts', body, key === undefined ? {} : { key })
const read = async (id: string) =>
  (await payonce.client.get<AccountOnWire>(`/v1/accounts/${id}`)).body
const change = (id: string, body: object) =>
  payonce.client.patch<AccountOnWire>(`/v1/accounts/${id}`, body)
const changeBadly = (id: string, body: object) => payonce.client.patch(`/v1/accounts/${id}`, body)

describe('opening an account', () => {
  test('answers 201 with an empty account that can be read under its Location', async () => {
    const { client } = payonce
    const opened = await create({ currency: 'EUR' })
    expect(opened.status).toBe(201)
    expect(opened.body).toEqual({
      id: expect.stringMatching(/^acc_[0-9a-f]{32}$/),
      object: 'account',
      kind: 'internal',
      currency: 'EUR',
      status: 'open',
      name: null,
      reference: null,
      balance: 0,
      held: 0,
      available: 0,
      overdraft_limit: 0,
      version: 0,
      metadata: {},
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    })
    const found = await client.get<AccountOnWire>(opened.headers.get('location') ?? '')
    expect(found.status).toBe(200)
    expect(found.text).toBe(opened.text)
  })

  test('keeps every member that was sent, metadata in canonical order', async () => {
    const sent = {
      currency: 'JPY',
      kind: 'external',
      name: 'Großhandel 東京',
      reference: 'ledger/7',
      overdraft_limit: 9007199254740991,
      metadata: { zebra: '1', apple: '2', Mango: '' },
    }
    const opened = await create(sent)
    expect(opened.body).toMatchObject(sent)
    expect(Object.keys(opened.body.metadata)).toEqual(['Mango', 'apple', 'zebra'])
    expect((await payonce.client.get(`/v1/accounts/${opened.body.id}`)).text).toBe(opened.text)
  })

  test('under a key is answered again byte for byte, even after the account has changed', async () => {
    const key = newKey()
    const body = { currency: 'EUR', name: 'Alice again', metadata: { b: '1', a: '2' } }
    const first = await create(body, key)
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    await payonce.fund(first.body.id, 70)
    await change(first.body.id, { name: 'Renamed', overdraft_limit: 5 })

    const again = await create(body, key)
    expect(again.status).toBe(201)
    expect(again.text).toBe(first.text)
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await read(first.body.id)).toMatchObject({ name: 'Renamed', balance: 70 })
  })

  test('under one key by many at once opens one account', async () => {
    const key = newKey()
    const body = { currency: 'EUR', reference: `twin-${key}` }
    const answers = await Promise.all(Array.from({ length: 20 }, () => create(body, key)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    const first = answers.filter(({ headers }) => headers.get('idempotent-replayed') === null)
    expect(first).toHaveLength(1)
  })

  test('under a key of another body or another route is 422 and opens nothing', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    await create({ currency: 'EUR', name: 'first' }, key)
    const otherBody = await createBadly({ currency: 'EUR', name: 'second' }, key)
    expect([otherBody.status, otherBody.body.code]).toEqual([422, 'idempotency_key_reused'])

    const ofTransfer = newKey()
    await client.send({ source: world, destination: merchant, amount: 1 }, { key: ofTransfer })
    const otherRoute = await createBadly({ currency: 'EUR' }, ofTransfer)
    expect([otherRoute.status, otherRoute.body.code]).toEqual([422, 'idempotency_key_reused'])
    const asTransfer = await client.post(
      '/v1/transfers',
      { source: world, destination: merchant, amount: 1, currency: 'EUR' },
      { key },
    )
    expect([asTransfer.status, asTransfer.body.code]).toEqual([422, 'idempotency_key_reused'])
  })

  test('with a reference that is taken is 409, and leaves the key free', async () => {
    const reference = newKey()
    await create({ currency: 'EUR', reference })
    const key = newKey()
    const taken = await createBadly({ currency: 'EUR', reference }, key)
    expect([taken.status, taken.body.code, taken.body.param]).toEqual([
      409,
      'reference_taken',
      '/reference',
    ])
    expect((await create({ currency: 'EUR' }, key)).status).toBe(201)
    const ofOtherTenant = await other.client.post('/v1/accounts', { currency: 'EUR', reference })
    expect(ofOtherTenant.status).toBe(201)
  })

  test('notes its first limit in the history of limits', async () => {
    const { body } = await create({ currency: 'EUR', overdraft_limit: 300 })
    expect(await limitsOf(body.id)).toEqual([{ version: 0n, overdraft_limit: 300n }])
  })

  test.each<[what: string, body: object, code: string, param: string]>([
    ['without a currency', {}, 'invalid_currency', '/currency'],
    ['in an unknown currency', { currency: 'EURO' }, 'invalid_currency', '/currency'],
    ['in no money', { currency: 'XXX' }, 'invalid_currency', '/currency'],
    ['of an unknown kind', { currency: 'EUR', kind: 'savings' }, 'invalid_field', '/kind'],
    ['with a member of ours', { currency: 'EUR', balance: 5 }, 'unknown_field', '/balance'],
    [
      'with a negative limit',
      { currency: 'EUR', overdraft_limit: -1 },
      'invalid_amount',
      '/overdraft_limit',
    ],
    [
      'with a value of metadata that is no text',
      { currency: 'EUR', metadata: { a: 1 } },
      'invalid_field',
      '/metadata/a',
    ],
    ['with an empty reference', { currency: 'EUR', reference: '' }, 'invalid_field', '/reference'],
    [
      'with a name that turns the text round',
      { currency: 'EUR', name: '\u202e' },
      'invalid_text',
      '/name',
    ],
  ])('%s is refused, and the member named', async (_what, body, code, param) => {
    const refused = await createBadly(body)
    expect([refused.status, refused.body.code, refused.body.param]).toEqual([400, code, param])
  })
})

describe('the list of accounts', () => {
  test('is told in pages, newest first, none twice and none left out', async () => {
    const { client } = await payonce.addTenant('with many accounts')
    for (let n = 0; n < 20; n++) {
      await client.post('/v1/accounts', { currency: 'EUR', name: `number ${n}` })
    }
    const whole = await client.listAll<AccountOnWire>('/v1/accounts', 100)
    expect(whole).toHaveLength(23)
    expect(whole.map(({ id }) => id)).toEqual(
      whole
        .map(({ id }) => id)
        .toSorted()
        .toReversed(),
    )
    for (const limit of [1, 3, 7, 22, 23, 24]) {
      expect(await client.listAll<AccountOnWire>('/v1/accounts', limit)).toEqual(whole)
    }
    const pages = await client.pages<AccountOnWire>('/v1/accounts', 10)
    expect(pages.map(({ data, has_more }) => [data.length, has_more])).toEqual([
      [10, true],
      [10, true],
      [3, false],
    ])
  })

  test('finds an account by its reference, of this tenant alone', async () => {
    const reference = `shared ${newKey()}`
    const { body } = await create({ currency: 'EUR', reference })
    const query = `/v1/accounts?${new URLSearchParams({ reference }).toString()}`
    const found = await payonce.client.get<ListOnWire<AccountOnWire>>(query)
    expect(found.body).toEqual({ object: 'list', data: [body], has_more: false, next_cursor: null })
    expect((await other.client.get<ListOnWire<AccountOnWire>>(query)).body.data).toEqual([])
  })

  test.each([
    ['a limit of 0', '?limit=0', 'invalid_parameter'],
    ['a limit of 101', '?limit=101', 'invalid_parameter'],
    ['a negative limit', '?limit=-1', 'invalid_parameter'],
    ['a limit that is no number', '?limit=abc', 'invalid_parameter'],
    ['a limit given twice', '?limit=1&limit=2', 'invalid_parameter'],
    ['a parameter that is unknown', '?page=2', 'invalid_parameter'],
    ['a cursor that was made up', '?cursor=abc', 'invalid_cursor'],
    [
      'a cursor of other text',
      `?cursor=${Buffer.from('["x"]').toString('base64url')}`,
      'invalid_cursor',
    ],
  ])('refuses %s', async (_what, query, code) => {
    const refused = await payonce.client.get(`/v1/accounts${query}`)
    expect([refused.status, refused.body.code]).toEqual([400, code])
  })

  test('refuses the cursor of another list and of another tenant', async () => {
    const { client } = payonce
    const page = await client.get<ListOnWire<AccountOnWire>>('/v1/accounts?limit=1')
    const cursor = page.body.next_cursor
    expect(cursor).not.toBeNull()
    for (const refused of [
      await client.get(`/v1/transfers?cursor=${cursor}`),
      await client.get(`/v1/accounts/${payonce.alice}/entries?cursor=${cursor}`),
      await other.client.get(`/v1/accounts?cursor=${cursor}`),
    ]) {
      expect([refused.status, refused.body.code]).toEqual([400, 'invalid_cursor'])
    }
  })
})

describe('changing an account', () => {
  test('renames it and takes the name away, without a new version', async () => {
    const id = await payonce.openAccount()
    expect((await change(id, { name: 'Savings' })).body).toMatchObject({
      name: 'Savings',
      version: 0,
    })
    expect((await change(id, { name: null })).body).toMatchObject({ name: null, version: 0 })
    expect((await change(id, {})).body).toEqual(await read(id))
  })

  test('merges metadata: a null takes a pair away, and null for the whole takes all', async () => {
    const { body } = await create({ currency: 'EUR', metadata: { a: '1', b: '2' } })
    const merged = await change(body.id, { metadata: { b: '3', c: '4', a: null, none: null } })
    expect(merged.body.metadata).toEqual({ b: '3', c: '4' })
    expect((await change(body.id, { name: 'x' })).body.metadata).toEqual({ b: '3', c: '4' })
    expect((await change(body.id, { metadata: null })).body.metadata).toEqual({})
    expect((await read(body.id)).metadata).toEqual({})
  })

  test('refuses metadata that would be more than 50 pairs with what is there', async () => {
    const pairs = (from: number, to: number) =>
      Object.fromEntries(Array.from({ length: to - from }, (_, n) => [`key ${from + n}`, 'x']))
    const { body } = await create({ currency: 'EUR', metadata: pairs(0, 40) })
    const tooMany = await changeBadly(body.id, { metadata: pairs(40, 51) })
    expect([tooMany.status, tooMany.body.code, tooMany.body.param]).toEqual([
      400,
      'invalid_field',
      '/metadata',
    ])
    expect((await change(body.id, { metadata: pairs(40, 50) })).status).toBe(200)
  })

  test('of status or limit makes a new version, and each limit stays in the history', async () => {
    const id = await payonce.openAccount()
    expect((await change(id, { overdraft_limit: 10 })).body.version).toBe(1)
    expect((await change(id, { status: 'frozen' })).body.version).toBe(2)
    expect((await change(id, { status: 'frozen', overdraft_limit: 10 })).body.version).toBe(2)
    expect((await change(id, { status: 'open', overdraft_limit: 4 })).body.version).toBe(3)
    expect(await limitsOf(id)).toEqual([
      { version: 0n, overdraft_limit: 0n },
      { version: 1n, overdraft_limit: 10n },
      { version: 3n, overdraft_limit: 4n },
    ])
  })

  test('refuses a limit below what is in use, and takes one that just covers it', async () => {
    const { client, merchant } = payonce
    const id = await payonce.openAccount(0, { overdraft_limit: 100 })
    const sent = await client.send({ source: id, destination: merchant, amount: 60 }, { wait: 10 })
    expect(sent.body.status).toBe('succeeded')
    const tooLow = await changeBadly(id, { overdraft_limit: 59 })
    expect([tooLow.status, tooLow.body.code, tooLow.body.param]).toEqual([
      409,
      'overdraft_in_use',
      '/overdraft_limit',
    ])
    expect(await read(id)).toMatchObject({ balance: -60, overdraft_limit: 100 })
    expect((await change(id, { overdraft_limit: 60 })).body).toMatchObject({
      overdraft_limit: 60,
      available: -60,
    })
  })

  test('refuses to close an account with money in it', async () => {
    const id = await payonce.openAccount(1)
    const refused = await changeBadly(id, { status: 'closed' })
    expect([refused.status, refused.body.code, refused.body.param]).toEqual([
      409,
      'account_not_empty',
      '/status',
    ])
    expect(await read(id)).toMatchObject({ status: 'open' })
  })

  test('closes for good: status and limit stay, name and metadata may still change', async () => {
    const id = await payonce.openAccount()
    expect((await change(id, { status: 'closed' })).body.status).toBe('closed')
    for (const body of [{ status: 'open' }, { status: 'frozen' }, { overdraft_limit: 1 }]) {
      const refused = await changeBadly(id, body)
      expect([refused.status, refused.body.code]).toEqual([409, 'account_closed'])
    }
    expect((await change(id, { status: 'closed' })).status).toBe(200)
    expect((await change(id, { name: 'gone', metadata: { why: 'moved' } })).body).toMatchObject({
      status: 'closed',
      name: 'gone',
      metadata: { why: 'moved' },
    })
  })

  test.each<[what: string, body: object, code: string, param: string]>([
    ['the currency', { currency: 'USD' }, 'unknown_field', '/currency'],
    ['the balance', { balance: 5 }, 'unknown_field', '/balance'],
    ['the reference', { reference: 'x' }, 'unknown_field', '/reference'],
    ['to an unknown status', { status: 'held' }, 'invalid_field', '/status'],
    ['to a fractional limit', { overdraft_limit: 1.5 }, 'invalid_amount', '/overdraft_limit'],
  ])('refuses to change %s', async (_what, body, code, param) => {
    const refused = await changeBadly(payonce.alice, body)
    expect([refused.status, refused.body.code, refused.body.param]).toEqual([400, code, param])
  })
})

describe('the entries of an account', () => {
  test('tell its balance after each, newest first, in pages without a gap', async () => {
    const { client, merchant } = payonce
    const id = await payonce.openAccount(1_000)
    for (let n = 1; n <= 12; n++) {
      await client.send({ source: id, destination: merchant, amount: n })
    }
    await payonce.untilAllSettled()
    const whole = await client.listAll<EntryOnWire>(`/v1/accounts/${id}/entries`, 100)
    expect(whole.map(({ seq }) => seq)).toEqual(Array.from({ length: 13 }, (_, n) => 13 - n))
    whole.toReversed().reduce((balance, entry) => {
      expect(entry.balance_after).toBe(balance + entry.amount)
      return entry.balance_after
    }, 0)
    expect(whole[0]).toMatchObject({
      object: 'entry',
      account: id,
      currency: 'EUR',
      balance_after: 1_000 - 78,
    })
    for (const limit of [1, 5, 12, 13]) {
      expect(await client.listAll(`/v1/accounts/${id}/entries`, limit)).toEqual(whole)
    }
    const sentBy = await client.listAll<EntryOnWire>(`/v1/accounts/${merchant}/entries`, 100)
    const received = new Set(sentBy.map(({ transfer }) => transfer))
    expect(whole.slice(0, 12).every(({ transfer }) => received.has(transfer))).toBe(true)
  })

  test('of an account without any are an empty list', async () => {
    const id = await payonce.openAccount()
    const { body } = await payonce.client.get(`/v1/accounts/${id}/entries`)
    expect(body).toEqual({ object: 'list', data: [], has_more: false, next_cursor: null })
  })

  test('refuse a cursor whose place is no number', async () => {
    const id = await payonce.openAccount()
    const forged = [`entries/${uuidOf(id)}`, payonce.id.slice(-12), 'ten']
    const cursor = Buffer.from(JSON.stringify(forged)).toString('base64url')
    const refused = await payonce.client.get(`/v1/accounts/${id}/entries?cursor=${cursor}`)
    expect([refused.status, refused.body.code]).toEqual([400, 'invalid_cursor'])
  })
})

describe('the trial balance', () => {
  test('sums to zero in every currency, and counts the accounts and entries of one tenant', async () => {
    const { client, world, alice } = await payonce.addTenant('with two currencies')
    const dollars = await client.post<AccountOnWire>('/v1/accounts', { currency: 'USD' })
    expect(dollars.status).toBe(201)
    const sent = await client.send({ source: world, destination: alice, amount: 25 }, { wait: 10 })
    expect(sent.body.status).toBe('succeeded')
    const { body } = await client.get<TrialBalanceOnWire>('/v1/trial-balance')
    expect(body).toEqual({
      object: 'trial_balance',
      data: [
        { currency: 'EUR', balance: 0, accounts: 3, entries: 2 },
        { currency: 'USD', balance: 0, accounts: 1, entries: 0 },
      ],
    })
  })
})

describe('an account of another tenant', () => {
  test('cannot be told from one that does not exist, on any route (B25)', async () => {
    const unknown = payonce.alice.replace(/.{12}$/, '0123456789ab')
    const routes: [method: string, path: (id: string) => string, body?: object][] = [
      ['GET', (id) => `/v1/accounts/${id}`],
      ['PATCH', (id) => `/v1/accounts/${id}`, { name: 'mine now' }],
      ['GET', (id) => `/v1/accounts/${id}/entries`],
    ]
    for (const [method, path, body] of routes) {
      const [foreign, random, malformed] = await Promise.all(
        [payonce.alice, unknown, 'acc_%2e%2e'].map((id) =>
          other.client.request(method, path(id), body),
        ),
      )
      expect(foreign?.status).toBe(404)
      expect(withoutRequestId(foreign?.body)).toEqual(withoutRequestId(random?.body))
      expect(withoutRequestId(malformed?.body)).toEqual(withoutRequestId(random?.body))
    }
    expect(await read(payonce.alice)).toMatchObject({ name: 'Alice' })
  })
})

async function limitsOf(id: string): Promise<unknown[]> {
  const { rows } = await payonce.db.query<Record<string, unknown>>(
    `SELECT version, overdraft_limit FROM account_limits
      WHERE tenant_id = $1 AND account_id = $2 ORDER BY version`,
    [payonce.id, uuidOf(id)],
  )
  return rows
}

function withoutRequestId(problem: object | undefined): object {
  return { ...problem, request_id: 'left out' }
}
