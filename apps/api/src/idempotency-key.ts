import { MAX_KEY_LENGTH, parseIdempotencyKey } from '@payonce/core/idempotency/key'
import { findIssuedKey, looksIssued, type KeyPurpose } from '@payonce/core/idempotency/issued-key'
import { findKey, type KnownKey } from '@payonce/core/idempotency/known-key'
import { encodeId } from '@payonce/core/ids'
import { fingerprint } from '@payonce/core/idempotency/fingerprint'
import { Problem } from './problem.ts'
import type { Context } from 'hono'
import type { Queryable } from '@payonce/core/db/client'
import type { Deps, Env } from './deps.ts'

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

/** The fingerprint of the request in hand: its method, its decoded route, and its body as sent. */
export function fingerprintOf(c: Context<Env>, route: string, body: unknown): Buffer {
  return fingerprint({ method: c.req.method, route, body })
}

/**
 * The answer to a key that belongs to another request. It names the resource that the key made, and
 * the members in which the requests differ where that is still known; never what was stored in them.
 */
export function keyReused(known: KnownKey, differing: readonly string[] = []): Problem {
  return new Problem(
    'idempotency_key_reused',
    'This key was used for another request. Use a new key for a new intent.',
    {
      param: differing.length === 1 ? differing[0] : undefined,
      members: {
        [known.resource]: encodeId(known.resource, known.resourceId),
        ...(differing.length === 0 ? {} : { differing_members: differing }),
      },
    },
  )
}

/**
 * Checks a key that has the form of those made by the server: it must have been given to this tenant
 * for this purpose, and be used in time. Returns the problem to answer with, unless the key turns out
 * to have been used already; other keys are nobody's but the client's.
 */
export async function refusalOfIssuedKey(
  db: Queryable,
  { tenantId, idempotencyKey }: { tenantId: string; idempotencyKey: string },
  purpose: KeyPurpose,
): Promise<Problem | undefined> {
  if (!looksIssued(idempotencyKey)) return undefined
  const issued = await findIssuedKey(db, tenantId, idempotencyKey)
  if (issued === undefined) {
    return new Problem(
      'idempotency_key_unknown',
      'Ask for a key at POST /v1/idempotency-keys, or make one that does not begin with key_.',
    )
  }
  if (issued.purpose !== null && issued.purpose !== purpose) {
    return new Problem('idempotency_key_purpose', `This key was issued for ${issued.purpose}.`)
  }
  if (issued.isExpired) {
    return new Problem('idempotency_key_expired', 'Ask for a new key and use it within 24 hours.')
  }
  return undefined
}

/** The key of a request that is carried out at once, with what the request is compared by. */
export type CreationKey = { idempotencyKey: string; fingerprint: Buffer }

/**
 * The key of a request that is carried out at once, where it has one. Throws where it cannot be used.
 * A known key is answered before it is asked whether a new one might be.
 */
export async function readCreationKey(
  c: Context<Env>,
  db: Queryable,
  { route, body }: { route: '/v1/accounts' | '/v1/webhook-endpoints'; body: unknown },
): Promise<CreationKey | undefined> {
  const idempotencyKey = readIdempotencyKey(c)
  if (idempotencyKey === undefined) return undefined
  const { tenantId } = c.var.owner
  const refusal = await refusalOfIssuedKey(db, { tenantId, idempotencyKey }, `POST ${route}`)
  if (refusal !== undefined && (await findKey(db, tenantId, idempotencyKey)) === undefined) {
    throw refusal
  }
  return { idempotencyKey, fingerprint: fingerprintOf(c, route, body) }
}

/** Says on an answer, and in the counts, that it is given again. */
export function markReplay(
  c: Context<Env>,
  { metrics, replayCounter }: Pick<Deps, 'metrics' | 'replayCounter'>,
  idempotencyKey: string,
): void {
  metrics.replayed.inc()
  replayCounter.count(c.var.owner.tenantId, idempotencyKey)
  c.header('idempotent-replayed', 'true')
}
