import currencyCodes from 'currency-codes'

/**
 * The largest amount and balance, in minor units: 2^53 - 1, the largest integer that every JSON
 * reader keeps exact (RFC 8259, section 6). A balance may reach it with either sign.
 */
export const MAX_AMOUNT = 9007199254740991n

/** Codes of ISO 4217 that name no money: "no currency" and the code reserved for tests. */
const notMoney = new Set(['XXX', 'XTS'])

const currencies = new Map(
  currencyCodes.data
    .filter((currency) => !notMoney.has(currency.code))
    .map((currency) => [currency.code, currency.digits]),
)

/** Whether `code` is an upper-case ISO 4217 code of a currency in which money can be held. */
export function isCurrency(code: string): boolean {
  return currencies.has(code)
}

/** The number of digits after the decimal separator (EUR 2, JPY 0), by ISO 4217. */
export function minorUnitDigits(currency: string): number {
  const digits = currencies.get(currency)
  if (digits === undefined) throw new RangeError(`unknown currency ${currency}`)
  return digits
}
