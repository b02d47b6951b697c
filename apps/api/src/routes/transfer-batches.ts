import { Hono, type Context } from 'hono'
import { fingerprint } from '@payonce/core/idempotency/fingerprint'
import { parseIdempotencyKey } from '@payonce/core/idempotency/key'
import { findKey, matches, type KnownKey } from '@payonce/core/idempotency/known-key'
import { decodeId, encodeId } from '@payonce/core/ids'
import {
  findBatch,
  readItems,
  type AcceptedItem,
  type BatchAcceptance,
  type BatchItemRequest,
  type BatchRequest,
} from '@payonce/core/transfers/batch'
import { dryRun } from '@payonce/core/transfers/dry-run'
import { retryAfterSeconds, type Acceptance } from '../acceptance.ts'
import { toBatchItem } from '../commands.ts'
import {
  fingerprintOf,
  keyReused,
  markReplay,
  refusalOfIssuedKey,
  requireIdempotencyKey,
} from '../idempotency-key.ts'
import { MAX_BATCH_BODY_BYTES, readJsonBody } from '../json-body.ts'
import { Problem } from '../problem.ts'
import { acceptanceQuery, newBatch, noQuery } from '../schemas.ts'
import { validateBody, validateQuery } from '../validate.ts'
import { viewAcceptedBatch, viewBatch, viewDryRun } from '../views.ts'
import type { Deps, Env } from '../deps.ts'

export function transferBatchRoutes(deps: Deps, acceptance: Acceptance): Hono<Env> {
  const { pool, newId, clock, metrics, publicUrl } = deps
  const routes = new Hono<Env>()

  routes.post('/', async function sendBatch(c) {
    const { dry_run: isDryRun } = validateQuery(acceptanceQuery, c.req.queries())
    const body = await readJsonBody(c, MAX_BATCH_BODY_BYTES)
    const sent = validateBody(newBatch, body)
    const idempotencyKey = isDryRun === 'true' ? '' : requireIdempotencyKey(c, publicUrl)
    const id = newId()
    const times = { executeAt: sent.execute_at ?? null, expiresAt: sent.expires_at ?? null }
    const request: BatchRequest = {
      tenantId: c.var.owner.tenantId,
      id,
      idempotencyKey,
      fingerprint: fingerprintOf(c, '/v1/transfer-batches', body),
      isAtomic: sent.atomic,
      callbackUrl: sent.callback_url,
      ...times,
      items: toItems(sent.transfers, idempotencyKey, {
        ...times,
        atomicBatchId: sent.atomic ? id : null,
      }),
    }
    if (isDryRun === 'true') return answerDryRun(c, request)
    const accepted = await acceptOrReplay(request)
    c.header('location', `/v1/transfer-batches/${encodeId('batch', accepted.id)}`)
    c.header('retry-after', retryAfterSeconds)
    if (accepted.result === 'replayed') markReplay(c, deps, idempotencyKey)
    else metrics.accepted.inc(accepted.items.filter(({ isReplay }) => !isReplay).length)
    return c.json(viewAcceptance(request, accepted), 202)
  })

  function toItems(
    transfers: readonly unknown[],
    batchKey: string,
    times: Parameters<typeof toBatchItem>[1],
  ): BatchItemRequest[] {
    const seen = new Set([batchKey])
    return transfers.map((body, index) => {
      const where = `/transfers/${index}`
      const { command, key } = within(where, () => toBatchItem(body, times))
      const idempotencyKey = key === undefined ? `${batchKey},${index}` : itemKey(key, where)
      if (seen.has(idempotencyKey)) {
        throw new Problem('invalid_field', 'Use each key once in a batch.', {
          param: `${where}/idempotency_key`,
        })
      }
      seen.add(idempotencyKey)
      return { id: newId(), idempotencyKey, fingerprint: fingerprintOfItem(body), command }
    })
  }

  async function acceptOrReplay(
    request: BatchRequest,
  ): Promise<BatchAcceptance & { result: 'accepted' | 'replayed' }> {
    const refusal = await refusalOf(request)
    if (refusal !== undefined) return replayOr(refusal, request)
    const accepted = await deps.acceptBatch(request)
    switch (accepted.result) {
      case 'mismatched':
        throw keyReused(accepted.known)
      case 'item_mismatched':
      case 'item_known':
        throw itemReused(accepted.position, accepted.known)
      case 'accepted':
      case 'replayed':
        return accepted
    }
  }

  /** Why a batch that is new cannot be accepted: in the order that the contract gives. */
  async function refusalOf(request: BatchRequest): Promise<Problem | undefined> {
    const placed = request.items.map(({ command }, index) => ({
      command,
      where: `/transfers/${index}`,
    }))
    return (
      (await refusalOfIssuedKey(pool, request, 'POST /v1/transfer-batches')) ??
      placed
        .map(({ command, where }) => acceptance.refusalOfTimes(command, where))
        .find((problem) => problem !== undefined) ??
      (await refusalOfCallbacks(request)) ??
      acceptance.refusalOfBacklog() ??
      acceptance.refusalOfAccounts(request.tenantId, placed)
    )
  }

  async function refusalOfCallbacks({
    tenantId,
    callbackUrl,
    items,
  }: BatchRequest): Promise<Problem | undefined> {
    const refusal = await acceptance.refusalOfCallback(tenantId, callbackUrl)
    if (refusal !== undefined) return refusal
    for (const [index, { command }] of items.entries()) {
      if (command.callbackUrl === null) continue
      const where = `/transfers/${index}`
      const ofItem = await acceptance.refusalOfCallback(tenantId, command.callbackUrl, where)
      if (ofItem !== undefined) return ofItem
    }
    return undefined
  }

  async function replayOr(
    refusal: Problem,
    { tenantId, idempotencyKey, fingerprint: print }: BatchRequest,
  ): Promise<BatchAcceptance & { result: 'replayed' }> {
    const known = await findKey(pool, tenantId, idempotencyKey)
    if (known === undefined) throw refusal
    if (!matches(known, print)) throw keyReused(known)
    const items = await readItems(pool, tenantId, known.resourceId)
    return { result: 'replayed', id: known.resourceId, createdAt: known.acceptedAt, items }
  }

  async function answerDryRun(c: Context<Env>, request: BatchRequest): Promise<Response> {
    const refusal = await refusalOf(request)
    if (refusal !== undefined) throw refusal
    const now = new Date(clock.nowMs())
    const commands = request.items.map(({ id, command }) => ({
      tenantId: request.tenantId,
      id,
      idempotencyKey: '',
      acceptedAt: now,
      dueAt: now,
      command,
    }))
    return c.json(viewDryRun(await dryRun(pool, commands, { isAtomic: request.isAtomic, now })))
  }

  routes.get('/:id', async function readBatch(c) {
    validateQuery(noQuery, c.req.queries())
    const id = decodeId('batch', c.req.param('id'))
    const batch = id && (await findBatch(pool, { tenantId: c.var.owner.tenantId, id }))
    if (!batch) throw new Problem('not_found', 'There is no such batch.')
    const view = viewBatch(batch)
    if (!view.is_settled) c.header('retry-after', retryAfterSeconds)
    return c.json(view)
  })

  return routes
}

/** As if the item had been sent alone, so that its key means the same here and there. */
function fingerprintOfItem(body: unknown): Buffer {
  const { idempotency_key: _, ...alone } = body as Record<string, unknown>
  return fingerprint({ method: 'POST', route: '/v1/transfers', body: alone })
}

function itemKey(text: string, where: string): string {
  const key = parseIdempotencyKey(text)
  if (key !== undefined) return key
  throw new Problem('idempotency_key_invalid', 'The key of this item cannot be used.', {
    param: `${where}/idempotency_key`,
  })
}

/** Runs `work` for one item, and points a problem to it. */
function within<T>(where: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const { code, message, members, headers, param = '' } = error
    throw new Problem(code, message, { param: `${where}${param}`, members, headers })
  }
}

function itemReused(position: number, known: KnownKey): Problem {
  const { message, members } = keyReused(known)
  const param = `/transfers/${position}/idempotency_key`
  return new Problem('idempotency_key_reused', message, { param, members })
}

/** Rendered from the request in hand, as every replay: the same bytes for ever. */
function viewAcceptance(
  request: BatchRequest,
  { id, createdAt, items }: { id: string; createdAt: Date; items: readonly AcceptedItem[] },
) {
  const keyed = items.map((item, index) => ({
    ...item,
    idempotencyKey: request.items[index]?.idempotencyKey ?? '',
  }))
  return viewAcceptedBatch({ ...request, id, createdAt }, keyed)
}
