import { createHash } from 'node:crypto'
import type { Context } from 'hono'

/** A strong validator (RFC 9110, section 8.8): the hash of the very bytes that are sent. */
export function entityTagOf(bytes: string | Uint8Array): string {
  return `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 27)}"`
}

/** Whether the client has what this tag stands for (`If-None-Match`), so that a 304 will do. */
export function isKnownToClient(c: Context, tag: string): boolean {
  const known = c.req
    .header('if-none-match')
    ?.split(',')
    .map((one) => one.trim().replace(/^W\//, ''))
  return known !== undefined && (known.includes(tag) || known.includes('*'))
}
