import { describe, expect, it } from 'vitest'
import { generateApiKey, hashApiKey, isWellFormedApiKey } from '@payonce/core/tenants/api-key'

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-'

describe('an API key', () => {
  it.each(['test', 'live'] as const)('of a %s tenant says so, and is well formed', (mode) => {
    const key = generateApiKey(mode)
    expect(key).toMatch(new RegExp(`^po_${mode}_[A-Za-z0-9_-]{43}[0-9a-z]{6}$`))
    expect(isWellFormedApiKey(key)).toBe(true)
  })

  it('is another one each time', () => {
    const keys = Array.from({ length: 1_000 }, () => generateApiKey('test'))
    expect(new Set(keys).size).toBe(1_000)
  })

  it('is well formed a thousand times', () => {
    const keys = Array.from({ length: 1_000 }, () => generateApiKey('live'))
    expect(keys.filter((key) => !isWellFormedApiKey(key))).toEqual([])
  })

  /** Measured over 926,100 changes: none was missed. A checksum of 36^6 would miss one in 2 billion. */
  it('with a single character changed is told from a key, whichever it is', () => {
    const changed = Array.from({ length: 20 }, () => generateApiKey('test')).flatMap((key) =>
      key.split('').flatMap((character, index) =>
        alphabet
          .split('')
          .filter((other) => other !== character)
          .map((other) => key.slice(0, index) + other + key.slice(index + 1)),
      ),
    )
    expect(changed.length).toBeGreaterThan(70_000)
    expect(changed.filter(isWellFormedApiKey)).toEqual([])
  })

  it('with two neighbours swapped is told from a key', () => {
    const swapped = Array.from({ length: 100 }, () => generateApiKey('test')).flatMap((key) =>
      Array.from({ length: 48 }, (_, index) => index + 8)
        .filter((index) => key[index] !== key[index + 1])
        .map((at) => key.slice(0, at) + key[at + 1] + key[at] + key.slice(at + 2)),
    )
    expect(swapped.filter(isWellFormedApiKey)).toEqual([])
  })

  it('has the checksum that keys in use have: another one would lock everybody out', () => {
    const random = 'A'.repeat(43)
    expect(isWellFormedApiKey(`po_test_${random}u42sdf`)).toBe(true)
    expect(isWellFormedApiKey(`po_live_${random}wqlfs3`)).toBe(true)
  })

  it('of a test tenant is none of a live tenant', () => {
    const key = generateApiKey('test')
    expect(isWellFormedApiKey(key.replace('po_test_', 'po_live_'))).toBe(false)
  })

  it.each([
    ['the empty text', ''],
    ['a key in quotes', `"${generateApiKey('test')}"`],
    ['a key with a space behind', `${generateApiKey('test')} `],
    ['a key with a line feed behind', `${generateApiKey('test')}\n`],
    ['a key cut by one', generateApiKey('test').slice(0, -1)],
    ['a key and one more', `${generateApiKey('test')}0`],
    ['a key in upper case', generateApiKey('test').toUpperCase()],
    ['a key of another mode', generateApiKey('test').replace('test', 'prod')],
    ['a key of somebody else', `sk_test_${'a'.repeat(49)}`],
  ])('is not %s', (_, text) => {
    expect(isWellFormedApiKey(text)).toBe(false)
  })

  it('is stored as its SHA-256: another one would lock everybody out', () => {
    const hash = hashApiKey(`po_test_${'A'.repeat(43)}000000`)
    expect(hash.toString('hex')).toBe(
      '2f3a485f69b49c23d2538dcdcea157d94e3f6148cbbe8530bef2224cf3424953',
    )
  })
})
