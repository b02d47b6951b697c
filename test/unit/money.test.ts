import { describe, expect, it } from 'vitest'
import { MAX_AMOUNT, isCurrency, minorUnitDigits } from '@payonce/core/money'

describe('an amount', () => {
  it('goes up to the largest integer that every JSON reader keeps exact', () => {
    expect(MAX_AMOUNT).toBe(2n ** 53n - 1n)
    expect(BigInt(Number(MAX_AMOUNT))).toBe(MAX_AMOUNT)
    expect(Number.isSafeInteger(Number(MAX_AMOUNT) + 1)).toBe(false)
  })
})

describe('a currency', () => {
  it.each(['EUR', 'USD', 'JPY', 'KWD', 'CHF'])('is %s', (code) => {
    expect(isCurrency(code)).toBe(true)
  })

  it.each([
    ['in lower case', 'usd'],
    ['in mixed case', 'Eur'],
    ['with four letters', 'EURO'],
    ['with two letters', 'EU'],
    ['the empty text', ''],
    ['with a space', 'EUR '],
    ['that means no currency', 'XXX'],
    ['that is reserved for tests', 'XTS'],
    ['that nobody knows', 'ZZZ'],
    ['by number', '978'],
    ['that is a name of JavaScript', 'constructor'],
    ['that is the prototype', '__proto__'],
    ['that looks like EUR', 'ЕUR'],
  ])('B11 is none %s', (_, code) => {
    expect(isCurrency(code)).toBe(false)
  })

  it.each([
    ['EUR', 2],
    ['JPY', 0],
    ['KWD', 3],
    ['CLF', 4],
  ])('%s has %i digits after the separator', (code, digits) => {
    expect(minorUnitDigits(code)).toBe(digits)
  })

  it('that is unknown has no digits to tell', () => {
    expect(() => minorUnitDigits('XXX')).toThrow(/XXX/)
  })
})
