/**
 * The ledger's final answers of no. A refusal is a result and no exception: the transfer ends as
 * `failed` with one of these codes, and its idempotency key stays bound to it for ever.
 * The messages are part of the wire: clients may show them, tests hold them.
 */
export const refusalMessages = {
  account_closed: 'An account of this transfer is closed.',
  account_frozen: 'An account of this transfer is frozen.',
  balance_limit_exceeded: 'A balance would pass the largest amount that can be held.',
  insufficient_funds: 'The source has less available than the amount.',
  internal_error: 'The transfer could not be carried out and was ended by an operator.',
} as const

export type RefusalCode = keyof typeof refusalMessages

export function isRefusalCode(code: string): code is RefusalCode {
  return Object.hasOwn(refusalMessages, code)
}
