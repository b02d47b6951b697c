/**
 * The ledger's final answers of no. A refusal is a result and no exception: the transfer ends as
 * `failed` with one of these codes, and its idempotency key stays bound to it for ever.
 * The messages are part of the wire: clients may show them, tests hold them.
 */
export const refusalMessages = {
  account_closed: 'An account of this transfer is closed.',
  account_frozen: 'An account of this transfer is frozen.',
  already_refunded: 'Nothing is left to be refunded.',
  balance_limit_exceeded: 'A balance would pass the largest amount that can be held.',
  batch_aborted: 'Another transfer of the same atomic batch was refused.',
  capture_exceeds_remaining: 'The amount is more than what is left of the hold.',
  condition_not_met: 'The source was not in the state that the request made a condition.',
  hold_already_captured: 'The hold was captured before, and nothing of it is left.',
  hold_already_released: 'The hold was released before.',
  hold_expired: 'The hold had expired.',
  insufficient_funds: 'The source has less available than the amount.',
  internal_error: 'The transfer could not be carried out and was ended by an operator.',
  parent_canceled: 'The transfer that this one builds on was canceled.',
  parent_expired: 'The transfer that this one builds on had expired.',
  parent_failed: 'The transfer that this one builds on has failed.',
  parent_not_settled: 'The transfer that this one builds on is not settled yet.',
  refund_exceeds_remaining: 'The amount is more than what is left to be refunded.',
} as const

export type RefusalCode = keyof typeof refusalMessages

export function isRefusalCode(code: string): code is RefusalCode {
  return Object.hasOwn(refusalMessages, code)
}
