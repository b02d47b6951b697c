/**
 * The idempotency key of an order: `PREFIX:ORDER-ID`, the id percent-encoded as by
 * `encodeURIComponent`. Encoding is what makes the key collision-free: an encoded id holds no
 * colon, so the last colon always ends the prefix, and no two ids encode alike. It also keeps
 * out what a key must not hold (comma, backslash, quote, anything beyond visible ASCII).
 */
export function orderKey(prefix: string, orderId: string): string {
  return `${prefix}:${encodeURIComponent(orderId)}`
}

/**
 * The reference of an account: `ROLE:CURRENCY:BANK:NUMBER`, each part percent-encoded. A payer
 * and a receiver with one number are two accounts, and so are one number at two banks or in two
 * currencies. It does not depend on the prefix, so that next month's file finds the same accounts.
 */
export function accountReference(identity: AccountIdentity, currency: string): string {
  const { role, bank, number } = identity
  return [role, currency, bank, number].map(encodeURIComponent).join(':')
}

/** The idempotency key under which the account with this reference is opened. */
export function accountKey(reference: string): string {
  return `${ACCOUNT_PREFIX}:${reference}`
}

/** A name for people: `Receiver 87144583 at YZ`. */
export function accountName({ role, bank, number }: AccountIdentity): string {
  const title = role === 'payer' ? 'Payer' : 'Receiver'
  return bank === '' ? `${title} ${number}` : `${title} ${number} at ${bank}`
}

/** What speaks against this prefix, if anything does. */
export function prefixProblem(prefix: string): string | undefined {
  if (!/^[\x21-\x7e]+$/.test(prefix) || /[,\\"]/.test(prefix)) {
    return 'a prefix is made of visible ASCII characters without comma, backslash and quote'
  }
  // Leaves most of a key's 255 characters to the order id.
  if (prefix.length > 100) return 'a prefix has at most 100 characters'
  if (prefix === ACCOUNT_PREFIX || prefix.startsWith(`${ACCOUNT_PREFIX}:`)) {
    return `the prefix "${ACCOUNT_PREFIX}" is taken by the keys of accounts`
  }
  return undefined
}

export type AccountIdentity = { role: 'payer' | 'receiver'; bank: string; number: string }

/** Payonce's limit of an idempotency key. */
export const MAX_KEY_LENGTH = 255

/** Payonce's limit of an account's reference and name; with its prefix it is well below a key's. */
export const MAX_REFERENCE_LENGTH = 200

const ACCOUNT_PREFIX = 'account'
