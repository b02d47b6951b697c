import { Hono } from 'hono'
import { encodeId } from '@payonce/core/ids'
import { findIssuedKey, issueKey, type IssuedKey } from '@payonce/core/idempotency/issued-key'
import { parseIdempotencyKey } from '@payonce/core/idempotency/key'
import { findKey, type KnownKey } from '@payonce/core/idempotency/known-key'
import { readReplays } from '@payonce/core/idempotency/replay-counter'
import { findBatch } from '@payonce/core/transfers/batch'
import { findSettled } from '@payonce/core/transfers/find'
import { isSettled } from '@payonce/core/transfers/transfer'
import { readOptionalJsonBody } from '../json-body.ts'
import { Problem } from '../problem.ts'
import { keyPurpose, keyQuery, noQuery } from '../schemas.ts'
import { validateBody, validateQuery } from '../validate.ts'
import type { Deps, Env } from '../deps.ts'

export function idempotencyKeyRoutes(deps: Pick<Deps, 'pool' | 'newId'>): Hono<Env> {
  const { pool, newId } = deps
  const routes = new Hono<Env>()

  routes.post('/', async function makeKey(c) {
    validateQuery(noQuery, c.req.queries())
    const { purpose } = validateBody(keyPurpose, await readOptionalJsonBody(c))
    const issued = await issueKey(pool, { tenantId: c.var.owner.tenantId, id: newId(), purpose })
    return c.json(viewKey(issued.idempotencyKey, { issued }), 201)
  })

  routes.get('/', async function tellKey(c) {
    const { key: text } = validateQuery(keyQuery, c.req.queries())
    const { tenantId } = c.var.owner
    const key = parseIdempotencyKey(text)
    if (key === undefined) throw new Problem('idempotency_key_invalid', 'This is no key.')
    const [issued, known, replays] = await Promise.all([
      findIssuedKey(pool, tenantId, key),
      findKey(pool, tenantId, key),
      readReplays(pool, tenantId, key),
    ])
    if (issued === undefined && known === undefined) {
      throw new Problem('not_found', 'Nothing is known of this key.')
    }
    const isSettled = known !== undefined && (await isResourceSettled(tenantId, known))
    return c.json(viewKey(key, { issued, known, replays, isSettled }))
  })

  /** What is not settled later was done together with its acceptance. */
  async function isResourceSettled(tenantId: string, known: KnownKey): Promise<boolean> {
    if (known.resource === 'account' || known.resource === 'endpoint') return true
    if (known.resource === 'batch') {
      const batch = await findBatch(pool, { tenantId, id: known.resourceId })
      return batch?.items.every((item) => isSettled(item)) ?? false
    }
    const settled = await findSettled(pool, [{ tenantId, transferId: known.resourceId }])
    return settled.length > 0
  }

  return routes
}

type KeyFacts = {
  issued?: IssuedKey | undefined
  known?: KnownKey | undefined
  replays?: bigint
  isSettled?: boolean
}

/** Of a transfer, the plain one: which of its kind's routes it came by is told by the transfer. */
const purposes = {
  account: 'POST /v1/accounts',
  batch: 'POST /v1/transfer-batches',
  endpoint: 'POST /v1/webhook-endpoints',
  transfer: 'POST /v1/transfers',
} as const

const objectOf = {
  account: 'account',
  batch: 'transfer_batch',
  endpoint: 'webhook_endpoint',
  transfer: 'transfer',
} as const

function viewKey(key: string, { issued, known, replays = 0n, isSettled = false }: KeyFacts) {
  const firstSeenAt = known?.acceptedAt ?? issued?.issuedAt
  return {
    object: 'idempotency_key',
    key,
    purpose:
      known === undefined
        ? (issued?.purpose ?? null)
        : (issued?.purpose ?? purposes[known.resource]),
    state: known === undefined ? 'issued' : isSettled ? 'settled' : 'accepted',
    first_seen_at: firstSeenAt?.toISOString() ?? null,
    // A used key is answered for ever.
    expires_at: known === undefined ? (issued?.expiresAt.toISOString() ?? null) : null,
    replays: Number(replays),
    resource:
      known === undefined
        ? null
        : { object: objectOf[known.resource], id: encodeId(known.resource, known.resourceId) },
  }
}
