import { MAX_AMOUNT } from '@payonce/core/money'

/**
 * Turns decimal text into integer minor units, digit by digit and never through a float.
 * Refuses what could be read in two ways (grouping separators, more decimal places than the
 * currency has) instead of guessing: `12.500` is twelve and a half to one reader and twelve
 * thousand five hundred to the next.
 */
export function parseAmount(text: string, form: AmountForm): ParsedAmount {
  const match = form.decimalSeparator === '.' ? POINT.exec(text) : COMMA.exec(text)
  if (match === null) return { problem: malformed(text, form) }
  const [, whole = '', fraction = ''] = match
  if (fraction.length > form.digits) return { problem: tooFine(text, fraction, form) }
  const minorUnits = BigInt(whole + fraction.padEnd(form.digits, '0'))
  if (minorUnits === 0n) {
    return { problem: `amount ${quote(text)} is zero: remove the row, or correct the amount` }
  }
  if (minorUnits > MAX_AMOUNT) {
    const most = formatAmount(MAX_AMOUNT, form)
    return { problem: `amount ${quote(text)} is above the largest that can be moved, ${most}` }
  }
  return { minorUnits }
}

/** The amount in the currency's major units, as decimal text without grouping: `2122899.36`. */
export function formatAmount(minorUnits: bigint, form: { digits: number }): string {
  const text = minorUnits.toString().padStart(form.digits + 1, '0')
  if (form.digits === 0) return text
  return `${text.slice(0, -form.digits)}.${text.slice(-form.digits)}`
}

export type AmountForm = {
  currency: string
  /** Decimal places of the currency, by ISO 4217. */
  digits: number
  decimalSeparator: '.' | ','
}

export type ParsedAmount =
  | { minorUnits: bigint; problem?: never }
  | { minorUnits?: never; problem: string }

function malformed(text: string, form: AmountForm): string {
  if (text === '') return 'the amount is empty: fill it in, or remove the row'
  if (text.startsWith('-')) {
    return `amount ${quote(text)} is negative: only positive amounts can be moved; swap payer and receiver, or remove the row`
  }
  const other = form.decimalSeparator === '.' ? ',' : '.'
  const hint = text.includes(other)
    ? `; if "${other}" marks its decimals, give --decimal-separator ${other}`
    : ''
  return `amount ${quote(text)} is not a plain decimal number: write digits with at most one "${form.decimalSeparator}" between them, no sign, no grouping, no currency${hint}`
}

function tooFine(text: string, fraction: string, form: AmountForm): string {
  const has = form.digits === 0 ? 'none' : `at most ${form.digits}`
  return `amount ${quote(text)} has ${fraction.length} decimal places, ${form.currency} has ${has}: correct the amount, or the --currency`
}

// Some tools leave the zero away: `.80` can only be 0.80. `80.` may be a cut-off number.
const POINT = /^([0-9]+|(?=\.))(?:\.([0-9]+))?$/
const COMMA = /^([0-9]+|(?=,))(?:,([0-9]+))?$/

function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)
}
