import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { createClient, newKey, type TransferRequest } from '../support/client.ts'
import { startPayonce, uuidOf, type Payonce, type Tenant } from '../support/payonce.ts'
import type {
  AccountOnWire,
  EntryOnWire,
  ListOnWire,
  ProblemOnWire,
  TransferOnWire,
} from '../support/wire.ts'

let payonce: Payonce
let other: Tenant

beforeAll(async () => {
  payonce = await startPayonce()
  other = await payonce.addTenant('other')
})

/** The largest amount and balance. */
const most = 9007199254740991

describe('a transfer', () => {
  test('is accepted at once and then settled, with one entry on either account (I1)', async () => {
    const { client, db } = payonce
    const [source, destination] = [await payonce.openAccount(100), await payonce.openAccount()]
    const key = newKey()
    const accepted = await client.send(
      { source, destination, amount: 40, description: 'lunch', metadata: { z: '1', a: '2' } },
      { key },
    )
    expect(accepted.status).toBe(202)
    expect(accepted.headers.get('location')).toBe(`/v1/transfers/${accepted.body.id}`)
    expect(accepted.headers.get('retry-after')).toBe('1')
    expect(accepted.headers.get('cache-control')).toBe('no-store')
    expect(accepted.headers.get('request-id')).toMatch(/^req_/)
    expect(accepted.headers.get('idempotent-replayed')).toBeNull()
    expect(accepted.headers.get('payonce-status')).toBeNull()
    expect(accepted.body).toMatchObject({
      id: expect.stringMatching(/^tr_[0-9a-f]{32}$/),
      object: 'transfer',
      kind: 'transfer',
      status: 'queued',
      source,
      destination,
      amount: 40,
      currency: 'EUR',
      description: 'lunch',
      metadata: { a: '2', z: '1' },
      idempotency_key: key,
      parent: null,
      failure: null,
      settled_at: null,
    })

    const settled = await payonce.untilSettled(accepted.body.id)
    expect(settled).toEqual({
      ...accepted.body,
      status: 'succeeded',
      settled_at: expect.stringMatching(/Z$/),
    })
    expect(await payonce.balanceOf(source)).toBe(60)
    expect(await payonce.balanceOf(destination)).toBe(40)
    const ofTransfer = async (account: string) =>
      (await client.listAll<EntryOnWire>(`/v1/accounts/${account}/entries`, 100))
        .filter(({ transfer }) => transfer === accepted.body.id)
        .map(({ amount, balance_after, created_at }) => [amount, balance_after, created_at])
    expect(await ofTransfer(source)).toEqual([[-40, 60, settled.settled_at]])
    expect(await ofTransfer(destination)).toEqual([[40, 40, settled.settled_at]])
    await assertBooksHold(db)
  })

  test('is found by GET from the moment of its acceptance on, never 404', async () => {
    const { client, world, merchant } = payonce
    for (let n = 0; n < 20; n++) {
      const { body } = await client.send({ source: world, destination: merchant, amount: 1 })
      expect((await client.get(`/v1/transfers/${body.id}`)).status).toBe(200)
    }
  })

  test('with the very amount that is available succeeds, and one unit more fails (B16)', async () => {
    const { client, merchant } = payonce
    const source = await payonce.openAccount(500)
    const tooMuch = await settle({ source, destination: merchant, amount: 501 })
    expect(tooMuch).toMatchObject({
      status: 'failed',
      failure: {
        code: 'insufficient_funds',
        message: 'The source has less available than the amount.',
      },
    })
    expect(tooMuch.settled_at).not.toBeNull()
    expect(await payonce.balanceOf(source)).toBe(500)
    const { body } = await client.get<ListOnWire<EntryOnWire>>(`/v1/accounts/${source}/entries`)
    expect(body.data).toHaveLength(1)

    const exact = await settle({ source, destination: merchant, amount: 500 })
    expect(exact.status).toBe('succeeded')
    expect(await payonce.balanceOf(source)).toBe(0)
  })

  test('may use an overdraft to its limit and not beyond', async () => {
    const source = await payonce.openAccount(10, { overdraft_limit: 90 })
    const tooMuch = await settle({ source, destination: payonce.merchant, amount: 101 })
    expect(tooMuch.failure?.code).toBe('insufficient_funds')
    const exact = await settle({ source, destination: payonce.merchant, amount: 100 })
    expect(exact.status).toBe('succeeded')
    expect(await payonce.balanceOf(source)).toBe(-90)
  })

  test.each<[side: 'source' | 'destination', status: string, code: string]>([
    ['source', 'frozen', 'account_frozen'],
    ['source', 'closed', 'account_closed'],
    ['destination', 'frozen', 'account_frozen'],
    ['destination', 'closed', 'account_closed'],
  ])('whose %s is %s is accepted and then fails with %s (B15)', async (side, status, code) => {
    const { client, world } = payonce
    const account = await payonce.openAccount()
    const changed = await client.patch<AccountOnWire>(`/v1/accounts/${account}`, { status })
    expect(changed.status).toBe(200)
    const accounts =
      side === 'source'
        ? { source: account, destination: payonce.merchant }
        : { source: world, destination: account }
    const failed = await settle({ ...accounts, amount: 5 })
    expect([failed.status, failed.failure?.code]).toEqual(['failed', code])
    expect(await payonce.balanceOf(account)).toBe(0)
  })

  test('fails where a balance would pass the largest amount, at either end (B17)', async () => {
    const { client } = payonce
    const outside = async () =>
      (await client.post<AccountOnWire>('/v1/accounts', { currency: 'EUR', kind: 'external' })).body
        .id
    const [source, destination] = [await outside(), await outside()]
    const first = await settle({ source, destination, amount: most })
    expect(first.status).toBe('succeeded')
    expect(await payonce.balanceOf(source)).toBe(-most)
    expect(await payonce.balanceOf(destination)).toBe(most)

    const third = await outside()
    for (const accounts of [
      { source, destination: third },
      { source: third, destination },
    ]) {
      const failed = await settle({ ...accounts, amount: 1 })
      expect(failed.failure?.code).toBe('balance_limit_exceeded')
    }
    expect([await payonce.balanceOf(source), await payonce.balanceOf(third)]).toEqual([-most, 0])
    const back = await settle({ source: destination, destination: source, amount: most })
    expect(back.status).toBe('succeeded')
  })

  test('that failed stays failed when its source is funded later, and its key stays used (I34)', async () => {
    const { client, merchant } = payonce
    const source = await payonce.openAccount()
    const key = newKey()
    const request = { source, destination: merchant, amount: 30 }
    const first = await client.send(request, { key })
    expect(await payonce.untilSettled(first.body.id)).toMatchObject({ status: 'failed' })
    await payonce.fund(source, 30)
    const again = await client.send(request, { key })
    expect(again.text).toBe(first.text)
    expect(again.headers.get('payonce-status')).toBe('failed')
    expect(await client.read(first.body.id)).toMatchObject({ status: 'failed' })
    expect(await payonce.balanceOf(source)).toBe(30)
    expect((await settle(request)).status).toBe('succeeded')
  })
})

describe('a key', () => {
  test('that is used again gets the same bytes, before and after settlement (I2, I3, I12)', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 3, metadata: { b: '', a: '' } }
    const first = await client.send(request, { key })
    const second = await client.send(request, { key })
    await payonce.untilSettled(first.body.id)
    const third = await client.send(request, { key })
    for (const again of [second, third]) {
      expect(again.status).toBe(202)
      expect(again.text).toBe(first.text)
      expect(again.headers.get('location')).toBe(first.headers.get('location'))
      expect(again.headers.get('retry-after')).toBe('1')
      expect(again.headers.get('idempotent-replayed')).toBe('true')
      expect(again.headers.get('cache-control')).toBe('no-store')
      expect(again.headers.get('request-id')).not.toBe(first.headers.get('request-id'))
    }
    expect(third.headers.get('payonce-status')).toBe('succeeded')
    await assertBooksHold(payonce.db)
  })

  test.each<[what: string, again: string]>([
    ['other white space and member order', '{ "currency" : "EUR",\n"amount":1000, $accounts }'],
    ['the amount as 1000.0', '{"currency":"EUR","amount":1000.0,$accounts}'],
    ['the amount as 1e3', '{"currency":"EUR","amount":1e3,$accounts}'],
    ['escapes in its strings', '{"curr\\u0065ncy":"\\u0045UR","amount":1000,$accounts}'],
  ])('with %s in the same request is a replay (I16)', async (_what, again) => {
    const { client, world, merchant } = payonce
    const accounts = `"source":"${world}","destination":"${merchant}"`
    const key = newKey()
    const first = await client.post<TransferOnWire>(
      '/v1/transfers',
      `{${accounts},"amount":1000,"currency":"EUR"}`,
      { key },
    )
    const second = await client.post('/v1/transfers', again.replace('$accounts', accounts), { key })
    expect(second.status).toBe(202)
    expect(second.text).toBe(first.text)
  })

  test.each<[what: string, change: object, members: string[]]>([
    ['another amount', { amount: 8 }, ['/amount']],
    ['another destination', { destination: '$alice' }, ['/destination']],
    ['another description', { description: 'other' }, ['/description']],
    ['a description of null, where there was none', { description: null }, []],
    ['other metadata', { metadata: { a: '2' } }, ['/metadata']],
    ['metadata spelled out, where there was none', { metadata: {} }, []],
    ['two other members', { amount: 8, description: 'x' }, ['/amount', '/description']],
  ])('with %s is 422 at once, and the first transfer untouched (I13, I14, I17)', async (...row) => {
    const [, change, members] = row
    const { client, world, merchant, alice } = payonce
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 7, currency: 'EUR' }
    const first = await client.post<TransferOnWire>('/v1/transfers', request, { key })
    const text = JSON.stringify({ ...request, ...change }).replace('$alice', alice)
    const refused = await client.post<ProblemOnWire & Record<string, unknown>>(
      '/v1/transfers',
      text,
      { key },
    )
    expect([refused.status, refused.body.code]).toEqual([422, 'idempotency_key_reused'])
    expect(refused.body['transfer']).toBe(first.body.id)
    expect(refused.body['differing_members'] ?? []).toEqual(members)
    expect(refused.text).not.toContain(merchant)
    expect(await payonce.untilSettled(first.body.id)).toMatchObject({
      status: 'succeeded',
      amount: 7,
    })
  })

  test('names one intent in its bare, its quoted and its query form; case matters (I39)', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 2, currency: 'EUR' }
    const bare = await client.post<TransferOnWire>('/v1/transfers', request, { key })
    const quoted = await client.post('/v1/transfers', request, { key: `"${key}"` })
    const inQuery = await client.post(`/v1/transfers?idempotency_key=${key}`, request)
    const both = await client.post(`/v1/transfers?idempotency_key=${key}`, request, { key })
    expect([quoted.text, inQuery.text, both.text]).toEqual([bare.text, bare.text, bare.text])
    const upper = await client.post<TransferOnWire>('/v1/transfers', request, {
      key: key.toUpperCase(),
    })
    expect(upper.body.id).not.toBe(bare.body.id)
    const different = await client.post(`/v1/transfers?idempotency_key=${key}`, request, {
      key: newKey(),
    })
    expect([different.status, different.body.code]).toEqual([400, 'idempotency_key_invalid'])
  })

  test('of another tenant is another key, and nothing of it shows (I7)', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    const mine = await client.send({ source: world, destination: merchant, amount: 9 }, { key })
    const theirs = await other.client.send(
      { source: other.world, destination: other.merchant, amount: 8 },
      { key },
    )
    expect(theirs.status).toBe(202)
    expect(theirs.headers.get('idempotent-replayed')).toBeNull()
    expect(theirs.body.id).not.toBe(mine.body.id)
  })

  test('is not needed twice: another key with the same body is another transfer (I6)', async () => {
    const destination = await payonce.openAccount()
    const request = { source: payonce.world, destination, amount: 4 }
    const [first, second] = [await settle(request), await settle(request)]
    expect(first.id).not.toBe(second.id)
    expect(await payonce.balanceOf(destination)).toBe(8)
  })

  const hostile = [
    ...'meta wait active delayed prioritized completed failed stalled events marker id'.split(' '),
    ...'pc limiter repeat stalled-check waiting-children paused drained 0 1 123 -5 007'.split(' '),
    ...'a:b a:b:c a:b:c:d __proto__ constructor toString NaN null undefined ../x {x} *'.split(' '),
    '%s%n',
    "'; DROP TABLE transfers; --".replaceAll(' ', ''),
    'x'.repeat(255),
  ]
  test('may have any name that means something elsewhere, and disturbs nobody (I40)', async () => {
    const destination = await payonce.openAccount()
    const request = { source: payonce.world, destination, amount: 1 }
    const answers = await Promise.all(
      hostile.map((key) => payonce.client.send(request, { key, wait: 15 })),
    )
    expect(answers.map(({ status, body }) => [status, body.status])).toEqual(
      hostile.map(() => [200, 'succeeded']),
    )
    expect(answers.map(({ body }) => body.idempotency_key)).toEqual(hostile)
    expect((await settle(request)).status).toBe('succeeded')
    expect(await payonce.balanceOf(destination)).toBe(hostile.length + 1)
  })

  test.each<[what: string, key: string]>([
    ['spaces only', '   '],
    ['256 characters', 'x'.repeat(256)],
    ['a space inside', 'a b'],
    ['a comma', 'a,b'],
    ['a backslash', 'a\\b'],
    ['a quote inside', 'a"b'],
    ['nothing in its quotes', '""'],
    ['a letter beyond ASCII', 'clé'],
  ])('of %s is refused before anything is looked up (I37)', async (_what, key) => {
    const { client, world, merchant } = payonce
    const request = { source: world, destination: merchant, amount: 1, currency: 'EUR' }
    const inQuery = await client.post(
      `/v1/transfers?${new URLSearchParams({ idempotency_key: key }).toString()}`,
      request,
    )
    expect([inQuery.status, inQuery.body.code]).toEqual([400, 'idempotency_key_invalid'])
    const inHeader = await client.post('/v1/transfers', request, { key })
    // An HTTP client trims a value: of spaces alone nothing is left, and then the key is missing.
    expect(inHeader.status).toBe(400)
    expect(inHeader.body.code).toMatch(/^idempotency_key_(invalid|missing)$/)
  })

  test('that is left out is 400, with a link to why it is needed (I36)', async () => {
    const { client, world, merchant } = payonce
    const request = { source: world, destination: merchant, amount: 1, currency: 'EUR' }
    const refused = await client.post('/v1/transfers', request)
    expect([refused.status, refused.body.code]).toEqual([400, 'idempotency_key_missing'])
    expect(refused.headers.get('link')).toMatch(/^<https:.*>; rel="describedby"$/)
  })
})

describe('what is refused before acceptance', () => {
  const refusals: [what: string, change: object, status: number, code: string, param?: string][] = [
    ['an amount of 0', { amount: 0 }, 400, 'invalid_amount', '/amount'],
    ['a negative amount', { amount: -1 }, 400, 'invalid_amount', '/amount'],
    ['a fraction', { amount: 1.5 }, 400, 'invalid_amount', '/amount'],
    ['an amount in a string', { amount: '1' }, 400, 'invalid_amount', '/amount'],
    ['an amount above 2^53 - 1', { amount: 9007199254740992 }, 400, 'invalid_amount', '/amount'],
    ['no amount', { amount: undefined }, 400, 'invalid_amount', '/amount'],
    ['a lower-case currency', { currency: 'eur' }, 400, 'invalid_currency', '/currency'],
    ['a malformed source', { source: 'acc_1' }, 400, 'invalid_id', '/source'],
    ['a transfer for a source', { source: '$transfer' }, 400, 'invalid_id', '/source'],
    ['an unknown member', { priority: 1 }, 400, 'unknown_field', '/priority'],
    ['a member of ours', { status: 'succeeded' }, 400, 'unknown_field', '/status'],
    [
      'a description of 501',
      { description: 'x'.repeat(501) },
      400,
      'invalid_field',
      '/description',
    ],
    ['a NUL in a text', { description: '\u0000' }, 400, 'invalid_text', '/description'],
    ['an unknown source', { source: '$unknown' }, 422, 'account_not_found', '/source'],
    [
      'an unknown destination',
      { destination: '$unknown' },
      422,
      'account_not_found',
      '/destination',
    ],
    ['the account of another tenant', { destination: '$foreign' }, 422, 'account_not_found'],
    ['one account twice', { destination: '$source' }, 422, 'same_account', '/destination'],
    ['another currency', { currency: 'USD' }, 422, 'currency_mismatch', '/source'],
    ['an account of another currency', { destination: '$dollars' }, 422, 'currency_mismatch'],
  ]
  test.each(refusals)(
    'is %s: it uses no key up (I32)',
    async (_what, change, status, code, param) => {
      const { client, world, merchant } = payonce
      const good = { source: world, destination: merchant, amount: 1, currency: 'EUR' }
      const places: Record<string, string> = {
        $unknown: merchant.replace(/.{12}$/, '0123456789ab'),
        $foreign: other.merchant,
        $source: world,
        $transfer: merchant.replace('acc', 'tr'),
        $dollars: (await client.post<AccountOnWire>('/v1/accounts', { currency: 'USD' })).body.id,
      }
      const text = JSON.stringify({ ...good, ...change }).replaceAll(
        /\$\w+/g,
        (place) => places[place] ?? place,
      )
      const key = newKey()
      const before = await countKeys()
      const refused = await client.post('/v1/transfers', text, { key })
      expect([refused.status, refused.body.code]).toEqual([status, code])
      if (param !== undefined) expect(refused.body.param).toBe(param)
      expect(refused.headers.get('content-type')).toBe('application/problem+json')
      expect(await countKeys()).toBe(before)
      const accepted = await client.post<TransferOnWire>('/v1/transfers', good, { key })
      expect(accepted.status).toBe(202)
      expect(accepted.headers.get('idempotent-replayed')).toBeNull()
    },
  )

  test('tells a foreign account and an unknown one with the same bytes (B14)', async () => {
    const { client, world, merchant } = payonce
    const unknown = merchant.replace(/.{12}$/, '0123456789ab')
    const [foreign, random] = await Promise.all(
      [other.merchant, unknown].map((destination) =>
        client.post(
          '/v1/transfers',
          { source: world, destination, amount: 1, currency: 'EUR' },
          { key: newKey() },
        ),
      ),
    )
    const comparable = (text = '') => text.replace(/req_[0-9a-f]+/, '')
    expect(comparable(foreign?.text)).toBe(comparable(random?.text))
  })

  test('comes after the replay: a known key is answered whatever has become of it since', async () => {
    const { client, db, id: tenantId, merchant } = payonce
    const source = await payonce.openAccount()
    const key = newKey()
    const request = { source, destination: merchant, amount: 1 }
    const first = await client.send(request, { key })
    await payonce.untilSettled(first.body.id)
    // Accounts never vanish by our hands; it stands for any fact that the first request relied on.
    await db.query('DELETE FROM accounts WHERE tenant_id = $1 AND id = $2', [
      tenantId,
      uuidOf(source),
    ])
    const forgetful = createClient((await payonce.startApi()).url, payonce.apiKey)
    const again = await forgetful.send(request, { key })
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(again.text).toBe(first.text)
    const otherBody = await forgetful.send({ ...request, amount: 2 }, { key })
    expect(otherBody.body).toMatchObject({ code: 'idempotency_key_reused' })
    const newKeyOfSame = await forgetful.send(request)
    expect(newKeyOfSame.body).toMatchObject({ code: 'account_not_found' })
  })
})

async function settle(request: TransferRequest): Promise<TransferOnWire> {
  const { body } = await payonce.client.send(request)
  return payonce.untilSettled(body.id)
}

async function countKeys(): Promise<bigint> {
  const { rows } = await payonce.db.query<{ count: bigint }>(
    'SELECT count(*) FROM idempotency_keys',
  )
  return rows[0]?.count ?? -1n
}
