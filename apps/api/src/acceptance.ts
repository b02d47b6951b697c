import { createKeyReader } from '@payonce/core/idempotency/key-reader'
import { matches, type KnownKey } from '@payonce/core/idempotency/known-key'
import { encodeId } from '@payonce/core/ids'
import { differingMembers } from '@payonce/core/transfers/command'
import { dryRun } from '@payonce/core/transfers/dry-run'
import { findAcceptedCommand } from '@payonce/core/transfers/find'
import { createStatusReader } from '@payonce/core/transfers/status'
import {
  acceptedTransfer,
  type CurrencyLeg,
  type TransferCommand,
} from '@payonce/core/transfers/transfer'
import { viewTransfer } from '@payonce/core/transfers/transfer-view'
import {
  fingerprintOf,
  keyReused,
  markReplay,
  refusalOfIssuedKey,
  requireIdempotencyKey,
} from './idempotency-key.ts'
import { preferredWait } from './prefer.ts'
import { Problem } from './problem.ts'
import { acceptanceQuery } from './schemas.ts'
import { refusalOfUrl } from './webhook-url.ts'
import { validateQuery } from './validate.ts'
import { viewDryRun } from './views.ts'
import type { Context } from 'hono'
import type { KeyPurpose } from '@payonce/core/idempotency/issued-key'
import type { AcceptanceRequest } from '@payonce/core/transfers/accept'
import type { Deps, Env } from './deps.ts'

/** 1 s: a worker settles in milliseconds, so whoever asks again after a second has an answer. */
export const retryAfterSeconds = '1'

/** 90 days: the longest that a hold or a lack of funds is kept open. */
const longestOpenMs = 90 * 24 * 3_600_000
/** 366 days: what is scheduled for later is a plan, and belongs to whoever plans it. */
const longestScheduleMs = 366 * 24 * 3_600_000

/** What a request asks for, and where it came in. */
export type CommandRequest = {
  purpose: KeyPurpose
  /** The matched route with its parameters decoded. */
  route: string
  /** The JSON as it was sent. */
  body: unknown
  command: TransferCommand
  /** Why the parent rules it out, where it has one: a fact that can never change. */
  relationRefusal?: Problem | undefined
}

export type Acceptance = {
  /** Accepts a command under the key of its request, or finds it accepted, and answers. */
  answer(c: Context<Env>, request: CommandRequest): Promise<Response>
  /** Why a new request cannot be accepted for now: too much waits already. */
  refusalOfBacklog(): Problem | undefined
  refusalOfTimes(command: TransferCommand, where?: string): Problem | undefined
  /** Why a request may not name this place to be called back at. */
  refusalOfCallback(
    tenantId: string,
    callbackUrl: string | null,
    where?: string,
  ): Promise<Problem | undefined>
  /** What can never become right about the accounts; `where` points to the command in the body. */
  refusalOfAccounts(
    tenantId: string,
    commands: readonly { command: TransferCommand; where: string }[],
  ): Promise<Problem | undefined>
}

export function createAcceptance(deps: Deps): Acceptance {
  const { pool, newId, accepter, accountFacts, backlog, clock, watcher, publicUrl } = deps
  const statusOf = createStatusReader(pool)
  const findKey = createKeyReader(pool)

  async function answer(c: Context<Env>, asked: CommandRequest): Promise<Response> {
    const { command, body, route } = asked
    const { dry_run: isDryRun } = validateQuery(acceptanceQuery, c.req.queries())
    if (isDryRun === 'true') return answerDryRun(c, asked)
    const idempotencyKey = requireIdempotencyKey(c, publicUrl)
    const wait = preferredWait(c)
    const request: AcceptanceRequest = {
      tenantId: c.var.owner.tenantId,
      id: newId(),
      idempotencyKey,
      fingerprint: fingerprintOf(c, route, body),
      command,
    }
    const { isReplay, ...accepted } = await acceptOrReplay(request, asked)
    const ref = { tenantId: request.tenantId, transferId: accepted.id }
    c.header('location', `/v1/transfers/${encodeId('transfer', accepted.id)}`)
    if (isReplay) markReplay(c, deps, idempotencyKey)
    if (wait !== undefined) {
      const settled = await watcher.wait(ref, { timeoutMs: wait * 1_000, signal: c.req.raw.signal })
      c.header('preference-applied', `wait=${wait}`)
      if (settled !== undefined) return c.json(viewTransfer(settled), 200)
    }
    const transfer = acceptedTransfer({
      ...accepted,
      tenantId: ref.tenantId,
      idempotencyKey,
      command,
    })
    if (isReplay) c.header('payonce-status', await currentStatus(ref, command))
    c.header('retry-after', retryAfterSeconds)
    return c.json(viewTransfer(transfer), 202)
  }

  /**
   * The order of the checks is the contract: a known key is answered before anything is looked up
   * that the first request did not depend on.
   */
  async function acceptOrReplay(
    request: AcceptanceRequest,
    asked: CommandRequest,
  ): Promise<{ id: string; acceptedAt: Date; isReplay: boolean }> {
    const refusal = await refusalOf(request, asked)
    if (refusal !== undefined) {
      const known = await findKey(request)
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
  async function refusalOf(
    { tenantId, idempotencyKey, command }: AcceptanceRequest,
    { purpose, relationRefusal }: CommandRequest,
  ): Promise<Problem | undefined> {
    return (
      (await refusalOfIssuedKey(pool, { tenantId, idempotencyKey }, purpose)) ??
      refusalOfTimes(command) ??
      (await refusalOfCallback(tenantId, command.callbackUrl)) ??
      refusalOfBacklog() ??
      relationRefusal ??
      (await refusalOfAccounts(tenantId, [{ command, where: '' }]))
    )
  }

  function refusalOfTimes(command: TransferCommand, where = ''): Problem | undefined {
    const now = clock.nowMs()
    const { executeAt, expiresAt, retryFundsUntil, kind } = command
    if (executeAt !== null && executeAt.getTime() > now + longestScheduleMs) {
      return wrongTime(`${where}/execute_at`, 'Send a time within the next 366 days.')
    }
    if (retryFundsUntil !== null && retryFundsUntil.getTime() > now + longestOpenMs) {
      return wrongTime(
        `${where}/on_insufficient_funds/retry_until`,
        'Send a time within the next 90 days.',
      )
    }
    if (expiresAt === null) return undefined
    const begin = Math.max(now, executeAt?.getTime() ?? now)
    if (expiresAt.getTime() <= begin) {
      return wrongTime(`${where}/expires_at`, 'Send a time after now and after execute_at.')
    }
    const longest = kind === 'hold' ? longestOpenMs : longestScheduleMs + longestOpenMs
    if (expiresAt.getTime() > begin + longest) {
      return wrongTime(`${where}/expires_at`, 'Send an earlier time: a hold lasts 90 days at most.')
    }
    return undefined
  }

  function refusalOfBacklog(): Problem | undefined {
    if (!backlog.isFull()) return undefined
    return new Problem('backlog_full', 'Send the same request, with the same key, again later.', {
      headers: { 'retry-after': '5' },
    })
  }

  async function refusalOfCallback(
    tenantId: string,
    callbackUrl: string | null,
    where = '',
  ): Promise<Problem | undefined> {
    if (callbackUrl === null) return undefined
    const param = `${where}/callback_url`
    const refusal = refusalOfUrl(callbackUrl, deps.allowedNetworks, param)
    if (refusal !== undefined || (await deps.hasDefaultSecret(tenantId))) return refusal
    return new Problem(
      'callback_secret_missing',
      'Make the secret that callbacks are signed with: POST /v1/webhook-secret.',
      { param },
    )
  }

  async function refusalOfAccounts(
    tenantId: string,
    commands: readonly { command: TransferCommand; where: string }[],
  ): Promise<Problem | undefined> {
    const legs = commands.flatMap(placedLegs)
    const named = legs.flatMap(({ leg }) => [leg.source, leg.destination])
    const facts = await accountFacts.read(tenantId, [...new Set(named)])
    for (const { leg, where } of legs) {
      if (leg.source === leg.destination) {
        const param = `${where}/destination`
        return new Problem('same_account', 'Name two different accounts.', { param })
      }
      for (const member of ['source', 'destination'] as const) {
        const account = facts.get(leg[member])
        const param = `${where}/${member}`
        if (account === undefined) {
          return new Problem('account_not_found', 'There is no such account.', { param })
        }
        if (account.currency !== leg.currency) {
          return new Problem('currency_mismatch', `The account holds ${account.currency}.`, {
            param,
          })
        }
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

  /** One that is not settled is scheduled until its time, and queued from then on. */
  async function currentStatus(
    ref: { tenantId: string; transferId: string },
    { executeAt }: TransferCommand,
  ): Promise<string> {
    const status = await statusOf(ref)
    const isScheduled = executeAt !== null && executeAt.getTime() > clock.nowMs()
    return status === 'queued' && isScheduled ? 'scheduled' : status
  }

  /** Judges the command as of now, and writes nothing: no key is needed, and none is used up. */
  async function answerDryRun(c: Context<Env>, asked: CommandRequest): Promise<Response> {
    const { tenantId } = c.var.owner
    const { command, relationRefusal } = asked
    const refusal =
      refusalOfTimes(command) ??
      (await refusalOfCallback(tenantId, command.callbackUrl)) ??
      relationRefusal ??
      (await refusalOfAccounts(tenantId, [{ command, where: '' }]))
    if (refusal !== undefined) throw refusal
    const now = new Date(clock.nowMs())
    const accepted = {
      tenantId,
      id: newId(),
      idempotencyKey: '',
      acceptedAt: now,
      dueAt: now,
      command,
    }
    return c.json(viewDryRun(await dryRun(pool, [accepted], { isAtomic: false, now })))
  }

  return { answer, refusalOfBacklog, refusalOfTimes, refusalOfCallback, refusalOfAccounts }
}

/** The legs of a command, each with a pointer to where its accounts stand in the body. */
function placedLegs({ command, where }: { command: TransferCommand; where: string }) {
  const { legs, source, destination, currency, parentId } = command
  // The accounts of a child are its parent's: they were checked when that was accepted.
  if (parentId !== null) return []
  if (legs !== null) return legs.map((leg, index) => ({ leg, where: `${where}/legs/${index}` }))
  const leg = { source: source ?? '', destination: destination ?? '', currency: currency ?? '' }
  return [{ leg: leg satisfies Omit<CurrencyLeg, 'amount'>, where }]
}

function wrongTime(param: string, detail: string): Problem {
  return new Problem('invalid_field', detail, { param })
}
