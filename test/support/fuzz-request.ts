import * as fc from 'fast-check'
import { mutatedJson } from './fuzz-json.ts'
import type { RawRequest } from './raw-connection.ts'

/** What requests are made of: accounts of the tenant and not, and credentials that may more or less. */
export type FuzzCast = {
  accounts: readonly string[]
  foreignAccount: string
  unknownAccount: string
  apiKey: string
  foreignApiKey: string
  readOnlyApiKey: string
}

/** A request, and which of the transfers accepted so far its path is about, if of any. */
export type FuzzRequest = RawRequest & { transferIndex: number }

/**
 * Requests of every kind: good ones, good ones with something changed, and noise, for every public
 * route and for none. What is generated depends on the seed alone.
 */
export function fuzzRequest(cast: FuzzCast): fc.Arbitrary<FuzzRequest> {
  return fc
    .tuple(call(cast), headers(cast), fc.nat(1_000))
    .map(([asked, sent, transferIndex]) => ({ ...asked, headers: sent, transferIndex }))
}

/** Stands in a path for the id of a transfer that was accepted before. */
const transferPlace = '{transfer}'

/** The request as it is sent, with the id of a transfer in its place. */
export function withTransfer(request: FuzzRequest, transfers: readonly string[]): RawRequest {
  const id = transfers[request.transferIndex % Math.max(1, transfers.length)] ?? 'tr_none'
  return { ...request, path: request.path.replace(transferPlace, id) }
}

/** Mostly the method, path and body that belong together; at times any of each. */
function call(cast: FuzzCast): fc.Arbitrary<RawRequest> {
  const post = (path: string, good: fc.Arbitrary<object>): fc.Arbitrary<RawRequest> =>
    mutatedJson(good).map((body) => ({ method: 'POST', path, body }))
  const patch = fc
    .tuple(account(cast), mutatedJson(accountChange()))
    .map(([id, body]): RawRequest => ({ method: 'PATCH', path: `/v1/accounts/${id}`, body }))
  const get = fc
    .tuple(path(cast), query())
    .map((parts): RawRequest => ({ method: 'GET', path: parts.join('') }))
  const bodies = fc.oneof(transfer(cast), newAccount(), accountChange())
  const any = fc
    .tuple(fc.constantFrom(...methods), get, mutatedJson(bodies), fc.boolean())
    .map(([method, { path }, body, isEmpty]): RawRequest =>
      isEmpty ? { method, path } : { method, path, body },
    )
  return fc.oneof(
    { weight: 10, arbitrary: post('/v1/transfers', transfer(cast)) },
    { weight: 2, arbitrary: post('/v1/accounts', newAccount()) },
    { weight: 1, arbitrary: post('/v1/idempotency-keys', keyPurpose()) },
    { weight: 1, arbitrary: post(`/v1/transfers/${transferPlace}/cancel`, fc.constant({})) },
    { weight: 2, arbitrary: patch },
    { weight: 6, arbitrary: get },
    { weight: 5, arbitrary: any },
  )
}

/** All that Node reads but CONNECT, which opens a tunnel and is cut off. */
const methods = 'GET HEAD POST PATCH PUT DELETE OPTIONS TRACE PROPFIND SEARCH PURGE LINK'.split(' ')

function path(cast: FuzzCast): fc.Arbitrary<string> {
  const fixed = [
    ...'/healthz /readyz /metrics /openapi.json /docs /docs/idempotency /problems /'.split(' '),
    ...'/v1/accounts /v1/transfers /v1/idempotency-keys /v1/trial-balance /v1/nowhere'.split(' '),
    `/v1/transfers/${transferPlace}`,
    `/v1/transfers/${transferPlace}/cancel`,
  ]
  return fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...fixed) },
    { weight: 2, arbitrary: account(cast).map((id) => `/v1/accounts/${id}`) },
    { weight: 1, arbitrary: account(cast).map((id) => `/v1/accounts/${id}/entries`) },
    { weight: 1, arbitrary: account(cast).map((id) => `/v1/transfers/${id}`) },
    { weight: 1, arbitrary: inPath().map((text) => `/problems/${text}`) },
    { weight: 1, arbitrary: inPath().map((text) => `/${text}`) },
  )
}

function query(): fc.Arbitrary<string> {
  const names = 'limit cursor account status kind reference key idempotency_key created_after'
  const name = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...names.split(' '), 'created_before', '__proto__') },
    { weight: 1, arbitrary: inPath() },
  )
  const value = fc.oneof(
    fc.constantFrom('1', '100', '0', 'queued', 'succeeded', 'transfer', 'k1', 'k2'),
    fc.date({ noInvalidDate: true }).map((time) => time.toISOString()),
    fc.base64String({ maxLength: 80 }),
    inPath(),
  )
  const pairs = fc
    .array(fc.tuple(name, value), { maxLength: 3 })
    .map((all) => `?${all.map((pair) => pair.join('=')).join('&')}`)
  return fc.oneof({ weight: 2, arbitrary: fc.constant('') }, { weight: 1, arbitrary: pairs })
}

function account(cast: FuzzCast): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...cast.accounts) },
    { weight: 1, arbitrary: fc.constantFrom(cast.foreignAccount, cast.unknownAccount) },
    { weight: 1, arbitrary: inPath() },
  )
}

/** Text of any kind in the form in which it stands in a first line, properly encoded or not. */
function inPath(): fc.Arbitrary<string> {
  const text = fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: 'binary', maxLength: 20 }))
  return fc.oneof(
    text.map((one) => encode(one)),
    text.map((one) => encode(one).replaceAll('%25', '%')),
    fc.constantFrom('..', '%2e%2e', '%00', '%zz', '%ff', '%', '__proto__', 'constructor', '-1', ''),
  )
}

/** Half characters cannot be encoded: here they become what a Buffer makes of them. */
function encode(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString())
}

type Header = readonly [name: string, value: string]

function headers(cast: FuzzCast): fc.Arbitrary<Header[]> {
  const credentials = [cast.foreignApiKey, cast.readOnlyApiKey, 'po_test_x']
  const types = ['text/plain', 'application/json; charset=utf-8', 'application/json;charset=x']
  return fc
    .tuple(
      usually(
        ['authorization', `Bearer ${cast.apiKey}`],
        fc.oneof(fc.constantFrom(...credentials.map((one) => `Bearer ${one}`)), inHeader()),
      ),
      usually(
        ['content-type', 'application/json'],
        fc.oneof(fc.constantFrom(...types), inHeader()),
      ),
      fc
        .oneof(
          { weight: 20, arbitrary: fc.tuple(key()) },
          { weight: 1, arbitrary: fc.constant([]) },
          { weight: 1, arbitrary: fc.tuple(key(), key()) },
        )
        .map((keys) => keys.map((one): Header => ['idempotency-key', one])),
      fc.array(furtherHeader(), { maxLength: 2 }),
    )
    .map((parts) => parts.flat())
}

function usually([name, good]: Header, others: fc.Arbitrary<string>): fc.Arbitrary<Header[]> {
  return fc.oneof(
    { weight: 24, arbitrary: fc.constant<Header[]>([[name, good]]) },
    { weight: 1, arbitrary: others.map((value): Header[] => [[name, value]]) },
    { weight: 1, arbitrary: fc.constant<Header[]>([]) },
  )
}

/** Few keys, so that they meet again: under the same body, and under others. */
function key(): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 8, arbitrary: fc.nat(30).map((n) => `k${n}`) },
    { weight: 6, arbitrary: fc.uuid() },
    { weight: 1, arbitrary: inHeader() },
  )
}

function furtherHeader(): fc.Arbitrary<Header> {
  const names =
    'if-none-match origin user-agent cookie accept-encoding content-encoding x-request-id'
  return fc.oneof(
    fc.constantFrom<Header[]>(['prefer', 'wait=0'], ['prefer', 'wait=1'], ['prefer', 'wait=x']),
    fc.tuple(fc.constantFrom(...names.split(' '), 'access-control-request-method'), inHeader()),
  )
}

/** A value that HTTP allows: bytes from the space on, without the one that ends ASCII. */
function inHeader(): fc.Arbitrary<string> {
  const byte = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f)
  return fc.array(byte, { maxLength: 60 }).map((codes) => String.fromCharCode(...codes))
}

function transfer(cast: FuzzCast): fc.Arbitrary<object> {
  return fc.record(
    {
      source: fc.constantFrom(...cast.accounts),
      destination: fc.oneof(
        { weight: 8, arbitrary: fc.constantFrom(...cast.accounts) },
        { weight: 1, arbitrary: fc.constantFrom(cast.foreignAccount, cast.unknownAccount) },
      ),
      amount: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.maxSafeNat()),
      currency: fc.oneof(
        { weight: 12, arbitrary: fc.constant('EUR') },
        { weight: 1, arbitrary: fc.constant('USD') },
      ),
      description: fc.option(fc.string({ unit: 'grapheme', maxLength: 30 })),
      metadata: metadata(),
      on_insufficient_funds: fc.constant({ retry_until: '2020-01-31T12:00:00Z' }),
    },
    { requiredKeys: ['source', 'destination', 'amount', 'currency'] },
  )
}

function newAccount(): fc.Arbitrary<object> {
  return fc.record(
    {
      currency: fc.constantFrom('EUR', 'USD', 'JPY'),
      kind: fc.constantFrom('internal', 'external'),
      name: fc.option(fc.string({ unit: 'grapheme', maxLength: 30 })),
      reference: fc.option(fc.nat(50).map((n) => `reference ${n}`)),
      overdraft_limit: fc.oneof(fc.nat(1_000), fc.maxSafeNat()),
      metadata: metadata(),
    },
    { requiredKeys: ['currency'] },
  )
}

function accountChange(): fc.Arbitrary<object> {
  return fc.record(
    {
      status: fc.constantFrom('open', 'open', 'open', 'frozen', 'closed'),
      name: fc.option(fc.string({ maxLength: 30 })),
      overdraft_limit: fc.nat(1_000),
      metadata: fc.option(metadata()),
    },
    { requiredKeys: [] },
  )
}

function keyPurpose(): fc.Arbitrary<object> {
  const purpose = fc.constantFrom('POST /v1/transfers', 'POST /v1/accounts', null)
  return fc.record({ purpose }, { requiredKeys: [] })
}

function metadata(): fc.Arbitrary<Record<string, string>> {
  const name = fc.oneof(fc.string({ minLength: 1, maxLength: 20 }), fc.constant('constructor'))
  return fc.dictionary(name, fc.string({ unit: 'grapheme', maxLength: 20 }), { maxKeys: 4 })
}
