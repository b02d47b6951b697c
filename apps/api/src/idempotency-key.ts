import { MAX_KEY_LENGTH, parseIdempotencyKey } from '@payonce/core/idempotency/key'
import { fingerprint } from '@payonce/core/idempotency/fingerprint'
import { Problem } from './problem.ts'
import type { Context } from 'hono'
import type { Env } from './deps.ts'

const usableKey = `Use 1 to ${MAX_KEY_LENGTH} visible ASCII characters without comma, backslash or double quote.`

/** The key of a request that cannot do without one. Throws the `Problem` of a missing or bad key. */
export function requireIdempotencyKey(c: Context<Env>, publicUrl: string): string {
  const key = readIdempotencyKey(c)
  if (key !== undefined) return key
  throw new Problem(
    'idempotency_key_missing',
    'Send an Idempotency-Key header, so that this request can be repeated safely.',
    { headers: { link: `<${publicUrl}/problems/idempotency_key_missing>; rel="describedby"` } },
  )
}

/** The key in the header or in the query, or undefined where there is none. Both must agree. */
export function readIdempotencyKey(c: Context<Env>): string | undefined {
  const fromHeader = parse(c.req.header('idempotency-key'), 'header Idempotency-Key')
  const fromQuery = parse(c.req.query('idempotency_key'), 'query parameter idempotency_key')
  if (fromHeader !== undefined && fromQuery !== undefined && fromHeader !== fromQuery) {
    throw new Problem('idempotency_key_invalid', 'Header and query parameter name different keys.')
  }
  return fromHeader ?? fromQuery
}

function parse(text: string | undefined, where: string): string | undefined {
  if (text === undefined) return undefined
  const key = parseIdempotencyKey(text)
  if (key === undefined) {
    throw new Problem('idempotency_key_invalid', `The ${where} cannot be used. ${usableKey}`)
  }
  return key
}

/** The fingerprint of the request in hand: its method, its decoded path, and its body as sent. */
export function fingerprintOf(c: Context<Env>, body: unknown): Buffer {
  return fingerprint({ method: c.req.method, route: c.req.path, body })
}

/** The answer to a key that belongs to another request. It shows nothing that was stored. */
export function keyReused(): Problem {
  return new Problem(
    'idempotency_key_reused',
    'This key was used for another request. Use a new key for a new intent.',
  )
}
