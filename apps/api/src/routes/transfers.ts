import { Hono, type Context } from 'hono'
import { decodeId, encodeId } from '@payonce/core/ids'
import { findKey } from '@payonce/core/idempotency/known-key'
import { parseIdempotencyKey } from '@payonce/core/idempotency/key'
import { cancelTransfer } from '@payonce/core/transfers/cancel'
import { findTransfer } from '@payonce/core/transfers/find'
import { listTransfers, type ListPosition } from '@payonce/core/transfers/list'
import { readTimeline, type TimelineStep } from '@payonce/core/transfers/timeline'
import { isSettled, type Transfer } from '@payonce/core/transfers/transfer'
import { viewTransfer } from '@payonce/core/transfers/transfer-view'
import { retryAfterSeconds, type Acceptance } from '../acceptance.ts'
import { toHoldCommand, toRefundCommand, toTransferCommand } from '../commands.ts'
import { decodeCursor, encodeCursor, invalidCursor } from '../cursor.ts'
import { entityTagOf, isKnownToClient } from '../entity-tag.ts'
import { keyReused, readIdempotencyKey } from '../idempotency-key.ts'
import { readJsonBody, readOptionalJsonBody } from '../json-body.ts'
import { preferredWait } from '../prefer.ts'
import { Problem } from '../problem.ts'
import {
  captureRequest,
  emptyBody,
  keyedQuery,
  noQuery,
  refundRequest,
  releaseRequest,
  transferQuery,
} from '../schemas.ts'
import { streamTransfer } from '../transfer-stream.ts'
import { metadataFilterIn, validateBody, validateQuery } from '../validate.ts'
import { viewList } from '../views.ts'
import type { Deps, Env } from '../deps.ts'

export function transferRoutes(
  deps: Pick<Deps, 'pool' | 'newId' | 'watcher' | 'ledgerSecret' | 'isStopping'>,
  acceptance: Acceptance,
): Hono<Env> {
  const { pool, newId, watcher, ledgerSecret } = deps
  const routes = new Hono<Env>()

  routes.post('/', async function sendTransfer(c) {
    const body = await readJsonBody(c)
    const command = toTransferCommand(body)
    const purpose = 'POST /v1/transfers'
    return acceptance.answer(c, { purpose, route: '/v1/transfers', body, command })
  })

  routes.post('/:id/capture', async function captureHold(c) {
    const body = await readOptionalJsonBody(c)
    const { amount, final: isFinal } = validateBody(captureRequest, body)
    const hold = await requireTransfer(c)
    return acceptance.answer(c, {
      purpose: 'POST /v1/transfers/{id}/capture',
      route: `/v1/transfers/${encodeId('transfer', hold.id)}/capture`,
      body,
      command: toHoldCommand('capture', hold, { amount, isFinal }),
      relationRefusal:
        hold.kind === 'hold'
          ? undefined
          : new Problem('not_capturable', `This is a ${hold.kind}: only a hold can be captured.`),
    })
  })

  routes.post('/:id/release', async function releaseHold(c) {
    const body = await readOptionalJsonBody(c)
    validateBody(releaseRequest, body)
    const hold = await requireTransfer(c)
    return acceptance.answer(c, {
      purpose: 'POST /v1/transfers/{id}/release',
      route: `/v1/transfers/${encodeId('transfer', hold.id)}/release`,
      body,
      command: toHoldCommand('release', hold, {}),
      relationRefusal:
        hold.kind === 'hold'
          ? undefined
          : new Problem('not_releasable', `This is a ${hold.kind}: only a hold can be released.`),
    })
  })

  routes.post('/:id/refund', async function refundTransfer(c) {
    const body = await readOptionalJsonBody(c)
    const { amount } = validateBody(refundRequest, body)
    const parent = await requireTransfer(c)
    return acceptance.answer(c, {
      purpose: 'POST /v1/transfers/{id}/refund',
      route: `/v1/transfers/${encodeId('transfer', parent.id)}/refund`,
      body,
      command: toRefundCommand(parent, amount),
      relationRefusal: refusalOfRefund(parent, amount),
    })
  })

  async function requireTransfer(c: Context<Env>): Promise<Transfer> {
    const transfer = await findTransfer(pool, transferRefIn(c))
    if (transfer === undefined) throw noSuchTransfer()
    return transfer
  }

  routes.get('/', async function listTransfersOfTenant(c) {
    const { metadata, others } = metadataFilterIn(c.req.queries())
    const query = validateQuery(transferQuery, others)
    requireNarrowing(metadata, query)
    const { tenantId } = c.var.owner
    if (query.idempotency_key !== undefined) {
      const found = await findByKey(tenantId, query.idempotency_key)
      return c.json(viewList(found.map(viewTransfer), undefined))
    }
    const scope = { list: `transfers/${query.account ?? ''}`, tenantId }
    const { transfers, next } = await listTransfers(
      pool,
      {
        tenantId,
        accountId: query.account,
        status: query.status,
        kind: query.kind,
        metadata,
        createdAfter: query.created_after,
        createdBefore: query.created_before,
      },
      {
        after:
          query.cursor === undefined ? undefined : toPosition(decodeCursor(scope, query.cursor)),
        limit: query.limit,
      },
    )
    const nextCursor = next && encodeCursor(scope, fromPosition(next))
    return c.json(viewList(transfers.map(viewTransfer), nextCursor))
  })

  async function findByKey(tenantId: string, text: string): Promise<Transfer[]> {
    const key = parseIdempotencyKey(text)
    if (key === undefined) {
      throw new Problem('invalid_parameter', 'The query parameter idempotency_key is no key.')
    }
    const known = await findKey(pool, tenantId, key)
    if (known?.resource !== 'transfer') return []
    const transfer = await findTransfer(pool, { tenantId, transferId: known.resourceId })
    return transfer === undefined ? [] : [transfer]
  }

  routes.get('/:id', async function readTransfer(c) {
    validateQuery(noQuery, c.req.queries())
    const ref = transferRefIn(c)
    const wait = preferredWait(c)
    let transfer = await findTransfer(pool, ref)
    if (transfer === undefined) throw noSuchTransfer()
    if (wait !== undefined) {
      c.header('preference-applied', `wait=${wait}`)
      if (!isSettled(transfer)) {
        const timeoutMs = wait * 1_000
        transfer =
          (await watcher.wait(ref, { timeoutMs, signal: c.req.raw.signal })) ??
          (await findTransfer(pool, ref)) ??
          transfer
      }
    }
    if (!isSettled(transfer)) c.header('retry-after', retryAfterSeconds)
    return withEntityTag(c, JSON.stringify(viewTransfer(transfer)))
  })

  routes.get('/:id/stream', async function streamChanges(c) {
    validateQuery(noQuery, c.req.queries())
    return streamTransfer(c, deps, await requireTransfer(c))
  })

  routes.get('/:id/timeline', async function tellTimeline(c) {
    validateQuery(noQuery, c.req.queries())
    const steps = await readTimeline(pool, transferRefIn(c))
    if (steps === undefined) throw noSuchTransfer()
    return c.json({ object: 'timeline', data: steps.map(viewStep) })
  })

  /** Canceling is safe to repeat and so binds no key; a key that stands for something else is a mistake. */
  async function refuseUsedKey(c: Context<Env>): Promise<void> {
    const key = readIdempotencyKey(c)
    const known = key === undefined ? undefined : await findKey(pool, c.var.owner.tenantId, key)
    if (known !== undefined) throw keyReused(known)
  }

  routes.post('/:id/cancel', async function cancel(c) {
    validateQuery(keyedQuery, c.req.queries())
    const ref = transferRefIn(c)
    validateBody(emptyBody, await readOptionalJsonBody(c))
    await refuseUsedKey(c)
    const canceled = await cancelTransfer({ pool, newId, ledgerSecret }, ref)
    if (canceled.result === 'not_found') throw noSuchTransfer()
    if (canceled.result === 'part_of_atomic_batch') {
      throw new Problem(canceled.result, 'Its batch is settled all or none.')
    }
    if (canceled.result === 'already_settled') {
      const { status } = canceled.transfer
      if (status === 'held') throw new Problem('hold_already_held', 'Release the hold instead.')
      throw new Problem('transfer_already_settled', `The transfer is settled already: ${status}.`)
    }
    return c.json(viewTransfer(canceled.transfer))
  })

  return routes
}

function viewStep(step: TimelineStep) {
  const at = step.at.toISOString()
  switch (step.type) {
    case 'accepted':
      return { type: step.type, at, idempotency_key: step.idempotencyKey }
    case 'settled':
      return { type: step.type, at, status: step.status, settlement: step.settlementId }
    case 'child_settled':
      return { ...step, at, id: encodeId('transfer', step.id) }
    case 'event':
      return { ...step, at, id: encodeId('event', step.id) }
    case 'delivery':
      return { ...step, at, id: encodeId('delivery', step.id) }
    case 'due':
    case 'attempted':
    case 'next_attempt':
      return { ...step, at }
  }
}

function refusalOfRefund(parent: Transfer, amount: number | undefined): Problem | undefined {
  if (parent.kind !== 'transfer' && parent.kind !== 'capture') {
    return new Problem('not_refundable', `This is a ${parent.kind}: refund a transfer or capture.`)
  }
  if (parent.legs !== null && amount !== undefined) {
    return new Problem('partial_refund', 'Leave the amount out.', { param: '/amount' })
  }
  return undefined
}

/** Pairs are looked for among the transfers of one account or of a range of time, never in all. */
function requireNarrowing(
  metadata: Record<string, string> | undefined,
  query: { account?: unknown; created_after?: unknown },
): void {
  const isNarrow = query.account !== undefined || query.created_after !== undefined
  if (metadata === undefined || isNarrow) return
  throw new Problem('invalid_parameter', 'Give metadata[…] with account or created_after.')
}

function transferRefIn(c: Context<Env>): { tenantId: string; transferId: string } {
  const transferId = decodeId('transfer', c.req.param('id') ?? '')
  if (transferId === undefined) throw noSuchTransfer()
  return { tenantId: c.var.owner.tenantId, transferId }
}

function noSuchTransfer(): Problem {
  return new Problem('not_found', 'There is no such transfer.')
}

function withEntityTag(c: Context<Env>, body: string): Response {
  const tag = entityTagOf(body)
  c.header('etag', tag)
  if (isKnownToClient(c, tag)) return c.body(null, 304)
  return c.body(body, 200, { 'content-type': 'application/json' })
}

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

function fromPosition(position: ListPosition): string[] {
  return position.order === 'id'
    ? [position.id]
    : [position.id, position.settledAt.toISOString(), position.seq]
}

function toPosition([id = '', settledAt, seq = '']: string[]): ListPosition {
  if (!uuidForm.test(id)) throw invalidCursor()
  if (settledAt === undefined) return { order: 'id', id }
  const time = new Date(timeForm.test(settledAt) ? settledAt : Number.NaN)
  if (Number.isNaN(time.getTime()) || !isSeq(seq)) throw invalidCursor()
  return { order: 'book', id, settledAt: time, seq }
}

/** Times that Postgres can compare: it knows fewer years than JavaScript. */
const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

function isSeq(text: string): boolean {
  return /^\d{1,19}$/.test(text) && BigInt(text) <= 9223372036854775807n
}
