import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fingerprint } from '@payonce/core/idempotency/fingerprint'

/** Any JSON, with texts of any characters but halves of one: those are refused before. */
const bodies = fc.jsonValue({ maxDepth: 2, stringUnit: 'binary' })

function ofJson(json: string): string {
  return of(JSON.parse(json))
}

function of(body: unknown): string {
  return fingerprint({ method: 'POST', route: '/v1/transfers', body }).toString('hex')
}

describe('I16 two spellings of one request have one fingerprint:', () => {
  it.each([
    ['other order of members', '{"a":1,"b":2}', '{"b":2,"a":1}'],
    ['other order deeper inside', '{"m":{"x":"1","y":"2"}}', '{"m":{"y":"2","x":"1"}}'],
    ['white space', '{"a":[1,2]}', ' {\n\t"a" : [ 1 , 2 ]\r\n} '],
    ['1000.0 for 1000', '{"amount":1000}', '{"amount":1000.0}'],
    ['1e3 for 1000', '{"amount":1000}', '{"amount":1e3}'],
    ['10E+2 for 1000', '{"amount":1000}', '{"amount":10E+2}'],
    ['an escape for a letter', '{"a":"A"}', '{"a":"\\u0041"}'],
    ['an escape in a name', '{"a":"A"}', '{"\\u0061":"A"}'],
    ['an escaped slash', '{"a":"/"}', '{"a":"\\/"}'],
    ['escaped surrogates for an emoji', '{"a":"😀"}', '{"a":"\\ud83d\\ude00"}'],
    ['other case of an escape', '{"a":"\\u00e9"}', '{"a":"\\u00E9"}'],
  ])('%s', (_, one, other) => {
    expect(ofJson(one)).toBe(ofJson(other))
  })
})

describe('I17 two requests that are not the same have two fingerprints:', () => {
  it.each([
    ['null and absent', '{"a":1,"b":null}', '{"a":1}'],
    ['an empty object and absent', '{"a":1,"metadata":{}}', '{"a":1}'],
    ['an empty text and null', '{"a":""}', '{"a":null}'],
    ['a default spelled out', '{"currency":"EUR","kind":"internal"}', '{"currency":"EUR"}'],
    ['items in another order', '{"legs":[1,2]}', '{"legs":[2,1]}'],
    ['NFC and NFD', '{"a":"\\u00e9"}', '{"a":"e\\u0301"}'],
    ['a number and its text', '{"a":1}', '{"a":"1"}'],
    ['other case of a text', '{"a":"x"}', '{"a":"X"}'],
    ['other case of a name', '{"a":1}', '{"A":1}'],
    ['a space in a text', '{"a":"x"}', '{"a":"x "}'],
    ['true and 1', '{"a":true}', '{"a":1}'],
    ['a nested and a flat member', '{"a":{"b":1}}', '{"a":1,"b":1}'],
    [
      'I18 the largest amount and the one below',
      '{"a":9007199254740991}',
      '{"a":9007199254740990}',
    ],
  ])('%s', (_, one, other) => {
    expect(ofJson(one)).not.toBe(ofJson(other))
  })

  it('other methods, routes and bodies, however they are glued together', () => {
    const requests = [
      { method: 'POST', route: '/v1/transfers', body: {} },
      { method: 'POST', route: '/v1/accounts', body: {} },
      { method: 'PUT', route: '/v1/transfers', body: {} },
      { method: 'POST', route: '/v1/transfers/tr_1/refund', body: {} },
      { method: 'POST', route: '/v1/transfers/tr_2/refund', body: {} },
      { method: 'POST', route: '/v1/transfers', body: undefined },
      { method: 'POST', route: '/v1/transfers', body: null },
      { method: 'POST', route: '/v1/transfers', body: [] },
      { method: 'POST\n/v1', route: '/transfers', body: {} },
      { method: 'POST', route: '/v1/transfers\n{}', body: undefined },
    ]
    const fingerprints = requests.map((request) => fingerprint(request).toString('hex'))
    expect(new Set(fingerprints).size).toBe(requests.length)
  })
})

describe('a fingerprint', () => {
  it('stays the same for ever: stored ones are compared with it', () => {
    const body = {
      source: 'acc_0190f0e0000070008000000000000001',
      destination: 'acc_0190f0e0000070008000000000000002',
      amount: 1000,
      currency: 'EUR',
      description: 'Café 😀',
      metadata: { order: '7', b: '2', a: '1', 10: 'ten', 9: 'nine' },
    }
    expect(of(body)).toBe('5e3b3a8bf19f1f5e749daf12dae83199fc1bfcc3ed8c0b5ea8ff42284aa1d1fc')
    expect(fingerprint({ method: 'POST', route: '/v1/transfers/x', body: undefined })).toEqual(
      Buffer.from('35906adfd1021bcb499caa12fe4e0d12c3d5f69f03a17c2643206e4b370e71a2', 'hex'),
    )
  })

  it('is a SHA-256', () => {
    expect(of({})).toMatch(/^[0-9a-f]{64}$/)
  })

  it('does not depend on the order in which members were made, at any depth', () => {
    fc.assert(
      fc.property(bodies, (value) => {
        expect(of(reversed(value))).toBe(of(value))
      }),
    )
  })

  it('is shared by no two requests that differ', () => {
    fc.assert(
      fc.property(bodies, bodies, (one, other) => {
        expect(of(one) === of(other)).toBe(isSame(one, other))
      }),
    )
  })

  it('refuses what cannot be written in one way only', () => {
    expect(() => of({ a: '\ud800' })).toThrow(/surrogate/)
    expect(() => of({ a: Number.NaN })).toThrow(/NaN/)
    expect(() => of({ a: Number.POSITIVE_INFINITY })).toThrow(/Infinity/)
  })
})

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, member]) => [name, reversed(member)]),
  )
}

/** Whether two JSON values are one; -0 and 0 are one number, as in RFC 8785. */
function isSame(one: unknown, other: unknown): boolean {
  const withoutMinusZero = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
  return isDeepStrictEqual(withoutMinusZero(one), withoutMinusZero(other))
}
