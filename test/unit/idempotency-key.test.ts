import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_KEY_LENGTH, parseIdempotencyKey } from '@payonce/core/idempotency/key'

describe('I37 no idempotency key is', () => {
  it.each([
    ['the empty text', ''],
    ['a space', ' '],
    ['several spaces', '    '],
    ['256 characters', 'k'.repeat(256)],
    ['a text with a space inside', 'a b'],
    ['a text with a space around it', ' a'],
    ['a tab', '\t'],
    ['a text with a line feed', 'a\nb'],
    ['a text that ends in a line feed', 'a\n'],
    ['a text with a NUL', 'a\u0000'],
    ['a text with a DEL', 'a\u007f'],
    ['a letter beyond ASCII', 'schlüssel'],
    ['an emoji', '🔑'],
    ['full-width letters', 'ＡＢＣ'],
    ['what a doubled header becomes', 'a, b'],
    ['a comma', 'a,b'],
    ['a backslash', 'a\\b'],
    ['a quote inside', 'a"b'],
    ['a single quote mark', '"'],
    ['a quoted empty text', '""'],
    ['a text that opens a quote', '"a'],
    ['a text that closes a quote', 'a"'],
    ['a text quoted twice', '""a""'],
    ['a quoted text with an escaped quote', '"a\\"b"'],
    ['a quoted text with a comma', '"a,b"'],
    ['a quoted text with a space', '"a b"'],
    ['a quoted text of 256 characters', `"${'k'.repeat(256)}"`],
  ])('%s', (_, text) => {
    expect(parseIdempotencyKey(text)).toBeUndefined()
  })
})

describe('an idempotency key', () => {
  it('I37 may have 255 characters, and is never cut', () => {
    const longest = 'k'.repeat(255)
    expect(MAX_KEY_LENGTH).toBe(255)
    expect(parseIdempotencyKey(longest)).toBe(longest)
  })

  it('I39 is the same quoted and bare, the quotes not counted', () => {
    const longest = 'k'.repeat(255)
    expect(parseIdempotencyKey('"abc"')).toBe(parseIdempotencyKey('abc'))
    expect(parseIdempotencyKey(`"${longest}"`)).toBe(longest)
  })

  it('I39 is another one in other case', () => {
    expect(parseIdempotencyKey('abc')).not.toBe(parseIdempotencyKey('ABC'))
  })

  it('may have every visible ASCII character but comma, backslash and quote', () => {
    const visible = Array.from({ length: 0x7f - 0x21 }, (_, index) =>
      String.fromCharCode(0x21 + index),
    )
    const allowed = visible.filter((character) => parseIdempotencyKey(character) !== undefined)
    expect(visible.filter((character) => !allowed.includes(character))).toEqual(['"', ',', '\\'])
  })

  it('of visible characters is taken as it is, and nothing else is ever taken', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300, unit: 'binary-ascii' }), (text) => {
        const key = parseIdempotencyKey(text)
        if (key === undefined) return
        expect(text === key || text === `"${key}"`).toBe(true)
        expect(key).toMatch(/^[!-~]{1,255}$/)
        expect(key).not.toMatch(/[",\\]/)
      }),
    )
  })

  it('read from its own key is that key', () => {
    const keys = fc.stringMatching(/^[!#-+\--[\]-~]{1,255}$/)
    fc.assert(
      fc.property(keys, (key) => {
        expect(parseIdempotencyKey(key)).toBe(key)
        expect(parseIdempotencyKey(`"${key}"`)).toBe(key)
      }),
    )
  })
})
