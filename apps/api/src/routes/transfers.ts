import { Hono, type Context } from 'hono'
import { decodeId, encodeId } from '@payonce/core/ids'
import { findKey, matches, type KnownKey } from '@payonce/core/idempotency/known-key'
import { parseIdempotencyKey } from '@payonce/core/idempotency/key'
import { cancelTransfer } from '@payonce/core/transfers/cancel'
import { findAcceptedCommand, findTransfer } from '@payonce/core/transfers/find'
import { listTransfers, type ListPosition } from '@payonce/core/transfers/list'
import { createStatusReader } from '@payonce/core/transfers/status'
import {
  differingMembers,
  isSettled,
  queuedTransfer,
  type Transfer,
  type TransferCommand,
} from '@payonce/core/transfers/transfer'
import { decodeCursor, encodeCursor, invalidCursor } from '../cursor.ts'
import { entityTagOf, isKnownToClient } from '../entity-tag.ts'
import {
  fingerprintOf,
  keyReused,
  readIdempotencyKey,
  refusalOfIssuedKey,
  requireIdempotencyKey,
} from '../idempotency-key.ts'
import { readJsonBody, readOptionalJsonBody } from '../json-body.ts'
import { preferredWait } from '../prefer.ts'
import { Problem } from '../problem.ts'
import { emptyBody, keyedQuery, newTransfer, noQuery, transferQuery } from '../schemas.ts'
import { validateBody, validateQuery } from '../validate.ts'
import { viewList, viewTransfer } from '../views.ts'
import type { z } from 'zod'
import type { AcceptanceRequest } from '@payonce/core/transfers/accept'
import type { Deps, Env } from '../deps.ts'

/** 1 s: a worker settles in milliseconds, so whoever asks again after a second has an answer. */
const retryAfterSeconds = '1'
/** 90 days: what lacks its funds for longer is no payment any more. */
const longestRetryMs = 90 * 24 * 3_600_000

export function transferRoutes(deps: Deps): Hono<Env> {
  const { pool, newId, accepter, accountFacts, backlog, clock, watcher } = deps
  const { metrics, publicUrl, replayCounter } = deps
  const statusOf = createStatusReader(pool)
  const routes = new Hono<Env>()

  routes.post('/', async function sendTransfer(c) {
    validateQuery(keyedQuery, c.req.queries())
    const body = await readJsonBody(c)
    const sent = validateBody(newTransfer, body)
    const command = toCommand(sent)
    const idempotencyKey = requireIdempotencyKey(c, publicUrl)
    const wait = preferredWait(c)
    const request: AcceptanceRequest = {
      tenantId: c.var.owner.tenantId,
      id: newId(),
      idempotencyKey,
      fingerprint: fingerprintOf(c, body),
      command,
    }
    const { isReplay, ...accepted } = await acceptOrReplay(request)
    const ref = { tenantId: request.tenantId, transferId: accepted.id }
    c.header('location', `/v1/transfers/${encodeId('transfer', accepted.id)}`)
    if (isReplay) {
      metrics.replayed.inc()
      replayCounter.count(request.tenantId, idempotencyKey)
      c.header('idempotent-replayed', 'true')
    }
    if (wait !== undefined) {
      const settled = await watcher.wait(ref, { timeoutMs: wait * 1_000, signal: c.req.raw.signal })
      c.header('preference-applied', `wait=${wait}`)
      if (settled !== undefined) return c.json(viewTransfer(settled), 200)
    }
    if (isReplay) c.header('payonce-status', await statusOf(ref))
    c.header('retry-after', retryAfterSeconds)
    const queued = queuedTransfer({ ...accepted, tenantId: ref.tenantId, idempotencyKey, command })
    return c.json(viewTransfer(queued), 202)
  })

  /**
   * The order of the checks is the contract: a known key is answered before anything is looked up
   * that the first request did not depend on.
   */
  async function acceptOrReplay(
    request: AcceptanceRequest,
  ): Promise<{ id: string; acceptedAt: Date; isReplay: boolean }> {
    const refusal = await refusalOf(request)
    if (refusal !== undefined) {
      const known = await findKey(pool, request.tenantId, request.idempotencyKey)
      if (known === undefined) throw refusal
      if (!matches(known, request.fingerprint)) throw await mismatch(known, request)
      return { id: known.resourceId, acceptedAt: known.acceptedAt, isReplay: true }
    }
    const acceptance = await accepter.accept(request)
    if (acceptance.result === 'mismatched') throw await mismatch(acceptance.known, request)
    const { id, acceptedAt } = acceptance
    return { id, acceptedAt, isReplay: acceptance.result === 'replayed' }
  }

  /** Why a request that is new cannot be accepted: in the order that the contract gives. */
  async function refusalOf(request: AcceptanceRequest): Promise<Problem | undefined> {
    return (
      (await refusalOfIssuedKey(pool, request, 'POST /v1/transfers')) ??
      refusalOfTimes(request.command) ??
      refusalOfBacklog() ??
      (await refusalOfAccounts(request))
    )
  }

  function refusalOfTimes({ retryFundsUntil }: TransferCommand): Problem | undefined {
    if (retryFundsUntil === null) return undefined
    if (retryFundsUntil.getTime() <= clock.nowMs() + longestRetryMs) return undefined
    return new Problem('invalid_field', 'Send a time within the next 90 days.', {
      param: '/on_insufficient_funds/retry_until',
    })
  }

  function refusalOfBacklog(): Problem | undefined {
    if (!backlog.isFull()) return undefined
    return new Problem('backlog_full', 'Send the same request, with the same key, again later.', {
      headers: { 'retry-after': '5' },
    })
  }

  /** What can never become right, and so is refused before the key is used up. */
  async function refusalOfAccounts({
    tenantId,
    command,
  }: AcceptanceRequest): Promise<Problem | undefined> {
    const { source, destination, currency } = command
    if (source === destination) {
      return new Problem('same_account', 'Name two different accounts.', { param: '/destination' })
    }
    const facts = await accountFacts.read(tenantId, [source, destination])
    for (const member of ['source', 'destination'] as const) {
      const account = facts.get(command[member])
      const param = `/${member}`
      if (account === undefined) {
        return new Problem('account_not_found', 'There is no such account.', { param })
      }
      if (account.currency !== currency) {
        return new Problem('currency_mismatch', `The account holds ${account.currency}.`, { param })
      }
    }
    return undefined
  }

  /** Names the members that differ, while the payload of the first request is kept. */
  async function mismatch(
    known: KnownKey,
    { tenantId, command }: AcceptanceRequest,
  ): Promise<Problem> {
    const ref = { tenantId, transferId: known.resourceId }
    const first = known.resource === 'transfer' ? await findAcceptedCommand(pool, ref) : undefined
    return keyReused(known, first === undefined ? [] : differingMembers(first.command, command))
  }

  routes.get('/', async function listTransfersOfTenant(c) {
    const query = validateQuery(transferQuery, c.req.queries())
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
    const canceled = await cancelTransfer({ pool, newId }, ref)
    if (canceled.result === 'not_found') throw noSuchTransfer()
    if (canceled.result === 'already_settled') {
      const { status } = canceled.transfer
      throw new Problem('transfer_already_settled', `The transfer is settled already: ${status}.`)
    }
    return c.json(viewTransfer(canceled.transfer))
  })

  return routes
}

function toCommand(sent: z.infer<typeof newTransfer>): TransferCommand {
  const { on_insufficient_funds: onInsufficientFunds, amount, ...members } = sent
  return {
    kind: 'transfer',
    ...members,
    amount: BigInt(amount),
    retryFundsUntil: onInsufficientFunds?.retry_until ?? null,
  }
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
