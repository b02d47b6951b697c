import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeCursor, encodeCursor, type CursorScope } from '@payonce/api/cursor'
import { Problem } from '@payonce/api/problem'

const tenantA = '0190f0e0-0000-7000-8000-00000000000a'
const tenantB = '0190f0e0-0000-7000-8000-00000000000b'
const scope: CursorScope = { list: 'transfers/', tenantId: tenantA }
const position = ['0190f0e0-0000-7000-8000-000000000001', '2026-01-01T00:00:00.000Z', '7']

function isRefused(cursor: string, of: CursorScope = scope): boolean {
  try {
    decodeCursor(of, cursor)
    return false
  } catch (error) {
    expect(error).toBeInstanceOf(Problem)
    expect((error as Problem).code).toBe('invalid_cursor')
    return true
  }
}

describe('a cursor', () => {
  it('leads back to its position, whatever that is', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { maxLength: 4 }),
        (parts) => {
          expect(decodeCursor(scope, encodeCursor(scope, parts))).toEqual(parts)
        },
      ),
    )
  })

  it('can stand in a URL as it is', () => {
    expect(encodeCursor(scope, position)).toMatch(/^[A-Za-z0-9_-]+$/)
  })

  it('is well below the longest that is taken', () => {
    const list = `transfers/${tenantA}`
    expect(encodeCursor({ list, tenantId: tenantA }, position).length).toBeLessThan(300)
  })

  it.each<[string, CursorScope]>([
    ['another list', { ...scope, list: 'accounts' }],
    ['the same list of another account', { ...scope, list: `transfers/${tenantB}` }],
    ['another tenant', { ...scope, tenantId: tenantB }],
  ])('B26 opens no list but its own: not %s', (_, other) => {
    expect(isRefused(encodeCursor(other, position))).toBe(true)
    expect(isRefused(encodeCursor(scope, position), other)).toBe(true)
  })

  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

  it.each([
    ['the empty text', ''],
    ['a word', 'garbage'],
    ['a number', '1'],
    ['an id', position[0] ?? ''],
    ['emoji', '😀😀'],
    ['a NUL', '\u0000'],
    ['JSON that is no list', encoded({ list: 'transfers/' })],
    ['JSON null', encoded(null)],
    ['an empty list', encoded([])],
    ['a list of numbers', encoded([1, 2, 3])],
    ['a list in a list', encoded([['transfers/', tenantA.slice(-12)]])],
    ['a position by itself', encoded(position)],
    [
      'one made by hand for the list of another tenant',
      encoded(['transfers/', tenantB.slice(-12)]),
    ],
  ])('B26 is not %s', (_, cursor) => {
    expect(isRefused(cursor)).toBe(true)
  })

  it('B26 is not any text at all', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String()), (text) => {
        expect(isRefused(text)).toBe(true)
      }),
    )
  })

  it('B26 that was cut or mistyped is refused, whichever character it was', () => {
    const cursor = encodeCursor(scope, position)
    for (let index = 0; index < cursor.length; index += 1) {
      const other = cursor[index] === 'A' ? 'B' : 'A'
      expect(isRefused(cursor.slice(0, index))).toBe(true)
      expect(isRefused(cursor.slice(0, index) + other + cursor.slice(index + 1))).toBe(true)
    }
    expect(isRefused(`${cursor}A`)).toBe(true)
  })

  it.each(['=', '==', ' ', '\n', '!', '.'])('B26 with %j beside it is another text', (stray) => {
    const cursor = encodeCursor(scope, position)
    expect(isRefused(cursor + stray)).toBe(true)
    expect(isRefused(stray + cursor)).toBe(true)
    expect(isRefused(cursor.slice(0, 8) + stray + cursor.slice(8))).toBe(true)
  })
})
