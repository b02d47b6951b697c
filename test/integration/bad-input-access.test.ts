import { encodeCursor } from '@payonce/api/cursor'
import { createApiKey, generateApiKey, revokeApiKey } from '@payonce/core/tenants/api-key'
import pg from 'pg'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { createClient, newKey } from '../support/client.ts'
import { leavingNoTrace } from '../support/footprint.ts'
import { startPayonce, type Payonce, type Tenant } from '../support/payonce.ts'
import { RawConnection, type RawAnswer, type RawRequest } from '../support/raw-connection.ts'
import { expectProblem, expectRefusals, requestOf, type Refusal } from '../support/refusal.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire, ListOnWire, TransferOnWire } from '../support/wire.ts'

/*
 * Table B of CONFORMANCE.md: who may ask, and for what. Each case also has to leave no trace: not a
 * row, not a job, no failure on the side of the server, and a connection that is usable or closed.
 */

let payonce: Payonce
let other: Tenant
/** Transfers of the first tenant: one that waits for a worker, one that has succeeded. */
let queued: string
let succeeded: string

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
  other = await payonce.addTenant('other')
  const { client, world, merchant, alice } = payonce
  const [first, second] = [{ source: world, destination: merchant }, alice]
  succeeded = await payonce.fund(second, 5).then(() => newestTransfer())
  queued = (await client.send({ ...first, amount: 1 }, { key: 'known' })).body.id
})

async function newestTransfer(): Promise<string> {
  const { body } = await payonce.client.get<ListOnWire<TransferOnWire>>('/v1/transfers?limit=1')
  return body.data[0]?.id ?? ''
}

/** Sends one request on a connection of its own. */
async function ask(request: RawRequest): Promise<RawAnswer> {
  const connection = await RawConnection.open(payonce.api.url)
  connection.send(request)
  const answer = await connection.answer({ isHead: request.method === 'HEAD' })
  connection.destroy()
  return answer
}

/**
 * What of an answer must not differ between two that are to tell nothing: all but its own id and time,
 * and what it says to browsers, which depends on the route.
 */
function comparable({ status, headers, text }: RawAnswer): string {
  const own = /^(date|request-id|vary|access-control-.*)$/
  const head = [...headers].filter(([name]) => !own.test(name))
  return JSON.stringify([status, head, text.replace(/req_[0-9a-f]{32}/, 'REQUEST')])
}

describe('a credential', () => {
  it('B23: that is missing, malformed, unknown, revoked or expired gets one and the same answer', async () => {
    const { apiKey, db, id: tenantId, newId } = payonce
    const revokedId = newId()
    const revoked = await createApiKey(db, { id: revokedId, tenantId, mode: 'test' })
    await revokeApiKey(db, revokedId)
    const expiresAt = new Date(Date.now() - 1_000)
    const expired = await createApiKey(db, { id: newId(), tenantId, mode: 'test', expiresAt })
    const good = `Bearer ${apiKey}`
    const credentials: Record<string, readonly string[]> = {
      none: [],
      empty: [''],
      'the scheme alone': ['Bearer'],
      'the scheme and a space': ['Bearer '],
      'no scheme': [apiKey],
      'another scheme': [`Basic ${Buffer.from(`${apiKey}:`).toString('base64')}`],
      'a scheme that is none': [`Token ${apiKey}`],
      'the scheme twice': [`Bearer Bearer ${apiKey}`],
      'a word': ['Bearer admin'],
      'a key that was cut off': [good.slice(0, -1)],
      'a key with more behind it': [`${good}x`],
      'a key with a comma': [`${good},`],
      'a key in quotes': [`Bearer "${apiKey}"`],
      'a key and a second one': [`${good} ${other.apiKey}`],
      'a key in capitals': [`Bearer ${apiKey.toUpperCase()}`],
      'a key with one letter changed': [good.replace(/.$/, (last) => (last === 'a' ? 'b' : 'a'))],
      'a test key called a live key': [good.replace('po_test_', 'po_live_')],
      'a well-formed key that was never given': [`Bearer ${generateApiKey('test')}`],
      'a well-formed live key that was never given': [`Bearer ${generateApiKey('live')}`],
      'a revoked key': [`Bearer ${revoked}`],
      'an expired key': [`Bearer ${expired}`],
      'bytes beyond ASCII': ['Bearer po_test_é\xff'],
      'SQL text': ["Bearer po_test_' OR 1=1 --"],
      '8 KB': [`Bearer po_test_${'x'.repeat(8_000)}`],
      'the good key twice': [good, good],
      'the good key and another': [good, `Bearer ${other.apiKey}`],
      'nothing and the good key': ['', good],
      'the good key and nothing': [good, ''],
    }
    const body = { currency: 'EUR' }
    const routes = [
      requestOf(payonce, 'GET /v1/accounts'),
      requestOf(payonce, 'POST /v1/accounts', body),
      requestOf(payonce, `PATCH /v1/accounts/${payonce.alice}`, { name: 'mine' }),
      requestOf(payonce, `GET /v1/transfers/${queued}`),
      requestOf(payonce, `POST /v1/transfers/${queued}/cancel`),
      requestOf(payonce, 'POST /v1/transfers', '{ no JSON'),
      requestOf(payonce, 'GET /v1/nowhere'),
      requestOf(payonce, 'DELETE /v1/accounts'),
      requestOf(payonce, 'GET /metrics'),
    ]
    const seen = await leavingNoTrace(payonce, async () => {
      const answers = new Map<string, string[]>()
      for (const [what, values] of Object.entries(credentials)) {
        for (const route of routes) {
          const answer = await ask(withCredentials(route, values))
          expectProblem(answer)
          const asked = `${what}: ${route.method} ${route.path}`
          const text = comparable(answer)
          answers.set(text, [...(answers.get(text) ?? []), asked])
        }
      }
      return answers
    })
    expect([...seen.values()].map((asked) => asked.length)).toEqual([
      Object.keys(credentials).length * routes.length,
    ])
    expect([...seen.keys()][0]).toContain('[401,')
  })

  it('B23: is taken from nowhere but its header, whose scheme is read in any case', async () => {
    const elsewhere = [
      { ...requestOf(payonce, `GET /v1/accounts?api_key=${payonce.apiKey}`), headers: [] },
      { ...requestOf(payonce, `GET /v1/accounts?access_token=${payonce.apiKey}`), headers: [] },
      requestOf(payonce, 'GET /v1/accounts', undefined, {
        authorization: null,
        cookie: `authorization=Bearer ${payonce.apiKey}`,
        'x-api-key': payonce.apiKey,
        'proxy-authorization': `Bearer ${payonce.apiKey}`,
      }),
    ]
    await expectRefusals(
      payonce,
      elsewhere.map((request) => ({
        what: request.path.slice(0, 30),
        request,
        status: 401,
        code: 'unauthorized',
      })),
    )
    const lower = await ask(
      requestOf(payonce, 'GET /v1/accounts', undefined, {
        authorization: `bEARER   ${payonce.apiKey}`,
      }),
    )
    expect(lower.status).toBe(200)
  })

  it('B23: that was in use a moment ago is refused within seconds of its revocation', async () => {
    const { db, id: tenantId, newId, api } = payonce
    const id = newId()
    const client = createClient(api.url, await createApiKey(db, { id, tenantId, mode: 'test' }))
    expect((await client.get('/v1/accounts')).status).toBe(200)
    await revokeApiKey(db, id)
    // 5 s are promised in authenticate.ts.
    await until(
      'the key is refused',
      async () => (await client.get('/v1/accounts')).status === 401,
      { withinMs: 7_000, everyMs: 200 },
    )
  })

  it('B24: may do no more than its scopes say', async () => {
    const { db, id: tenantId, newId, alice } = payonce
    const keyOf = (scope: 'read' | 'write') =>
      createApiKey(db, { id: newId(), tenantId, mode: 'test', scopes: [scope] })
    const [readOnly, writeOnly] = [await keyOf('read'), await keyOf('write')]
    const transfer = { source: payonce.world, destination: alice, amount: 1, currency: 'EUR' }
    const writes = [
      requestOf({ apiKey: readOnly }, 'POST /v1/transfers', transfer),
      requestOf({ apiKey: readOnly }, 'POST /v1/transfers', '{ no JSON'),
      requestOf({ apiKey: readOnly }, 'POST /v1/transfers', transfer, {
        'idempotency-key': 'known',
      }),
      requestOf({ apiKey: readOnly }, 'POST /v1/accounts', { currency: 'EUR' }),
      requestOf({ apiKey: readOnly }, `PATCH /v1/accounts/${alice}`, { name: 'x' }),
      requestOf({ apiKey: readOnly }, `POST /v1/transfers/${queued}/cancel`),
      requestOf({ apiKey: readOnly }, 'POST /v1/idempotency-keys', {}),
      requestOf({ apiKey: readOnly }, 'GET /v1/accounts', undefined, {
        'x-http-method-override': 'POST',
      }),
    ]
    const reads = ['accounts', `accounts/${alice}/entries`, `transfers/${queued}`, 'trial-balance']
    const forbidden = { status: 403, code: 'insufficient_scope' }
    await expectRefusals(payonce, [
      ...writes.slice(0, -1).map((request) => ({ what: request.path, request, ...forbidden })),
      ...reads.map((path) => ({
        what: path,
        request: requestOf({ apiKey: writeOnly }, `GET /v1/${path}`),
        ...forbidden,
      })),
    ])
    const overridden = writes.at(-1)
    if (overridden !== undefined) expect((await ask(overridden)).status).toBe(200)
    for (const path of reads) {
      expect((await ask(requestOf({ apiKey: readOnly }, `GET /v1/${path}`))).status).toBe(200)
    }
    const account = requestOf({ apiKey: writeOnly }, 'POST /v1/accounts', { currency: 'EUR' })
    expect((await ask(account)).status).toBe(201)
  })
})

describe('what belongs to another tenant', () => {
  /** The statements that answering takes, with nothing of what they ask for. */
  async function queriesDuring<T>(
    act: () => Promise<T>,
  ): Promise<{ result: T; queries: string[] }> {
    const spy = vi.spyOn(pg.Client.prototype, 'query')
    try {
      const result = await act()
      const calls = spy.mock.calls as unknown as [string | { text?: string }][]
      return { result, queries: calls.map(([query]) => textOf(query)) }
    } finally {
      spy.mockRestore()
    }
  }

  const textOf = (query: string | { text?: string }) =>
    typeof query === 'string' ? query : (query.text ?? '')

  it('B25: cannot be told from what does not exist, by its answer or by the work it takes', async () => {
    const random = (id: string) => id.replace(/.{12}$/, '0123456789ab')
    const transfer = { amount: 1, currency: 'EUR', source: other.world }
    const byId: [what: string, id: string, request: (id: string) => RawRequest][] = [
      ['account', payonce.alice, (id) => requestOf(other, `GET /v1/accounts/${id}`)],
      ['entries', payonce.alice, (id) => requestOf(other, `GET /v1/accounts/${id}/entries`)],
      [
        'change',
        payonce.alice,
        (id) => requestOf(other, `PATCH /v1/accounts/${id}`, { name: 'x', status: 'frozen' }),
      ],
      ['queued', queued, (id) => requestOf(other, `GET /v1/transfers/${id}`)],
      ['settled', succeeded, (id) => requestOf(other, `GET /v1/transfers/${id}`)],
      [
        'wait',
        queued,
        (id) => requestOf(other, `GET /v1/transfers/${id}`, undefined, { prefer: 'wait=1' }),
      ],
      ['cancel queued', queued, (id) => requestOf(other, `POST /v1/transfers/${id}/cancel`)],
      ['cancel settled', succeeded, (id) => requestOf(other, `POST /v1/transfers/${id}/cancel`)],
      [
        'list of an account',
        payonce.alice,
        (id) => requestOf(other, `GET /v1/transfers?account=${id}`),
      ],
      [
        'destination',
        payonce.alice,
        (id) => requestOf(other, 'POST /v1/transfers', { ...transfer, destination: id }),
      ],
    ]
    const byName: [what: string, name: string, request: (name: string) => RawRequest][] = [
      ['key', 'known', (key) => requestOf(other, `GET /v1/idempotency-keys?key=${key}`)],
      [
        'list by key',
        'known',
        (key) => requestOf(other, `GET /v1/transfers?idempotency_key=${key}`),
      ],
      ['reference', 'theirs', (name) => requestOf(other, `GET /v1/accounts?reference=${name}`)],
    ]
    await payonce.client.post('/v1/accounts', { currency: 'EUR', reference: 'theirs' })
    const statuses = await leavingNoTrace(payonce, async () => {
      const pairs = [
        ...byId.map(([what, id, request]) => [what, request(id), request(random(id))] as const),
        ...byName.map(([what, name, request]) => [what, request(name), request('xxxxx')] as const),
      ]
      const seen: [what: string, status: number][] = []
      for (const [what, theirs, nobodys] of pairs) {
        await ask(nobodys)
        const foreign = await queriesDuring(() => ask(theirs))
        const unknown = await queriesDuring(() => ask(nobodys))
        const blind = (answer: RawAnswer) => comparable(answer).replaceAll(/[0-9a-f]{12}"/g, '"')
        expect(blind(foreign.result), what).toBe(blind(unknown.result))
        expect(foreign.queries, what).toEqual(unknown.queries)
        expect(foreign.queries.length, what).toBeGreaterThan(0)
        seen.push([what, foreign.result.status])
      }
      return seen
    })
    expect(statuses).toEqual([
      ...byId.slice(0, 8).map(([what]) => [what, 404]),
      ['list of an account', 200],
      ['destination', 422],
      ['key', 404],
      ['list by key', 200],
      ['reference', 200],
    ])
    const { body } = await payonce.client.get<AccountOnWire>(`/v1/accounts/${payonce.alice}`)
    expect(body).toMatchObject({ name: 'Alice', status: 'open' })
    expect(await payonce.client.read(queued)).toMatchObject({ status: 'queued' })
  })
})

describe('a list', () => {
  const lists = () => ['/v1/accounts', `/v1/accounts/${payonce.alice}/entries`, '/v1/transfers']
  const get = (path: string) => requestOf(payonce, `GET ${path}`)
  const query = (parameters: Record<string, string>) => new URLSearchParams(parameters).toString()

  it('B26: takes a limit from 1 to 100 and nothing else', async () => {
    const wrong = [
      '0',
      '101',
      '-1',
      'abc',
      '',
      '1.5',
      '1e1',
      ' 5',
      '+5',
      '0x10',
      '１',
      '99999999999999999999',
    ]
    const refusals = lists().flatMap((list) => [
      ...wrong.map((limit): Refusal => ({
        what: `${list} limit ${limit}`,
        request: get(`${list}?${query({ limit })}`),
        status: 400,
        code: 'invalid_parameter',
      })),
      ...['limit=1&limit=2', 'limit=%zz', 'limit', 'Limit=5', 'page=2', 'cursor=a&cursor=b'].map(
        (text): Refusal => ({
          what: `${list} ${text}`,
          request: get(`${list}?${text}`),
          status: 400,
          code: 'invalid_parameter',
        }),
      ),
    ])
    await expectRefusals(payonce, refusals)
    for (const list of lists()) {
      for (const limit of ['1', '100', '007']) {
        expect((await ask(get(`${list}?limit=${limit}`))).status).toBe(200)
      }
    }
  })

  it('B26: opens no cursor but one of its own, whole and unchanged', async () => {
    const { body } = await payonce.client.get<ListOnWire<AccountOnWire>>('/v1/accounts?limit=1')
    const cursor = body.next_cursor ?? ''
    expect(cursor).not.toBe('')
    const uuid = '0190f0e0-0000-7000-8000-000000000000'
    const forged = (list: string, ...position: string[]) =>
      encodeCursor({ list, tenantId: payonce.id }, position)
    const aliceUuid = payonce.alice.slice(4).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
    const entries = `/v1/accounts/${payonce.alice}/entries`
    const refused = (path: string): Refusal => ({
      what: path,
      request: get(path),
      status: 400,
      code: 'invalid_cursor',
    })
    const garbage = ['', 'abc', '\0', '[]', 'bnVsbA', 'e30', '😀', ' ', '../x', 'x'.repeat(2_000)]
    const changed = Array.from(cursor, (letter, at) =>
      [cursor.slice(0, at), letter === 'A' ? 'B' : 'A', cursor.slice(at + 1)].join(''),
    )
    const cut = Array.from(cursor, (_, length) => cursor.slice(0, length))
    const grown = [`${cursor}A`, `${cursor}=`, `${cursor}!`, ` ${cursor}`, cursor.toLowerCase()]
    await expectRefusals(payonce, [
      ...lists().flatMap((list) =>
        garbage.map((one) => refused(`${list}?${query({ cursor: one })}`)),
      ),
      ...[...changed, ...cut, ...grown].map((one) =>
        refused(`/v1/accounts?${query({ cursor: one })}`),
      ),
      refused(`/v1/transfers?${query({ cursor })}`),
      refused(`${entries}?${query({ cursor })}`),
      {
        ...refused(`/v1/accounts?${query({ cursor })}`),
        request: requestOf(other, `GET /v1/accounts?${query({ cursor })}`),
      },
      // Whoever knows how cursors are made gets no further with one that Postgres could not read.
      refused(`/v1/accounts?${query({ cursor: forged('accounts', "' OR 1=1 --") })}`),
      refused(`/v1/accounts?${query({ cursor: forged('accounts') })}`),
      ...['ten', '-1', '1'.repeat(30), ''].map((seq) =>
        refused(`${entries}?${query({ cursor: forged(`entries/${aliceUuid}`, seq) })}`),
      ),
      ...[
        ['-271821-04-20T00:00:00.000Z', '1'],
        ['+275760-09-13T00:00:00.000Z', '1'],
        ['2026-13-01T00:00:00.000Z', '1'],
        ['yesterday', '1'],
        ['2026-01-01T00:00:00.000Z', '9999999999999999999'],
        ['2026-01-01T00:00:00.000Z', '-1'],
        ['2026-01-01T00:00:00.000Z', ''],
      ].map((position) =>
        refused(`/v1/transfers?${query({ cursor: forged('transfers/', uuid, ...position) })}`),
      ),
      {
        what: 'longer than any',
        request: get(`/v1/accounts?cursor=${'A'.repeat(2_100)}`),
        status: 400,
        code: 'invalid_parameter',
      },
    ])
    expect((await ask(get(`/v1/accounts?${query({ cursor })}`))).status).toBe(200)
  })
})

describe('a route', () => {
  const unknown = [
    ...'/ /v1 /v1/ /v1/nowhere /v1/accounts/ /V1/accounts /v2/accounts /admin /.env /v1/Transfers'.split(
      ' ',
    ),
    ...'/v1/accounts//entries /v1/transfers//cancel /v1/trial-balance/x /metrics/ /healthz/x'.split(
      ' ',
    ),
  ]

  it('B27: that is unknown is not found, with any method', async () => {
    const underIds = [
      `/v1/accounts/${payonce.alice}/`,
      `/v1/accounts/${payonce.alice}/nothing`,
      `/v1/accounts/${payonce.alice}/entries/1`,
      `/v1/transfers/${queued}/`,
      `/v1/transfers/${queued}/cancel/now`,
    ]
    await expectRefusals(
      payonce,
      [...unknown, ...underIds].flatMap((path) =>
        ['GET', 'POST', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'].map((method) => ({
          what: `${method} ${path}`,
          request: requestOf(payonce, `${method} ${path}`),
          status: 404,
          code: 'not_found',
        })),
      ),
    )
  })

  it('B27: that serves other methods says which, and takes no other name for one', async () => {
    const served: Record<string, string> = {
      '/healthz': 'GET, HEAD',
      '/readyz': 'GET, HEAD',
      '/metrics': 'GET, HEAD',
      '/openapi.json': 'GET, HEAD',
      '/v1/accounts': 'GET, HEAD, POST',
      [`/v1/accounts/${payonce.alice}`]: 'GET, HEAD, PATCH',
      [`/v1/accounts/${payonce.alice}/entries`]: 'GET, HEAD',
      '/v1/transfers': 'GET, HEAD, POST',
      [`/v1/transfers/${queued}`]: 'GET, HEAD',
      [`/v1/transfers/${queued}/cancel`]: 'POST',
      '/v1/idempotency-keys': 'GET, HEAD, POST',
      '/v1/trial-balance': 'GET, HEAD',
    }
    const methods = 'GET POST PUT PATCH DELETE OPTIONS TRACE PROPFIND PURGE LOCK'.split(' ')
    const seen = await leavingNoTrace(payonce, async () => {
      const allowed: Record<string, Set<string>> = {}
      for (const [path, allow] of Object.entries(served)) {
        for (const method of methods.filter((one) => !allow.split(', ').includes(one))) {
          const answer = await ask(requestOf(payonce, `${method} ${path}`))
          expect([path, method, expectProblem(answer).code]).toEqual([
            path,
            method,
            'method_not_allowed',
          ])
          expect(answer.status).toBe(405)
          ;(allowed[path] ??= new Set()).add(answer.headers.get('allow') ?? '')
        }
      }
      return Object.fromEntries(Object.entries(allowed).map(([path, all]) => [path, [...all]]))
    })
    expect(seen).toEqual(
      Object.fromEntries(Object.entries(served).map(([path, allow]) => [path, [allow]])),
    )
  })

  it('B27: is chosen by the method alone, whatever a header or a parameter says', async () => {
    const overrides = ['x-http-method-override', 'x-http-method', 'x-method-override']
    await leavingNoTrace(payonce, async () => {
      for (const name of overrides) {
        const headers = { [name]: 'POST' }
        const asGet = await ask(requestOf(payonce, 'GET /v1/accounts?limit=1', undefined, headers))
        expect(asGet.status).toBe(200)
        const cancel = requestOf(payonce, `GET /v1/transfers/${queued}/cancel`, undefined, headers)
        expect((await ask(cancel)).status).toBe(405)
      }
      expect((await ask(requestOf(payonce, 'GET /v1/accounts?_method=POST'))).status).toBe(400)
    })
    const body = { currency: 'EUR', name: newKey() }
    const posted = await ask(
      requestOf(payonce, 'POST /v1/accounts', body, { 'x-http-method-override': 'DELETE' }),
    )
    expect(posted.status).toBe(201)
    expect(await payonce.client.read(queued)).toMatchObject({ status: 'queued' })
  })

  it('B27: answers HEAD like GET, without the body', async () => {
    const paths = [
      '/healthz',
      '/v1/accounts?limit=1',
      `/v1/accounts/${payonce.alice}`,
      `/v1/transfers/${succeeded}`,
      '/v1/trial-balance',
      '/v1/nowhere',
      '/v1/accounts?limit=0',
    ]
    await leavingNoTrace(payonce, async () => {
      for (const path of paths) {
        const connection = await RawConnection.open(payonce.api.url)
        const head = async (method: string) => {
          connection.send(requestOf(payonce, `${method} ${path}`))
          const { status, headers } = await connection.answer({ isHead: method === 'HEAD' })
          const told = ['content-type', 'etag', 'cache-control', 'allow', 'retry-after']
          return [path, status, ...told.map((name) => headers.get(name))]
        }
        expect(await head('HEAD')).toEqual(await head('GET'))
        // A body behind the head would have been taken for the beginning of the next answer.
        expect(connection.received).toBe('')
        connection.destroy()
      }
    })
  })
})

function withCredentials(request: RawRequest, values: readonly string[]): RawRequest {
  const headers = (request.headers ?? []).filter(([name]) => name !== 'authorization')
  return {
    ...request,
    headers: [...headers, ...values.map((value) => ['authorization', value] as const)],
  }
}
