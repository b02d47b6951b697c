import { crc32 } from 'node:zlib'
import { Problem } from './problem.ts'

/** Which list of which tenant a cursor was made for: it opens no other one. */
export type CursorScope = { list: string; tenantId: string }

/**
 * Cursors are opaque to clients: a position, and the list it belongs to. They are no secrets, since
 * every query names its tenant by itself. A checksum tells those that were cut or mistyped, which
 * would else be a page from somewhere else in the list.
 */
export function encodeCursor(scope: CursorScope, position: readonly string[]): string {
  const text = Buffer.from(JSON.stringify([scope.list, scope.tenantId.slice(-12), ...position]))
  return Buffer.concat([checksum(text), text]).toString('base64url')
}

/** The position in a cursor. Throws the `Problem` of one that was made up or belongs elsewhere. */
export function decodeCursor(scope: CursorScope, cursor: string): string[] {
  const parts = parse(cursor)
  if (parts === undefined || parts[0] !== scope.list || parts[1] !== scope.tenantId.slice(-12)) {
    throw invalidCursor()
  }
  return parts.slice(2)
}

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The id in a position that is one. */
export function idPosition([id = '']: readonly string[]): string {
  if (!uuidForm.test(id)) throw invalidCursor()
  return id
}

export function invalidCursor(): Problem {
  return new Problem('invalid_cursor', 'Send a cursor as next_cursor gave it, to the same list.')
}

function parse(cursor: string): string[] | undefined {
  const bytes = Buffer.from(cursor, 'base64url')
  const text = bytes.subarray(checksumBytes)
  // Node skips what is not base64url: only the very text that was given out counts.
  const isWhole = bytes.toString('base64url') === cursor && bytes.length > checksumBytes
  if (!isWhole || !checksum(text).equals(bytes.subarray(0, checksumBytes))) return undefined
  try {
    const parts: unknown = JSON.parse(text.toString())
    const isTexts = Array.isArray(parts) && parts.every((part) => typeof part === 'string')
    return isTexts ? parts : undefined
  } catch {
    return undefined
  }
}

const checksumBytes = 4

function checksum(text: Buffer): Buffer {
  const sum = Buffer.alloc(checksumBytes)
  sum.writeUInt32BE(crc32(text))
  return sum
}
