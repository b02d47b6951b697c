import * as fc from 'fast-check'
import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import {
  MAX_BODY_BYTES,
  MAX_DEPTH,
  isExactInteger,
  parseStrictJson,
  readJsonBody,
  readOptionalJsonBody,
  toPointer,
} from '@payonce/api/json-body'
import { Problem, type ProblemCode } from '@payonce/api/problem'
import { words } from './words.ts'

type Refusal = { code: ProblemCode; param: string | undefined }

function refusalOf(json: string): Refusal | undefined {
  try {
    parseStrictJson(json)
    return undefined
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return { code: error.code, param: error.param }
  }
}

function catchProblem(work: () => unknown): Problem {
  try {
    work()
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('B1 no JSON is', () => {
  it.each([
    ['an empty text', ''],
    ['white space', ' \n\t'],
    ['truncated JSON', '{"a":1'],
    ['a truncated text', '{"a":"b'],
    ['an object and another one', '{}{}'],
    ['an object and a comma', '{},'],
    ['a trailing comma in an object', '{"a":1,}'],
    ['a trailing comma in a list', '[1,]'],
    ['a comment', '{"a":1/* one */}'],
    ['a comment to the end of the line', '{"a":1} // one'],
    ['a text in single quotes', "{'a':1}"],
    ['a name without quotes', '{a:1}'],
    ['a byte order mark', '\ufeff{}'],
    ['a raw line feed in a text', '{"a":"b\nc"}'],
    ['a raw NUL in a text', '{"a":"b\u0000c"}'],
    ['an unknown escape', '{"a":"\\x41"}'],
    ['a hexadecimal escape cut short', '{"a":"\\u004"}'],
    ['True', '{"a":True}'],
    ['undefined', '{"a":undefined}'],
    ['a no-break space between tokens', '{\u00a0"a":1}'],
  ])('%s', (_, json) => {
    expect(refusalOf(json)).toEqual({ code: 'invalid_json', param: undefined })
  })
})

describe('B2 no number is', () => {
  it.each(
    words(`
    NaN Infinity -Infinity 01 -01 +1 0x10 .5 1. 1e 1e+ --1 1_000 1,000 0b1 0o7 1n -
    1.e3 ٣
  `),
  )('%s', (token) => {
    expect(refusalOf(`{"amount":${token}}`)?.code).toBe('invalid_json')
  })
})

describe('I18 a number is judged by its text:', () => {
  it.each([
    ['1000', 1000],
    ['1e3', 1000],
    ['1E3', 1000],
    ['1e+3', 1000],
    ['1000.0', 1000],
    ['1000.000', 1000],
    ['1000e-3', 1],
    ['1000.0e-3', 1],
    ['0.1e1', 1],
    ['1.5e1', 15],
    ['1.50e1', 15],
    ['120e-1', 12],
    ['0', 0],
    ['0.0', 0],
    ['0e-5', 0],
    ['0.00e400', 0],
    ['-7', -7],
    ['-7.0', -7],
    ['-0', -0],
    ['9007199254740991', 9007199254740991],
    ['-9007199254740991', -9007199254740991],
    ['9007199254740991.0', 9007199254740991],
    ['9.007199254740991e15', 9007199254740991],
    ['90071992547409910e-1', 9007199254740991],
  ])('%s is one', (token, value) => {
    expect(parseStrictJson(`{"amount":${token}}`)).toEqual({ amount: value })
  })

  it.each([
    '1.5',
    '0.1',
    '-0.5',
    '1.00000000000000001',
    '0.99999999999999999999',
    '1e-1',
    '15e-1',
    '1e-400',
    '1e400',
    '-1e400',
    '9007199254740992',
    '9007199254740993',
    '-9007199254740992',
    '9007199254740991.4',
    '9007199254740990.99999999999999',
    '1e16',
    '123456789012345678901234567890',
  ])('%s is none', (token) => {
    expect(refusalOf(`{"amount":${token}}`)).toEqual({ code: 'invalid_amount', param: '/amount' })
  })

  it('with the code of its member, and where it stands', () => {
    expect(refusalOf('{"overdraft_limit":1.5}')).toEqual({
      code: 'invalid_amount',
      param: '/overdraft_limit',
    })
    expect(refusalOf('{"legs":[{"amount":1},{"amount":1.5}]}')).toEqual({
      code: 'invalid_amount',
      param: '/legs/1/amount',
    })
    expect(refusalOf('{"count":1.5}')).toEqual({ code: 'invalid_field', param: '/count' })
    expect(refusalOf('{"list":[0,[1,1.5]]}')).toEqual({ code: 'invalid_field', param: '/list/1/1' })
    expect(refusalOf('1.5')).toEqual({ code: 'invalid_field', param: '' })
  })

  it('a pair of metadata is no amount, whatever its name', () => {
    expect(refusalOf('{"metadata":{"amount":1.5}}')).toEqual({
      code: 'invalid_field',
      param: '/metadata/amount',
    })
  })

  it('as exact arithmetic would', () => {
    const digits = (minLength: number) =>
      fc
        .oneof(
          fc.stringMatching(/^[0-9]{1,20}$/),
          fc.stringMatching(/^[1-9]?0{0,12}$/),
          fc.constantFrom('9007199254740991', '9007199254740992', '900719925474099', '0', '1'),
        )
        .filter((text) => text.length >= minLength)
    const numbers = fc.record({
      sign: fc.constantFrom('', '-'),
      whole: digits(1).map((text) => text.replace(/^0+(?=\d)/, '')),
      fraction: fc.option(digits(1)),
      exponent: fc.option(fc.integer({ min: -25, max: 25 })),
    })
    fc.assert(
      fc.property(numbers, ({ sign, whole, fraction, exponent }) => {
        const text = `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${exponent === null ? '' : `e${exponent}`}`
        const shift = (exponent ?? 0) - (fraction ?? '').length
        expect(isExactInteger(text)).toBe(isSafe(BigInt(whole + (fraction ?? '')), shift))
      }),
      { numRuns: 5_000 },
    )
  })

  /** A regular expression once took 19 s for this: one request would have stopped the process. */
  it('in a time that grows with its length alone', () => {
    const hostile = [
      '1.' + '0'.repeat(60_000) + '1',
      '1' + '0'.repeat(60_000),
      '0.' + '0'.repeat(60_000) + 'e1',
    ]
    const startedAt = performance.now()
    for (const text of hostile) isExactInteger(text)
    expect(performance.now() - startedAt).toBeLessThan(500)
  })
})

/** Whether digits × 10^shift is an integer within ±(2^53 - 1). */
function isSafe(digits: bigint, shift: number): boolean {
  if (shift >= 0) return digits * 10n ** BigInt(shift) <= 2n ** 53n - 1n
  const divisor = 10n ** BigInt(-shift)
  return digits % divisor === 0n && digits / divisor <= 2n ** 53n - 1n
}

describe('I19 B8 a name that stands twice in one object is refused', () => {
  it.each([
    ['at the top', '{"a":1,"a":2}', '/a'],
    ['with equal values', '{"a":1,"a":1}', '/a'],
    ['with another one between', '{"a":1,"b":2,"a":3}', '/a'],
    ['deeper inside', '{"m":{"x":{"a":1,"a":2}}}', '/m/x/a'],
    ['in an object in a list', '{"legs":[{"a":1},{"a":1,"a":2}]}', '/legs/1/a'],
    ['in an object behind another one', '{"m":{"b":1},"a":{"c":1,"c":2}}', '/a/c'],
    ['after a nested object with the same name', '{"a":{"a":1},"a":2}', '/a'],
    ['after a nested object with another name', '{"a":1,"b":{"c":1},"a":2}', '/a'],
    ['after a list of objects', '{"a":1,"b":[{"c":1},{"d":1}],"a":2}', '/a'],
    ['spelled with an escape', '{"a":1,"\\u0061":2}', '/a'],
    ['spelled with another escape', '{"\\u00e9":1,"\\u00E9":2}', '/é'],
    ['spelled with an escaped slash', '{"a/b":1,"a\\/b":2}', '/a~1b'],
    ['spelled with escaped surrogates', '{"😀":1,"\\ud83d\\ude00":2}', '/😀'],
    ['of no characters', '{"":1,"":2}', '/'],
    ['of a method', '{"toString":1,"toString":2}', '/toString'],
  ])('%s', (_, json, param) => {
    expect(refusalOf(json)).toEqual({ code: 'duplicate_member', param })
  })

  it.each([
    ['in two objects', '{"a":{"x":1},"b":{"x":1}}'],
    ['in an object and in the one around it', '{"a":{"a":{"a":1}}}'],
    ['in a nested object and behind it', '{"b":{"a":1},"a":2}'],
    ['in two items of a list', '[{"a":1},{"a":1}]'],
    ['in other case', '{"a":1,"A":2}'],
    ['in NFC and NFD', '{"\\u00e9":1,"e\\u0301":2}'],
    ['as a name and as a value', '{"a":"a","b":"a"}'],
  ])('but not %s', (_, json) => {
    expect(refusalOf(json)).toBeUndefined()
    expect(parseStrictJson(json)).toEqual(JSON.parse(json))
  })
})

describe('B9 the prototype', () => {
  it.each([
    ['at the top', '{"__proto__":{"admin":true}}', '/__proto__'],
    ['deeper inside', '{"metadata":{"__proto__":"x"}}', '/metadata/__proto__'],
    ['spelled with an escape', '{"\\u005f_proto__":{}}', '/__proto__'],
    ['in a list', '[{"__proto__":1}]', '/0/__proto__'],
  ])('is no member %s', (_, json, param) => {
    expect(refusalOf(json)).toEqual({ code: 'unknown_field', param })
    expect(Reflect.get({}, 'admin')).toBeUndefined()
  })

  it('is not touched by a member named constructor or prototype', () => {
    const value = parseStrictJson('{"constructor":{"prototype":{"admin":true}}}')
    expect(Object.hasOwn(value as object, 'constructor')).toBe(true)
    expect(Reflect.get({}, 'admin')).toBeUndefined()
  })
})

describe('B4 the depth of JSON', () => {
  const lists = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  const objects = (depth: number) => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth)
  const mixed = (depth: number) => '[{"a":'.repeat(depth / 2) + '1' + '}]'.repeat(depth / 2)

  it('may be 32, of lists, objects, or both', () => {
    expect(MAX_DEPTH).toBe(32)
    for (const json of [lists(32), objects(32), mixed(32)]) expect(refusalOf(json)).toBeUndefined()
  })

  it.each([33, 34, 1_000])('of %i is refused', (depth) => {
    for (const json of [lists(depth), objects(depth)]) {
      expect(refusalOf(json)).toEqual({ code: 'invalid_body', param: undefined })
    }
  })

  it('of 20,000 is refused as well, and costs little', () => {
    const startedAt = performance.now()
    expect(refusalOf(lists(20_000))?.code).toBe('invalid_body')
    expect(refusalOf('['.repeat(60_000))?.code).toBe('invalid_json')
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  })

  it('is counted down again behind a nested value', () => {
    expect(refusalOf(`[${Array(100).fill(lists(31)).join(',')}]`)).toBeUndefined()
    expect(refusalOf(`[${Array(100).fill(objects(31)).join(',')}]`)).toBeUndefined()
  })
})

describe('strict JSON', () => {
  type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
  const names = fc.string({ maxLength: 8, unit: 'binary' }).filter((name) => name !== '__proto__')
  const values = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, depthSize: 'small' },
      fc.constantFrom(null, true, false),
      fc.maxSafeInteger(),
      fc.string({ unit: 'binary' }),
      fc.array(tie('value'), { maxLength: 5 }),
      fc.dictionary(names, tie('value'), { maxKeys: 5 }),
    ),
  })).value

  /** Writes JSON in one of its many spellings, which `dice` chooses among. */
  function spell(value: Json, dice: () => number): string {
    const gap = () => ['', '', ' ', '\n', '\t\r'][dice() % 5] ?? ''
    if (typeof value === 'number') {
      // A number must not begin with two zeros.
      const tenth = value === 0 ? '0e-1' : `${value}0e-1`
      return [`${value}`, `${value}.0`, `${value}e0`, tenth][dice() % 4] ?? ''
    }
    if (typeof value === 'string') return spellText(value, dice)
    if (Array.isArray(value)) {
      return `[${value.map((one) => gap() + spell(one, dice) + gap()).join(',')}]`
    }
    if (typeof value !== 'object' || value === null) return JSON.stringify(value)
    const members = Object.entries(value).map(
      ([name, one]) => `${gap()}${spellText(name, dice)}${gap()}:${gap()}${spell(one, dice)}`,
    )
    return `{${members.join(',')}}`
  }

  function spellText(text: string, dice: () => number): string {
    const units = Array.from({ length: text.length }, (_, index) => text.charCodeAt(index))
    const isEscaped = dice() % 2 === 0
    return isEscaped
      ? `"${units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')}"`
      : JSON.stringify(text)
  }

  it('with unique names and whole numbers is what JSON.parse reads, however it is spelled', () => {
    fc.assert(
      fc.property(values, fc.array(fc.nat(), { minLength: 1, maxLength: 20 }), (value, rolls) => {
        let roll = 0
        const json = spell(value, () => rolls[roll++ % rolls.length] ?? 0)
        expect(parseStrictJson(json)).toEqual(JSON.parse(json))
        expect(parseStrictJson(json)).toEqual(value)
      }),
      { numRuns: 300 },
    )
  })

  const jsonCharacters = '{}[]:,"\\u0061aen1.-+tru flsE'.split('')

  it('never takes what JSON.parse refuses, and never throws anything but a problem', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...jsonCharacters) }), (text) => {
        const refusal = refusalOf(text)
        const isJson = canParse(text)
        if (!isJson) expect(refusal?.code).toBe('invalid_json')
        else expect(refusal?.code).not.toBe('invalid_json')
      }),
      { numRuns: 2_000 },
    )
  })

  it.each([
    ['cut short', `{"a":"${'canary'.repeat(1_000)}`],
    ['with a comma too many', '{"a":"canary",}'],
    ['with an unknown word', '{"a":canary}'],
    ['that is a bare word', 'canary'],
    ['with a second value', '{"a":1} "canary"'],
  ])('B22 is refused in a few words that repeat nothing of it: %s', (_, json) => {
    const error = catchProblem(() => parseStrictJson(json))
    expect(error.message).not.toContain('canary')
    expect(error.message.length).toBeLessThan(200)
  })
})

function canParse(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('a JSON pointer', () => {
  it('escapes tilde and slash, as RFC 6901 asks', () => {
    expect(toPointer([])).toBe('')
    expect(toPointer(['legs', 0, 'a/b', 'm~n', '~1', ''])).toBe('/legs/0/a~1b/m~0n/~01/')
  })
})

describe('the body of a request', () => {
  const app = new Hono()
    .onError((error, c) => {
      if (!(error instanceof Problem)) throw error
      return c.json({ code: error.code }, error.status, error.headers)
    })
    .post('/required', async (c) => c.json({ body: await readJsonBody(c) }))
    .post('/optional', async (c) => c.json({ body: await readOptionalJsonBody(c) }))

  async function send(
    body: string | Uint8Array | ReadableStream | null,
    headers: Record<string, string> = { 'content-type': 'application/json' },
    path = '/required',
  ): Promise<unknown> {
    const url = `http://localhost${path}`
    const request = new Request(url, { method: 'POST', body, headers, duplex: 'half' })
    return (await app.request(request)).json()
  }

  it('is read', async () => {
    expect(await send('{"a":"é😀"}')).toEqual({ body: { a: 'é😀' } })
  })

  it.each([
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le')],
    ['a byte order mark', Buffer.from('\ufeff{}')],
    ['a byte that is no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['an overlong form', Buffer.from([0x22, 0xc0, 0xaf, 0x22])],
    ['half a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ['a character cut short', Buffer.from([0x22, 0xc3, 0x22])],
    ['nothing', Buffer.alloc(0)],
  ])('B1 is no JSON where it is %s', async (_, bytes) => {
    expect(await send(bytes)).toEqual({ code: 'invalid_json' })
  })

  it.each([
    'application/json',
    'APPLICATION/JSON',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
    'application/json ; charset=utf-8 ',
  ])('B7 may be called %s', async (type) => {
    expect(await send('{}', { 'content-type': type })).toEqual({ body: {} })
  })

  it.each([
    'text/plain',
    'text/json',
    'application/jsonp',
    'application/problem+json',
    'application/json; charset=utf-16',
    'application/json; charset=iso-8859-1',
    'application/json, text/plain',
    'multipart/form-data',
    '',
  ])('B7 is refused where it is called %j', async (type) => {
    const headers: Record<string, string> = { 'content-type': type }
    expect(await send('{}', headers)).toEqual({ code: 'unsupported_media_type' })
  })

  it('B7 is refused where it is compressed', async () => {
    for (const encoding of ['gzip', 'br', 'deflate', 'gzip, identity']) {
      const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
      expect(await send('{}', headers)).toEqual({ code: 'unsupported_media_type' })
    }
  })

  const longest = `"${'x'.repeat(MAX_BODY_BYTES - 2)}"`

  it('B5 may have 64 KB', async () => {
    expect(MAX_BODY_BYTES).toBe(65_536)
    expect(await send(longest)).toEqual({ body: longest.slice(1, -1) })
    const length = { 'content-type': 'application/json', 'content-length': '65536' }
    expect(await send(longest, length)).toEqual({ body: longest.slice(1, -1) })
  })

  it('B5 is refused by its length before it is read', async () => {
    let wasRead = false
    const stream = new ReadableStream(
      {
        pull(controller) {
          wasRead = true
          controller.enqueue(Buffer.from('{}'))
          controller.close()
        },
      },
      { highWaterMark: 0 },
    )
    const headers = { 'content-type': 'application/json', 'content-length': '65537' }
    expect(await send(stream, headers)).toEqual({ code: 'body_too_large' })
    expect(wasRead).toBe(false)
  })

  it('B5 is refused as soon as it is too long, where no length is told', async () => {
    let chunks = 0
    const long = new ReadableStream({
      pull(controller) {
        chunks += 1
        if (chunks > 100) controller.close()
        else controller.enqueue(Buffer.alloc(16_384, 0x20))
      },
    })
    expect(await send(long)).toEqual({ code: 'body_too_large' })
    expect(chunks).toBeLessThan(10)
  })

  it('may be left out where nothing has to be said', async () => {
    expect(await send(null, {}, '/optional')).toEqual({ body: {} })
    expect(await send('{"amount":1}', undefined, '/optional')).toEqual({ body: { amount: 1 } })
    expect(await send('{}', { 'content-type': 'text/plain' }, '/optional')).toEqual({
      code: 'unsupported_media_type',
    })
    expect(await send(' ', undefined, '/optional')).toEqual({ code: 'invalid_json' })
  })
})
