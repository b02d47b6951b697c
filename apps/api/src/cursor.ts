import { Problem } from './problem.ts'

/** Which list of which tenant a cursor was made for: it opens no other one. */
export type CursorScope = { list: string; tenantId: string }

/**
 * Cursors are opaque to clients: a position, and the list it belongs to. They are no secrets, since
 * every query names its tenant by itself.
 */
export function encodeCursor(scope: CursorScope, position: readonly string[]): string {
  const text = JSON.stringify([scope.list, scope.tenantId.slice(-12), ...position])
  return Buffer.from(text).toString('base64url')
}

/** The position in a cursor. Throws the `Problem` of one that was made up or belongs elsewhere. */
export function decodeCursor(scope: CursorScope, cursor: string): string[] {
  const parts = parse(cursor)
  if (parts === undefined || parts[0] !== scope.list || parts[1] !== scope.tenantId.slice(-12)) {
    throw invalidCursor()
  }
  return parts.slice(2)
}

export function invalidCursor(): Problem {
  return new Problem('invalid_cursor', 'Send a cursor as next_cursor gave it, to the same list.')
}

function parse(cursor: string): string[] | undefined {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    const isTexts = Array.isArray(parts) && parts.every((part) => typeof part === 'string')
    return isTexts ? parts : undefined
  } catch {
    return undefined
  }
}
