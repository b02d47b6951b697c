import { stringify } from 'csv-stringify/sync'
import { Hono, type Context } from 'hono'
import { decodeId, encodeId } from '@payonce/core/ids'
import {
  createAccount,
  findAccount,
  listAccounts,
  openedAccount,
  updateAccount,
  type Account,
  type NewAccount,
} from '@payonce/core/ledger/account'
import { viewAccount } from '@payonce/core/ledger/account-view'
import { listEntries, readBalanceAt } from '@payonce/core/ledger/entry'
import { decodeCursor, encodeCursor, idPosition, invalidCursor } from '../cursor.ts'
import { keyReused, markReplay, readCreationKey } from '../idempotency-key.ts'
import { readJsonBody } from '../json-body.ts'
import { Problem } from '../problem.ts'
import {
  accountChange,
  accountQuery,
  balanceQuery,
  entryQuery,
  keyedQuery,
  newAccount,
  noQuery,
} from '../schemas.ts'
import { validateBody, validateQuery } from '../validate.ts'
import { viewEntry, viewList } from '../views.ts'
import type { Deps, Env } from '../deps.ts'

/** Behind every entry. */
const endOfTime = new Date('9999-12-31T23:59:59Z')

export function accountRoutes(
  deps: Pick<Deps, 'pool' | 'newId' | 'clock' | 'metrics' | 'replayCounter'>,
): Hono<Env> {
  const { pool, newId, clock } = deps
  const routes = new Hono<Env>()

  routes.post('/', async function openAccount(c) {
    validateQuery(keyedQuery, c.req.queries())
    const body = await readJsonBody(c)
    const request = validateBody(newAccount, body)
    const key = await readCreationKey(c, pool, { route: '/v1/accounts', body })
    const account: NewAccount = {
      tenantId: c.var.owner.tenantId,
      id: newId(),
      kind: request.kind,
      currency: request.currency,
      name: request.name,
      reference: request.reference,
      overdraftLimit: BigInt(request.overdraft_limit),
      metadata: request.metadata,
    }
    const creation = await createAccount(pool, account, key)
    if (creation.result === 'mismatched') throw keyReused(creation.known)
    if (creation.result === 'reference_taken') {
      throw new Problem('reference_taken', 'Another account has this reference.', {
        param: '/reference',
      })
    }
    if (creation.result === 'replayed' && key !== undefined) markReplay(c, deps, key.idempotencyKey)
    const opened = viewAccount(openedAccount({ ...account, id: creation.id }, creation.createdAt))
    c.header('location', `/v1/accounts/${opened.id}`)
    return c.json(opened, 201)
  })

  routes.get('/', async function listAccountsOfTenant(c) {
    const { limit, cursor, reference } = validateQuery(accountQuery, c.req.queries())
    const { tenantId } = c.var.owner
    const scope = { list: 'accounts', tenantId }
    const beforeId = cursor === undefined ? undefined : idPosition(decodeCursor(scope, cursor))
    const found = await listAccounts(pool, { tenantId, reference, beforeId, limit: limit + 1 })
    const shown = found.slice(0, limit)
    const last = found.length > limit ? shown.at(-1) : undefined
    const next = last && encodeCursor(scope, [last.id])
    return c.json(viewList(shown.map(viewAccount), next))
  })

  routes.get('/:id', async function readAccount(c) {
    validateQuery(noQuery, c.req.queries())
    return c.json(viewAccount(await requireAccount(c)))
  })

  routes.patch('/:id', async function changeAccount(c) {
    validateQuery(noQuery, c.req.queries())
    const id = accountIdIn(c)
    const change = validateBody(accountChange, await readJsonBody(c))
    const update = await updateAccount(
      pool,
      { tenantId: c.var.owner.tenantId, id },
      {
        status: change.status,
        name: change.name,
        metadata: change.metadata,
        overdraftLimit:
          change.overdraft_limit === undefined ? undefined : BigInt(change.overdraft_limit),
      },
    )
    if (update.result === 'updated') return c.json(viewAccount(update.account))
    throw updateProblem(update.result)
  })

  routes.get('/:id/entries', async function listEntriesOfAccount(c) {
    const query = validateQuery(entryQuery, c.req.queries())
    const { limit, cursor, format } = query
    const account = await requireAccount(c)
    const { tenantId } = account
    const scope = { list: `entries/${account.id}`, tenantId }
    const beforeSeq = cursor === undefined ? undefined : seqPosition(decodeCursor(scope, cursor))
    const found = await listEntries(pool, {
      tenantId,
      accountId: account.id,
      beforeSeq,
      createdAfter: query.created_after,
      createdBefore: query.created_before,
      limit: limit + 1,
    })
    const shown = found.slice(0, limit)
    const last = found.length > limit ? shown.at(-1) : undefined
    const next = last && encodeCursor(scope, [last.seq.toString()])
    const entries = shown.map((entry) => viewEntry(entry, account))
    if (format === 'json') return c.json(viewList(entries, next))
    if (next !== undefined) c.header('link', `<${nextPage(c.req.url, next)}>; rel="next"`)
    return c.body(stringify(entries, { header: true, columns: [...entryColumns] }), 200, {
      'content-type': 'text/csv; charset=utf-8; header=present',
    })
  })

  routes.get('/:id/balance', async function readBalance(c) {
    const { at } = validateQuery(balanceQuery, c.req.queries())
    const account = await requireAccount(c)
    // Without a time, all that is settled counts: whoever has read `succeeded` finds it here.
    const point = { tenantId: account.tenantId, accountId: account.id, at: at ?? endOfTime }
    const { balance, seq } = await readBalanceAt(pool, point)
    return c.json({
      object: 'balance',
      account: encodeId('account', account.id),
      currency: account.currency,
      balance: Number(balance),
      seq: Number(seq),
      at: (at ?? new Date(clock.nowMs())).toISOString(),
    })
  })

  async function requireAccount(c: Context<Env>): Promise<Account> {
    const account = await findAccount(pool, c.var.owner.tenantId, accountIdIn(c))
    if (account === undefined) throw noSuchAccount()
    return account
  }

  return routes
}

/** The members of an entry, named even where there are no lines. */
const entryColumns = [
  'object',
  'account',
  'seq',
  'transfer',
  'amount',
  'currency',
  'balance_after',
  'created_at',
] as const satisfies (keyof ReturnType<typeof viewEntry>)[]

function nextPage(url: string, cursor: string): string {
  const next = new URL(url)
  next.searchParams.set('cursor', cursor)
  return `${next.pathname}${next.search}`
}

function accountIdIn(c: Context<Env>): string {
  const id = decodeId('account', c.req.param('id') ?? '')
  if (id === undefined) throw noSuchAccount()
  return id
}

function noSuchAccount(): Problem {
  return new Problem('not_found', 'There is no such account.')
}

type RefusedUpdate = Exclude<Awaited<ReturnType<typeof updateAccount>>['result'], 'updated'>

function updateProblem(result: RefusedUpdate): Problem {
  switch (result) {
    case 'not_found':
      return noSuchAccount()
    case 'account_closed':
      return new Problem(result, 'Closing is final: open another account instead.')
    case 'account_not_empty':
      return new Problem(result, 'Move its balance and end its holds first.', { param: '/status' })
    case 'overdraft_in_use':
      return new Problem(result, 'Send a limit that covers what is in use.', {
        param: '/overdraft_limit',
      })
    case 'too_much_metadata':
      return new Problem(
        'invalid_field',
        'At most 50 pairs are allowed, with those already there.',
        {
          param: '/metadata',
        },
      )
  }
}

function seqPosition([seq = '']: string[]): bigint {
  if (!/^\d{1,18}$/.test(seq)) throw invalidCursor()
  return BigInt(seq)
}
