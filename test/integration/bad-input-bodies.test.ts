import { gzipSync, brotliCompressSync, deflateSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import { newKey } from '../support/client.ts'
import { leavingNoTrace } from '../support/footprint.ts'
import { startPayonce, type Payonce, type Tenant } from '../support/payonce.ts'
import { RawConnection } from '../support/raw-connection.ts'
import { expectProblem, expectRefusals, requestOf, type Refusal } from '../support/refusal.ts'
import type { AccountOnWire, TransferOnWire } from '../support/wire.ts'

/*
 * Table B of CONFORMANCE.md: what is wrong in a body. Each case also has to leave no trace: not a row,
 * not a job, no failure on the side of the server, and a connection that is usable or closed.
 */

let payonce: Payonce
let other: Tenant
/** An account in dollars. */
let dollars: string

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
  other = await payonce.addTenant('other')
  dollars = await payonce.openAccount(0, { currency: 'USD' })
})

/** The body of a good transfer, or with some members changed; undefined leaves one out. */
const transfer = (change: object = {}) => ({
  source: payonce.world,
  destination: payonce.merchant,
  amount: 1,
  currency: 'EUR',
  ...change,
})

/** The text of a good transfer with one member written as it stands here. */
const transferText = (member: string) => {
  const name = member.slice(0, member.indexOf(':'))
  const others = Object.entries(transfer()).filter(([key]) => JSON.stringify(key) !== name)
  return `{${others.map(([key, value]) => `"${key}":${JSON.stringify(value)}`).join(',')},${member}}`
}

const toTransfers = (body: unknown, headers?: Record<string, string | null>) =>
  requestOf(payonce, 'POST /v1/transfers', body, headers)
const toAccounts = (body: unknown) => requestOf(payonce, 'POST /v1/accounts', body)
const toAlice = (body: unknown) => requestOf(payonce, `PATCH /v1/accounts/${payonce.alice}`, body)
const toCancel = (body: unknown) =>
  requestOf(payonce, `POST /v1/transfers/${payonce.alice.replace('acc', 'tr')}/cancel`, body)
const toKeys = (body: unknown) => requestOf(payonce, 'POST /v1/idempotency-keys', body)

/** The same fault in the body of every route that reads one. */
function onEveryRoute(what: string, body: unknown, expected: Omit<Refusal, 'what' | 'request'>) {
  return Object.entries({ toTransfers, toAccounts, toAlice, toCancel, toKeys }).map(
    ([route, request]): Refusal => ({
      what: `${what}, ${route}`,
      request: request(body),
      ...expected,
    }),
  )
}

const invalid = (code: string, param?: string) => ({ status: 400, code, param })

async function expectAccepted(change: object): Promise<TransferOnWire> {
  const { status, body } = await payonce.client.post<TransferOnWire>(
    '/v1/transfers',
    transfer(change),
    {
      key: newKey(),
    },
  )
  expect(status, JSON.stringify(body)).toBe(202)
  return body
}

describe('what is no JSON', () => {
  it('B1: a body that is no JSON object is refused on every route', async () => {
    const text = JSON.stringify(transfer())
    const noJson: Record<string, string | Uint8Array> = {
      'JSON that was cut off': text.slice(0, -1),
      'a string that was cut off': '{"source":"acc_',
      'a second value behind the first': `${text}{}`,
      'a byte order mark': `\ufeff${text}`,
      'UTF-16, little end first': Buffer.from(text, 'utf16le'),
      'UTF-16 with its mark': Buffer.from(`\ufeff${text}`, 'utf16le'),
      'a byte that is no UTF-8': Buffer.from(text.replace('EUR', '\xff'), 'latin1'),
      'an overlong form': Buffer.from(text.replace('EUR', '\xc0\x80'), 'latin1'),
      'half a character at the end': Buffer.from(`${text}\xe2\x82`, 'latin1'),
      'a surrogate in UTF-8': Buffer.from(text.replace('EUR', '\xed\xa0\x80'), 'latin1'),
      'a comment': `/* pay */${text}`,
      'a comment to the end of the line': `${text}// pay`,
      'single quotes': text.replaceAll('"', "'"),
      'a trailing comma': text.replace('}', ',}'),
      'a line feed in a string': text.replace('EUR', 'E\nUR'),
      'an unknown escape': text.replace('EUR', '\\x45UR'),
      'a number in another script': transferText('"amount":١'),
      'spaces alone': '   ',
      'a NUL': '\0',
      'a form': 'source=acc_1&amount=1',
    }
    const noObject: Record<string, string> = {
      null: 'null',
      'a list': '[]',
      'a list of one': `[${text}]`,
      'a text': '"x"',
      'a number': '1',
      true: 'true',
    }
    await expectRefusals(payonce, [
      ...Object.entries(noJson).flatMap(([what, body]) =>
        onEveryRoute(what, body, invalid('invalid_json')),
      ),
      ...Object.entries(noObject).flatMap(([what, body]) =>
        onEveryRoute(what, body, invalid('invalid_body')),
      ),
      { what: 'nothing', request: toTransfers(''), ...invalid('invalid_json') },
      { what: 'nothing', request: toAccounts(''), ...invalid('invalid_json') },
      { what: 'nothing', request: toAlice(''), ...invalid('invalid_json') },
    ])
  })

  it('B2: a number that JSON does not know is refused as no JSON', async () => {
    const tokens =
      'NaN Infinity -Infinity 01 -01 +1 0x10 0b1 .5 1. 1_000 1e 1e+ - 1,000 ١ undefined 1n'
    await expectRefusals(
      payonce,
      tokens.split(' ').map((token) => ({
        what: token,
        request: toTransfers(transferText(`"amount":${token}`)),
        ...invalid('invalid_json'),
      })),
    )
  })
})

describe('an amount', () => {
  const wrong = [
    ...'0 -0 0.0 0e5 -1 -1e3 1.5 0.1 1e-1 1.00000000000000001 1e400 -1e400 1e99999999 5e-324'.split(
      ' ',
    ),
    ...'9007199254740992 9007199254740993 -9007199254740993 9007199254740991.5 1e16'.split(' '),
    ...'"1" "" null [] [1] {} {"value":1} true false'.split(' '),
    '9'.repeat(60_000),
    `0.${'0'.repeat(60_000)}1`,
    `1${'0'.repeat(30_000)}e-30001`,
  ]
  it('B3: that is no whole number from 1 to 2^53 - 1 is refused, and named', async () => {
    await expectRefusals(payonce, [
      ...wrong.map((token) => ({
        what: token.slice(0, 30),
        request: toTransfers(transferText(`"amount":${token}`)),
        ...invalid('invalid_amount', '/amount'),
      })),
      {
        what: 'left out',
        request: toTransfers(transfer({ amount: undefined })),
        ...invalid('invalid_amount', '/amount'),
      },
      ...'-1 1.5 9007199254740992 "1" null true 1e400'.split(' ').map((token) => ({
        what: `a limit of ${token}`,
        request: toAccounts(`{"currency":"EUR","overdraft_limit":${token}}`),
        ...invalid('invalid_amount', '/overdraft_limit'),
      })),
    ])
    const spelled = ['9007199254740991', '9007199254740991.0', '1e0', '10e-1', '0.1e1', '1E+2']
    for (const token of spelled) {
      const answer = await payonce.client.post('/v1/transfers', transferText(`"amount":${token}`), {
        key: newKey(),
      })
      expect(answer.status, token).toBe(202)
    }
  })
})

describe('limits on the size of a body', () => {
  const pairs = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`key ${n}`, 'value']))
  const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

  it('B4: too deep, too many pairs, too long or no text is refused', async () => {
    const metadata = (value: unknown, code: string, param: string) => [
      { request: toTransfers(transfer({ metadata: value })), ...invalid(code, param) },
      { request: toAccounts({ currency: 'EUR', metadata: value }), ...invalid(code, param) },
      { request: toAlice({ metadata: value }), ...invalid(code, param) },
    ]
    const ofMetadata: [what: string, value: unknown, param: string][] = [
      ['51 pairs', pairs(51), '/metadata'],
      ['a list', ['a'], '/metadata'],
      ['a text', 'a', '/metadata'],
      ['a value of 501', { k: 'x'.repeat(501) }, '/metadata/k'],
      ['a key of 41', { ['k'.repeat(41)]: 'x' }, `/metadata/${'k'.repeat(41)}`],
      ['an empty key', { '': 'x' }, '/metadata/'],
      ['a number', { k: 1 }, '/metadata/k'],
      ['a boolean', { k: true }, '/metadata/k'],
      ['an object', { k: { a: 'x' } }, '/metadata/k'],
      ['a list as value', { k: ['x'] }, '/metadata/k'],
      ['a fault behind a key that a pointer escapes', { 'a/b~c': 1 }, '/metadata/a~1b~0c'],
      ['a number behind a key that is the name of an amount', { amount: 1 }, '/metadata/amount'],
    ]
    const tooDeep = Object.entries({
      '33 levels': transferText(`"deep":${nested(32)}`),
      '20,000 levels': transferText(`"deep":${nested(20_000)}`),
      '10,000 levels of objects': `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
      '33 levels in metadata': transferText(`"metadata":{"a":${nested(31)}}`),
    })
    await expectRefusals(payonce, [
      ...tooDeep.flatMap(([what, body]) => onEveryRoute(what, body, invalid('invalid_body'))),
      {
        what: '32 levels are no fault in themselves',
        request: toTransfers(transferText(`"deep":${nested(31)}`)),
        ...invalid('unknown_field', '/deep'),
      },
      ...ofMetadata.flatMap(([what, value, param]) =>
        metadata(value, 'invalid_field', param).map((refusal) => ({ what, ...refusal })),
      ),
      {
        what: 'null for a pair of a transfer, which only a change of an account may take away',
        request: toTransfers(transfer({ metadata: { k: null } })),
        ...invalid('invalid_field', '/metadata/k'),
      },
    ])
    const most = { ...pairs(49), ['k'.repeat(40)]: '😀'.repeat(500) }
    expect((await expectAccepted({ metadata: most })).metadata).toEqual(most)
  })

  it('B20: a description has at most 500 code points, of however many bytes', async () => {
    const over = { 'of one byte': 'x', 'of four bytes': '😀', 'combining ones': '\u0301' }
    await expectRefusals(
      payonce,
      Object.entries(over).map(([what, character]) => ({
        what: `501 code points ${what}`,
        request: toTransfers(transfer({ description: character.repeat(501) })),
        ...invalid('invalid_field', '/description'),
      })),
    )
    for (const character of Object.values(over)) {
      const description = character.repeat(500)
      expect((await expectAccepted({ description })).description).toBe(description)
    }
  })
})

describe('the form of a body', () => {
  it('B7: a body that does not say that it is JSON is refused unread', async () => {
    const types = [
      null,
      '',
      'text/plain',
      'text/json',
      'application/jsonx',
      'application/merge-patch+json',
      'application/json; charset=utf-16',
      'application/json; charset=latin1',
      'application/json, text/plain',
      'application/json; charset=utf-8; charset=utf-16',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/json\t;\x80',
    ]
    const text = JSON.stringify(transfer())
    const encoded: [encoding: string, body: Uint8Array | string][] = [
      ['gzip', gzipSync(text)],
      ['x-gzip', gzipSync(text)],
      ['deflate', deflateSync(text)],
      ['br', brotliCompressSync(text)],
      ['identity, gzip', gzipSync(text)],
      ['gzip', text],
      ['', text],
      ['utf-8', text],
    ]
    const expected = { status: 415, code: 'unsupported_media_type' }
    await expectRefusals(payonce, [
      ...types.map((type) => ({
        what: `type ${type}`,
        request: toTransfers(text, { 'content-type': type }),
        ...expected,
      })),
      {
        what: 'two types',
        request: twice('content-type', 'application/json', toTransfers(text)),
        ...expected,
      },
      ...encoded.map(([encoding, body]) => ({
        what: `encoding ${encoding}`,
        request: toTransfers(body, { 'content-encoding': encoding }),
        ...expected,
      })),
    ])
    const good: Record<string, string>[] = [
      { 'content-type': 'application/json; charset=utf-8' },
      { 'content-type': 'APPLICATION/JSON;charset="UTF-8"' },
      { 'content-encoding': 'identity' },
    ]
    const connection = await RawConnection.open(payonce.api.url)
    for (const headers of good) {
      connection.send(toTransfers(text, headers))
      expect((await connection.answer()).status).toBe(202)
    }
    connection.destroy()
  })

  it('B7: a body that would unpack to a thousand times its size is never unpacked', async () => {
    // 60 MB of spaces, which JSON allows anywhere, in 60 KB.
    const bomb = gzipSync(Buffer.alloc(60_000_000, ' '))
    expect(bomb.length).toBeLessThan(64 * 1024)
    const before = process.memoryUsage()
    await expectRefusals(
      payonce,
      [1, 2, 3].map((n) => ({
        what: `bomb ${n}`,
        request: toTransfers(bomb, { 'content-encoding': 'gzip' }),
        status: 415,
        code: 'unsupported_media_type',
      })),
    )
    const after = process.memoryUsage()
    const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed
    expect(grown).toBeLessThan(30_000_000)
  })

  it('B8: a member that stands twice is refused at any depth and in any spelling', async () => {
    const both = (text: string) => `{"currency":"EUR","metadata":${text}}`
    const cases: [text: string, param: string][] = [
      [transferText('"amount":1,"amount":2'), '/amount'],
      [transferText('"amount":1,"amount":1'), '/amount'],
      [transferText('"amount":1,"\\u0061mount":2'), '/amount'],
      [transferText('"metadata":{"a":"1","b":"2","a":"3"}'), '/metadata/a'],
      [transferText('"metadata":{"":"1","":"2"}'), '/metadata/'],
      [transferText('"metadata":{"a/~":"1","a\\u002f~":"2"}'), '/metadata/a~1~0'],
      [transferText('"metadata":{"é":"1","\\u00e9":"2"}'), '/metadata/é'],
      [transferText('"unknown":[{"x":{"y":1,"y":1}}]'), '/unknown/0/x/y'],
      ['{"a":1,"a":1}', '/a'],
      [both('{"k":"1","k":"2"}'), '/metadata/k'],
    ]
    await expectRefusals(
      payonce,
      cases.flatMap(([text, param]) =>
        onEveryRoute(text, text, invalid('duplicate_member', param)),
      ),
    )
    // One letter in two forms of Unicode is two names, as RFC 8785 compares them.
    await expectAccepted({ metadata: { '\u00e9': '1', 'e\u0301': '2' } })
  })

  it('B9: members that JavaScript gives a meaning to are refused and change nothing', async () => {
    const poisoned: [text: string, param: string][] = [
      ['"__proto__":{"admin":true}', '/__proto__'],
      ['"__pr\\u006fto__":{"admin":true}', '/__proto__'],
      ['"metadata":{"__proto__":"x"}', '/metadata/__proto__'],
      ['"metadata":{"__proto__":{"admin":"true"}}', '/metadata/__proto__'],
      ['"deep":[{"__proto__":{"admin":true}}]', '/deep/0/__proto__'],
      ['"constructor":{"prototype":{"admin":true}}', '/constructor'],
      ['"prototype":{"admin":true}', '/prototype'],
      ['"toString":"x"', '/toString'],
      ['"hasOwnProperty":true', '/hasOwnProperty'],
      ['"valueOf":1', '/valueOf'],
    ]
    await expectRefusals(payonce, [
      ...poisoned.flatMap(([member, param]) =>
        onEveryRoute(member, `{${member}}`, invalid('unknown_field', param)),
      ),
      {
        what: 'constructor.prototype in metadata',
        request: toTransfers(transferText('"metadata":{"constructor":{"prototype":"x"}}')),
        ...invalid('invalid_field', '/metadata/constructor'),
      },
      ...['__proto__', '__proto__[admin]', 'constructor', 'constructor.prototype.admin'].map(
        (name) => ({
          what: `query ${name}`,
          request: requestOf(payonce, `GET /v1/accounts?${name}=true`),
          ...invalid('invalid_parameter'),
        }),
      ),
    ])
    expect(({} as { admin?: unknown }).admin).toBeUndefined()
    expect(Object.prototype.toString.call({})).toBe('[object Object]')
    const metadata = { constructor: 'x', toString: 'y', prototype: 'z' }
    expect((await expectAccepted({ metadata })).metadata).toEqual(metadata)
  })

  it('B10: unknown members and those of the server are refused and named', async () => {
    const unknown = {
      toTransfers: [
        toTransfers,
        'id object status tenant_id created_at settled_at failure version',
      ],
      toAccounts: [
        toAccounts,
        'id object status tenant_id created_at balance held available version',
      ],
      toAlice: [
        toAlice,
        'id object tenant_id created_at balance held currency kind reference version',
      ],
      toKeys: [toKeys, 'key tenant_id expires_at'],
      toCancel: [toCancel, 'status reason'],
    } as const
    const good = new Map<unknown, object>([
      [toTransfers, transfer()],
      [toAccounts, { currency: 'EUR' }],
    ])
    await expectRefusals(payonce, [
      ...Object.values(unknown).flatMap(([request, names]) =>
        `${names} Amount extra a/b`.split(' ').map((name) => ({
          what: name,
          request: request({ ...good.get(request), [name]: 'x' }),
          ...invalid('unknown_field', `/${name.replace('/', '~1')}`),
        })),
      ),
      {
        what: 'within a member',
        request: toTransfers(transfer({ on_insufficient_funds: { retry_for: '1 day' } })),
        ...invalid('unknown_field', '/on_insufficient_funds/retry_for'),
      },
    ])
  })
})

describe('what a body names', () => {
  it('B11: a currency that is none is refused on either route', async () => {
    const codes: unknown[] = [
      'usd',
      'Eur',
      'EURO',
      'EU',
      '',
      ' EUR',
      'EUR ',
      'XXX',
      'XTS',
      'ZZZ',
      '€',
    ]
    codes.push(
      'EUR\0',
      'ＥＵＲ',
      null,
      978,
      true,
      ['EUR'],
      { code: 'EUR' },
      undefined,
      'X'.repeat(60_000),
    )
    await expectRefusals(
      payonce,
      codes.flatMap((currency) => [
        {
          what: `a transfer in ${String(currency).slice(0, 20)}`,
          request: toTransfers(transfer({ currency })),
          ...invalid('invalid_currency', '/currency'),
        },
        {
          what: `an account in ${String(currency).slice(0, 20)}`,
          request: toAccounts({ currency }),
          ...invalid('invalid_currency', '/currency'),
        },
      ]),
    )
  })

  it('B12: a currency that is not that of both accounts is refused', async () => {
    const cases: [change: object, param: string][] = [
      [{ currency: 'USD' }, '/source'],
      [{ destination: dollars }, '/destination'],
      [{ source: dollars }, '/source'],
      [{ source: dollars, currency: 'USD' }, '/destination'],
    ]
    await expectRefusals(
      payonce,
      cases.map(([change, param]) => ({
        what: Object.keys(change).join(', '),
        request: toTransfers(transfer(change)),
        status: 422,
        code: 'currency_mismatch',
        param,
      })),
    )
  })

  it('B13: a transfer from an account to itself is refused', async () => {
    const same = { status: 422, code: 'same_account', param: '/destination' }
    const { alice } = payonce
    const unknown = alice.replace(/.{12}$/, '0123456789ab')
    await expectRefusals(payonce, [
      {
        what: 'own',
        request: toTransfers(transfer({ source: alice, destination: alice })),
        ...same,
      },
      {
        what: 'of two who do not exist, the fault that is seen without a look comes first',
        request: toTransfers(transfer({ source: unknown, destination: unknown })),
        ...same,
      },
    ])
  })

  it('B14: an account that is not there and one of another tenant are refused alike', async () => {
    const unknown = payonce.alice.replace(/.{12}$/, '0123456789ab')
    const both = (side: string) =>
      leavingNoTrace(payonce, async () => {
        const connection = await RawConnection.open(payonce.api.url)
        const texts: string[] = []
        // Each twice: an answer must not differ for being the second, from a memory of the first.
        for (const account of [unknown, other.merchant, unknown, other.merchant]) {
          connection.send(toTransfers(transfer({ [side]: account })))
          const answer = await connection.answer()
          const { status, code, param, request_id: requestId } = expectProblem(answer)
          expect([status, code, param]).toEqual([422, 'account_not_found', `/${side}`])
          const head = [...answer.headers].filter(([name]) => name !== 'date')
          texts.push(JSON.stringify([head, answer.text]).replaceAll(requestId, 'REQUEST'))
        }
        connection.destroy()
        expect(new Set(texts).size, texts.join('\n')).toBe(1)
      })
    await both('source')
    await both('destination')
  })

  it('B18: a malformed id in a body is refused and named', async () => {
    const malformed = [...malformedIds(payonce.alice), '', null, 7, true, [], {}, undefined]
    await expectRefusals(
      payonce,
      malformed.flatMap((id) =>
        ['source', 'destination'].map((side) => ({
          what: `${side}: ${(JSON.stringify(id) ?? 'undefined').slice(0, 40)}`,
          request: toTransfers(transfer({ [side]: id })),
          ...invalid('invalid_id', `/${side}`),
        })),
      ),
    )
  })

  it('B18: a malformed id in a path is not found', async () => {
    const paths = (id: string): string[] => [
      `GET /v1/accounts/${id}`,
      `GET /v1/accounts/${id}/entries`,
      `PATCH /v1/accounts/${id}`,
      `GET /v1/transfers/${id}`,
      `POST /v1/transfers/${id}/cancel`,
    ]
    const encoded = malformedIds(payonce.alice).map(encodeURIComponent)
    const raw = [
      '%2e',
      '%2e%2e',
      '%2E.',
      '.',
      '..',
      '%00',
      '%zz',
      '%',
      '%f0%9f',
      '%ff',
      '%2f',
      '%252e%252e',
    ]
    await expectRefusals(
      payonce,
      [...encoded, ...raw].flatMap((id) =>
        paths(id).map((route) => ({
          what: route.slice(0, 60),
          request: requestOf(payonce, route, route.startsWith('PATCH') ? { name: 'x' } : undefined),
          status: 404,
          code: 'not_found',
        })),
      ),
    )
  })

  it('B18: a malformed id in a query is refused', async () => {
    await expectRefusals(
      payonce,
      [...malformedIds(payonce.alice), ''].map((id) => ({
        what: id.slice(0, 40),
        request: requestOf(payonce, `GET /v1/transfers?account=${encodeURIComponent(id)}`),
        ...invalid('invalid_parameter'),
      })),
    )
  })
})

describe('text', () => {
  const forbidden = [
    0, 1, 8, 11, 12, 14, 27, 31, 127, 128, 133, 155, 159, 8234, 8235, 8236, 8237, 8238, 8294, 8295,
    8296, 8297,
  ].map((code) => String.fromCharCode(code))
  const halves = ['\ud800', '\udfff', '\udc00\ud800', 'a\ud83d', '\ude00a']

  it('B19: controls, marks that turn text round and half characters are refused everywhere', async () => {
    await expectRefusals(
      payonce,
      [...forbidden, ...halves].flatMap((character) => {
        const what = JSON.stringify(character)
        const text = `pay ${character}ment`
        const ofTransfer = (change: object, param: string): Refusal => ({
          what,
          request: toTransfers(transfer(change)),
          ...invalid('invalid_text', param),
        })
        const ofAccount = (change: object, param: string): Refusal[] => [
          {
            what,
            request: toAccounts({ currency: 'EUR', ...change }),
            ...invalid('invalid_text', param),
          },
        ]
        return [
          ofTransfer({ description: text }, '/description'),
          ofTransfer({ metadata: { k: text } }, '/metadata/k'),
          ofTransfer({ metadata: { [text]: 'v' } }, `/metadata/${text}`),
          ...ofAccount({ name: text }, '/name'),
          ...ofAccount({ reference: text }, '/reference'),
          ...ofAccount({ metadata: { k: text } }, '/metadata/k'),
          { what, request: toAlice({ name: text }), ...invalid('invalid_text', '/name') },
          {
            what,
            request: toAlice({ metadata: { k: text } }),
            ...invalid('invalid_text', '/metadata/k'),
          },
        ]
      }),
    )
    const allowed = 'tab\t, line\nfeed, return\r, ‏right to left‏, é, 漢字, 👩‍👩‍👧, \u00a0, \u2028'
    expect((await expectAccepted({ description: allowed })).description).toBe(allowed)
    const account = await payonce.client.post<AccountOnWire>('/v1/accounts', {
      currency: 'EUR',
      name: allowed,
    })
    expect(account.body.name).toBe(allowed)
  })
})

/** What looks like an id to some reader and is none. */
function malformedIds(good: string): string[] {
  const uuid = good.slice(4)
  return [
    `acc_${'0'.repeat(300)}`,
    'a'.repeat(300),
    good.slice(0, -1),
    `${good}0`,
    ` ${good}`,
    `${good}\n`,
    good.toUpperCase(),
    `ACC_${uuid}`,
    `tra_${uuid}`,
    `key_${uuid}`,
    uuid,
    `acc_${uuid.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}`,
    `acc_${uuid.slice(0, 12)}4${uuid.slice(13)}`,
    `acc_${uuid.slice(0, 16)}7${uuid.slice(17)}`,
    `${good}\0`,
    `acc_\0${uuid.slice(1)}`,
    `acc_😀${uuid.slice(2)}`,
    `acc_${uuid.slice(0, -1)}١`,
    "acc_' OR 1=1 --",
    `${good}'; DROP TABLE accounts; --`,
    '__proto__',
    'null',
  ]
}

function twice(name: string, value: string, request: Refusal['request']): Refusal['request'] {
  return { ...request, headers: [...(request.headers ?? []), [name, value]] }
}
