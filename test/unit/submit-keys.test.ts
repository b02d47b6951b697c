import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  accountKey,
  accountName,
  accountReference,
  orderKey,
  prefixProblem,
} from '../../apps/cli/src/submit/keys.ts'

describe('the key of an order', () => {
  it('is readable where the id is', () => {
    expect(orderKey('order', '29401')).toBe('order:29401')
    expect(orderKey('2026-07', 'A-1_b.c~d')).toBe('2026-07:A-1_b.c~d')
  })

  it('encodes what a key cannot hold', () => {
    expect(orderKey('order', 'a,b\\c"d é%:/')).toBe('order:a%2Cb%5Cc%22d%20%C3%A9%25%3A%2F')
  })

  it('is accepted by Payonce for every prefix and id', () => {
    fc.assert(
      fc.property(prefixes, ids, (prefix, id) => {
        expect(orderKey(prefix, id)).toMatch(/^[\x21-\x7e]+$/)
        expect(orderKey(prefix, id)).not.toMatch(/[,\\"]/)
      }),
    )
  })

  it('differs wherever prefix or id differ', () => {
    fc.assert(
      fc.property(prefixes, ids, prefixes, ids, (prefix, id, otherPrefix, otherId) => {
        fc.pre(prefix !== otherPrefix || id !== otherId)
        expect(orderKey(prefix, id)).not.toBe(orderKey(otherPrefix, otherId))
      }),
    )
    expect(orderKey('a', 'b:c')).not.toBe(orderKey('a:b', 'c'))
    expect(orderKey('a', '%3A')).not.toBe(orderKey('a', ':'))
  })

  it('never meets the key of an account', () => {
    const payer = { role: 'payer', bank: '', number: '1' } as const
    const key = accountKey(accountReference(payer, 'EUR'))
    expect(key).toBe('account:payer:EUR::1')
    expect(prefixProblem('account:payer:EUR:')).toMatch(/taken/)
    expect(prefixProblem('account')).toMatch(/taken/)
    expect(prefixProblem('accounting')).toBeUndefined()
  })
})

describe('a prefix is refused that', () => {
  it.each([
    ['is empty', ''],
    ['holds a space', 'a b'],
    ['holds a comma', 'a,b'],
    ['holds a backslash', 'a\\b'],
    ['holds a quote', 'a"b'],
    ['is not ASCII', 'bücher'],
    ['is longer than 100 characters', 'x'.repeat(101)],
  ])('%s', (_, prefix) => {
    expect(prefixProblem(prefix)).toBeDefined()
  })
})

describe('the reference of an account', () => {
  it('keeps payer and receiver, banks, numbers and currencies apart', () => {
    const references = [
      accountReference({ role: 'payer', bank: 'YZ', number: '1' }, 'EUR'),
      accountReference({ role: 'receiver', bank: 'YZ', number: '1' }, 'EUR'),
      accountReference({ role: 'payer', bank: '', number: '1' }, 'EUR'),
      accountReference({ role: 'payer', bank: 'YZ', number: '1' }, 'USD'),
      accountReference({ role: 'payer', bank: 'YZ:1', number: '' }, 'EUR'),
      accountReference({ role: 'payer', bank: 'Y', number: 'Z:1' }, 'EUR'),
    ]
    expect(new Set(references).size).toBe(references.length)
    expect(references[0]).toBe('payer:EUR:YZ:1')
  })

  it('comes with a name for people', () => {
    expect(accountName({ role: 'receiver', bank: 'YZ', number: '87144583' })).toBe(
      'Receiver 87144583 at YZ',
    )
    expect(accountName({ role: 'payer', bank: '', number: '1' })).toBe('Payer 1')
  })
})

const prefixes = fc
  .string({ minLength: 1, maxLength: 12, unit: letters('ab:%.-_3A') })
  .filter((prefix) => prefixProblem(prefix) === undefined)

// Well-formed text of any script, with the characters that keys forbid well represented.
const ids = fc.oneof(
  fc.string({ minLength: 1, unit: 'grapheme' }),
  fc.string({ minLength: 1, unit: letters('ab:%3A,\\" é') }),
)

function letters(text: string) {
  return fc.constantFrom(...text.split(''))
}
