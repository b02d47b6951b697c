/** The longest key, in characters: as at Stripe. A longer one is refused, never cut. */
export const MAX_KEY_LENGTH = 255

/**
 * Visible ASCII without comma, backslash and double quote, as a class of a regular expression. A
 * comma is what joins a header that was sent twice; the other two would make a quoted
 * structured-field string ambiguous.
 */
export const KEY_CHARACTER = '[!#-+\\--[\\]-~]'

const bareKey = new RegExp(`^${KEY_CHARACTER}+$`)

/**
 * The key that a client's text names, or undefined where it names none. A structured-field string
 * (`"K"`, RFC 8941 section 3.3.3) and the bare `K` name the same key; case matters.
 */
export function parseIdempotencyKey(text: string): string | undefined {
  const key = isQuoted(text) ? text.slice(1, -1) : text
  return key.length <= MAX_KEY_LENGTH && bareKey.test(key) ? key : undefined
}

function isQuoted(text: string): boolean {
  return text.length >= 2 && text.startsWith('"') && text.endsWith('"')
}
