/*
 * Text of clients within a journal of hledger. What the format would read as something of its own is
 * written as in a URL (%3B for a semicolon), and so is a percent sign that stands before two
 * hexadecimal digits: whoever decodes these gets back exactly what the client sent.
 */

/**
 * Control characters, every space but the plain one, what turns the direction of writing and so
 * hides what is there, and plain spaces at either end, which hledger would drop.
 */
const always =
  '%(?=[0-9A-Fa-f]{2})|[\\p{Cc}\\p{Zl}\\p{Zp}\\u200E\\u200F\\u202A-\\u202E\\u2066-\\u2069\\uFEFF]|(?! )\\p{Zs}|^ | $'

/** A semicolon begins a comment, a bar parts payee and note. */
const inDescription = new RegExp(`${always}|[;|]`, 'gu')
/** A comma ends the value of a tag. */
const inTagValue = new RegExp(`${always}|,`, 'gu')
/** A colon ends the name of a tag, a space or a comma begins another. */
const inTagName = new RegExp(`${always}|[ ,:;]`, 'gu')
/** A colon parts the levels of a name, two spaces end it. */
const inAccountName = new RegExp(`${always}|[:;]| (?= )`, 'gu')

export function escapeDescription(text: string): string {
  return text.replace(inDescription, encodeURIComponent)
}

export function escapeTagValue(text: string): string {
  return text.replace(inTagValue, encodeURIComponent)
}

export function escapeTagName(text: string): string {
  return text.replace(inTagName, encodeURIComponent)
}

export function escapeAccountName(text: string): string {
  return text.replace(inAccountName, encodeURIComponent)
}
