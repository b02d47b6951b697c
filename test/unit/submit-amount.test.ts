import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatAmount, parseAmount } from '../../apps/cli/src/submit/amount.ts'

const euro = { currency: 'EUR', digits: 2, decimalSeparator: '.' } as const
const yen = { currency: 'JPY', digits: 0, decimalSeparator: '.' } as const
const dinar = { currency: 'KWD', digits: 3, decimalSeparator: '.' } as const

describe('amounts become minor units', () => {
  it.each([
    ['245.20', euro, 24520n],
    ['245.2', euro, 24520n],
    ['245', euro, 24500n],
    ['0.01', euro, 1n],
    ['.80', euro, 80n],
    ['007.50', euro, 750n],
    ['1.005', dinar, 1005n],
    ['1200', yen, 1200n],
    // A double holds neither of these: it would give 7205759403792793 and …793.
    ['72057594037927.93', euro, 7205759403792793n],
    ['90071992547409.91', euro, 9007199254740991n],
  ])('%s', (text, form, minorUnits) => {
    expect(parseAmount(text, form)).toEqual({ minorUnits })
  })

  it('with a decimal comma where that is asked for', () => {
    const german = { ...euro, decimalSeparator: ',' } as const
    expect(parseAmount('1250,5', german)).toEqual({ minorUnits: 125050n })
    expect(parseAmount('1250.5', german).problem).toContain('--decimal-separator .')
  })

  it('and back to the same text, for every amount and every number of digits', () => {
    const amounts = fc.bigInt({ min: 1n, max: 9007199254740991n })
    fc.assert(
      fc.property(amounts, fc.integer({ min: 0, max: 4 }), (minorUnits, digits) => {
        const form = { ...euro, digits }
        expect(parseAmount(formatAmount(minorUnits, form), form)).toEqual({ minorUnits })
      }),
    )
  })
})

describe('an amount is refused that', () => {
  it.each([
    ['is empty', '', euro, /empty/],
    ['is zero', '0.00', euro, /zero/],
    ['is negative', '-5.00', euro, /negative.*swap/],
    ['has a plus sign', '+5', euro, /plain decimal/],
    ['has an exponent', '1e3', euro, /plain decimal/],
    ['is hexadecimal', '0x10', euro, /plain decimal/],
    ['ends in its separator', '5.', euro, /plain decimal/],
    ['is only a separator', '.', euro, /plain decimal/],
    ['has two separators', '1.2.3', euro, /plain decimal/],
    ['groups its thousands', '1,234.50', euro, /no grouping.*--decimal-separator ,/],
    ['groups by spaces', '1 234.50', euro, /no grouping/],
    ['names a currency', '5.00 EUR', euro, /no currency/],
    ['is written in other digits', '٥', euro, /plain decimal/],
    ['is no number', 'NaN', euro, /plain decimal/],
    ['has more places than the currency', '12.345', euro, /3 decimal places, EUR has at most 2/],
    ['has zeros for places beyond the currency', '12.500', euro, /3 decimal places/],
    ['has places where the currency has none', '12.5', yen, /JPY has none/],
    ['is above 2^53 - 1', '90071992547409.92', euro, /largest.*90071992547409\.91/],
  ])('%s', (_, text, form, problem) => {
    expect(parseAmount(text, form).problem).toMatch(problem)
  })
})
