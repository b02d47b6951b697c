import {
  applyCommands,
  type LedgerResult,
  type Outcome,
  type ParentState,
} from '@payonce/core/ledger/apply'
import { accountKey, type AccountState } from '@payonce/core/ledger/books'
import { toLedgerCommand } from '@payonce/core/transfers/ledger-command'
import { accountsOf, type AcceptedCommand } from '@payonce/core/transfers/transfer'
import {
  countFacts,
  transferEvents,
  type EventRecord,
} from '@payonce/core/transfers/transfer-event'
import {
  isTransient,
  UniqueViolation,
  type Database,
  type Steps,
  type Transaction,
  type TransferRow,
} from './database.ts'
import type { TransferCommand } from '@payonce/core/transfers/transfer'
import type { Operation } from '../../../../storm/history.ts'

/*
 * The protocols of docs/ARCHITECTURE.md, statement by statement, over the fake database. What is pure
 * in the product is the product's: the ledger, its commands, its events.
 */

/** Mistakes that can be planted, each of which the simulation has to find. */
export type Mistake =
  | 'no unique key'
  | 'on conflict do nothing'
  | 'settled read before the locks, on conflict do nothing'
  | 'accounts read before the locks'
  | 'parents read before the locks'
  | 'no locks'
  | 'unordered locks'
  | 'no sweep'
  | 'what waits for funds is not rung again'
  | 'watermark passes open acceptances'
  | 'answer before the commit'
  | 'fingerprint not compared'

export type Service = {
  database: Database
  /** Job ids that are to be processed. */
  queue: string[]
  mistake: Mistake | undefined
  /** Bugs that came to light as exceptions. */
  thrown: unknown[]
  watermarkMs: number
}

/** The only one: tenants meet nowhere in the protocol. */
export const tenantId = '01900000-0000-7000-8000-0000000000f0'

export type SentRequest = {
  key: string
  id: string
  /** What is compared: the same text for the same request. */
  body: string
  operation: PostOperation
  command: TransferCommand
}

export type PostOperation = Operation & { kind: 'post' }

export type Answer = { status: 202 | 422 | 503; id?: string }

/** The API: one transaction, then the ring, then the answer. */
export function* accept(
  service: Service,
  owner: object,
  request: SentRequest,
  answer: (told: Answer) => void,
): Steps<void> {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    try {
      const told = yield* acceptOnce(service, owner, request, answer)
      yield
      if (told.status === 202) ring(service, told.id ?? '')
      yield
      answer(told)
      return
    } catch (error) {
      if (!isTransient(error)) throw error
    }
  }
  answer({ status: 503 })
}

function* acceptOnce(
  { database, mistake }: Service,
  owner: object,
  { key, id, body, operation, command }: SentRequest,
  answer: (told: Answer) => void,
): Steps<Answer> {
  const tx = database.begin(owner)
  yield* tx.trip()
  const isNew = yield* tx.claimIfFree(`key ${key}`)
  if (isNew) {
    const acceptedAt = new Date(database.nowMs)
    const accepted = { tenantId, id, idempotencyKey: key, acceptedAt, dueAt: acceptedAt, command }
    tx.write(() => {
      database.requests.set(key, { accepted, body, operation })
      database.commands.set(id, accepted)
    })
    if (mistake === 'answer before the commit') answer({ status: 202, id })
    yield* tx.commit()
    return { status: 202, id }
  }
  yield* tx.trip()
  const known = database.requests.get(key)
  if (known === undefined) throw new Error('a key that conflicted is gone')
  yield* tx.commit()
  if (known.body !== body && mistake !== 'fingerprint not compared') return { status: 422 }
  return { status: 202, id: known.accepted.id }
}

function ring({ database: { random, isStormy }, queue }: Service, id: string): void {
  if (isStormy && random.happens(0.15)) return
  const isNew = !queue.includes(id)
  // The queue may also have forgotten that it knows the job, or deliver it twice.
  const times = (isNew ? 1 : 0) + (isStormy && random.happens(0.2) ? 1 : 0)
  for (let time = 0; time < times; time += 1) queue.splice(random.below(queue.length + 1), 0, id)
}

/** Settles a flush, again until it is through or its outage has lasted too long. */
export function* settle(
  service: Service,
  owner: object,
  ids: readonly string[],
): Steps<'settled' | 'failed'> {
  for (let attempt = 0; attempt < 5; attempt += 1) {
    try {
      yield* settleOnce(service, owner, ids)
      return 'settled'
    } catch (error) {
      const isLostRace = error instanceof UniqueViolation && error.message.startsWith('transfer ')
      if (!isTransient(error) && !isLostRace) throw error
      for (const tx of service.database.open) if (tx.owner === owner) service.database.abort(tx)
    }
    yield
  }
  return 'failed'
}

function* settleOnce(service: Service, owner: object, ids: readonly string[]): Steps<void> {
  const { database, mistake } = service
  const tx = database.begin(owner)
  yield* tx.trip()
  const commands = readCommands(service, ids)
  const early = mistake === undefined ? undefined : lookEarly(database)
  yield* tx.trip()
  const lockedAccounts = yield* lockAccounts(service, tx, commands)
  yield* tx.trip()
  const lockedParents = yield* lockParents(service, tx, commands)
  yield* tx.trip()
  const staleAccounts = mistake === 'accounts read before the locks' ? early?.accounts : undefined
  const accounts = staleAccounts ?? lockedAccounts
  const isEarly = mistake === 'settled read before the locks, on conflict do nothing'
  const settled = (isEarly ? early?.transfers : undefined) ?? database.transfers
  const now = new Date(database.nowMs)
  const due = commands.filter(({ id, dueAt }) => !settled.has(id) && dueAt !== null && dueAt <= now)
  const parents = new Map(lockedParents)
  for (const { command } of commands) {
    const parent = database.transfers.get(command.parentId ?? '')
    if (parent !== undefined && !parents.has(parent.id)) parents.set(parent.id, parent)
  }
  if (mistake === 'parents read before the locks') {
    for (const [id, parent] of parents) parents.set(id, early?.transfers.get(id) ?? parent)
  }
  const result = applyCommands({ accounts, parents, commands: due.map(toLedgerCommand), now })
  // Between what was read and what is inserted lies a round trip, in which a cancel may win.
  yield* tx.trip()
  const decided = due.filter((_, index) => result.outcomes[index]?.status !== 'deferred')
  yield* insertTransfers(service, tx, decided, result, new Map(outcomesOf(due, result)))
  yield* tx.trip()
  yield* insertEntries(service, tx, result)
  yield* tx.trip()
  updateAccounts(service, tx, result)
  yield* tx.trip()
  recordFacts(service, tx, decided, result)
  updateDeferred(service, tx, commands, new Set(decided), result)
  yield* tx.commit()
}

function outcomesOf(due: readonly AcceptedCommand[], { outcomes }: LedgerResult) {
  return due.flatMap(({ id }, index): [string, Outcome][] => {
    const outcome = outcomes[index]
    return outcome === undefined ? [] : [[id, outcome]]
  })
}

/** What a mistaken settlement would go by. */
function lookEarly({ accounts, transfers }: Database) {
  return { accounts: new Map(accounts), transfers: new Map(transfers) }
}

const depth = { transfer: 0, hold: 0, capture: 1, release: 1, refund: 2 } as const

/** In the order of acceptance, with the parents that are due and not settled. */
function readCommands({ database }: Service, ids: readonly string[]): AcceptedCommand[] {
  const wanted = [...ids]
  for (const id of wanted) {
    const { parentId } = database.commands.get(id)?.command ?? {}
    const isWaiting = parentId !== undefined && parentId !== null && !wanted.includes(parentId)
    if (isWaiting && !database.transfers.has(parentId)) wanted.push(parentId)
  }
  return [...new Set(wanted)]
    .flatMap((id) => database.commands.get(id) ?? [])
    .toSorted(
      (a, b) =>
        a.acceptedAt.getTime() - b.acceptedAt.getTime() ||
        depth[a.command.kind] - depth[b.command.kind] ||
        (a.id < b.id ? -1 : 1),
    )
}

function* lockAccounts(
  { database, mistake }: Service,
  tx: Transaction,
  commands: readonly AcceptedCommand[],
): Steps<Map<string, AccountState>> {
  const names = new Set(
    commands.flatMap(({ command }) => accountsOf(command).map((id) => accountKey(tenantId, id))),
  )
  const isUnordered = mistake === 'unordered locks' && database.random.happens(0.5)
  const inOrder = isUnordered ? [...names].toSorted().toReversed() : [...names].toSorted()
  const accounts = new Map<string, AccountState>()
  for (const name of inOrder) {
    if (mistake !== 'no locks') yield* tx.lock(`account ${name}`)
    if (mistake === 'unordered locks') yield* tx.trip()
    const account = database.accounts.get(name)
    if (account !== undefined) accounts.set(name, account)
  }
  return accounts
}

/** A statement sees only those that were settled when it began, and these as they are once locked. */
function* lockParents(
  { database, mistake }: Service,
  tx: Transaction,
  commands: readonly AcceptedCommand[],
): Steps<Map<string, ParentState>> {
  const wanted = new Set(commands.map(({ command }) => command.parentId ?? ''))
  const visible = [...wanted].filter((id) => database.transfers.has(id)).toSorted()
  const parents = new Map<string, ParentState>()
  for (const id of visible) {
    if (mistake !== 'no locks') yield* tx.lock(`transfer ${id}`)
    const parent = database.transfers.get(id)
    if (parent !== undefined) parents.set(id, parent)
  }
  return parents
}

function* insertTransfers(
  { database, mistake }: Service,
  tx: Transaction,
  decided: readonly AcceptedCommand[],
  result: LedgerResult,
  outcomes: ReadonlyMap<string, Outcome>,
): Steps<void> {
  const counts = countFacts(result.facts)
  const isLenient = mistake?.endsWith('on conflict do nothing') === true
  for (const { id, idempotencyKey } of decided) {
    const state = result.settled.get(id)
    const outcome = outcomes.get(id)
    if (state === undefined || outcome === undefined) throw new Error(`${id} was not judged`)
    const { versions, failureCode } = outcome
    const eventCount = counts.get(id) ?? 1
    const row = { ...state, idempotencyKey, versions, failureCode, eventCount }
    if (isLenient) {
      const isFree = yield* tx.claimIfFree(`transfer ${id}`)
      if (!isFree) continue
    } else if (mistake !== 'no unique key') {
      yield* tx.claim(`transfer ${id}`)
    }
    tx.write(() => insertTransfer(database, row))
  }
}

export function insertTransfer(database: Database, row: TransferRow): void {
  database.inserted.push(row)
  database.transfers.set(row.id, row)
}

function* insertEntries({ database }: Service, tx: Transaction, result: LedgerResult): Steps<void> {
  for (const { accountId, seq } of result.entries) yield* tx.claim(`entry ${accountId} ${seq}`)
  tx.write(() => database.entries.push(...result.entries))
}

function updateAccounts({ database }: Service, tx: Transaction, result: LedgerResult): void {
  tx.write(() => {
    for (const account of result.changed) database.setAccount(account)
  })
}

function recordFacts(
  { database }: Service,
  tx: Transaction,
  due: readonly AcceptedCommand[],
  { facts, changedParents }: LedgerResult,
): void {
  const counts = countFacts(facts)
  tx.write(() => {
    const records = new Map<string, EventRecord>()
    for (const { id } of due)
      records.set(id, { callbackUrl: null, eventCount: counts.get(id) ?? 1 })
    for (const parent of changedParents) {
      const row = database.transfers.get(parent.id)
      if (row === undefined) throw new Error('a parent vanished under its lock')
      const eventCount = row.eventCount + (counts.get(parent.id) ?? 0)
      const { status, capturedAmount, refundedAmount } = parent
      replaceTransfer(database, { ...row, status, capturedAmount, refundedAmount, eventCount })
      records.set(parent.id, { callbackUrl: null, eventCount })
    }
    database.events.push(...transferEvents(facts, records))
  })
}

/** What is settled waits no more; what waits is tried when its time or somebody's money comes. */
function updateDeferred(
  { database }: Service,
  tx: Transaction,
  commands: readonly AcceptedCommand[],
  decided: ReadonlySet<AcceptedCommand>,
  { outcomes, changed }: LedgerResult,
): void {
  tx.write(() => {
    for (const { id, command } of commands) {
      const isWaiting = !database.transfers.has(id)
      if (!isWaiting) database.deferred.delete(id)
      else
        database.deferred.set(id, { nextDueMs: database.nowMs + 40, awaits: command.source ?? '' })
    }
    for (const { id } of decided) database.deferred.delete(id)
    if (outcomes.length > 0) wakeWaiting(database, changed)
  })
}

function wakeWaiting(database: Database, changed: readonly AccountState[]): void {
  const enriched = new Set(changed.map(({ id }) => id))
  for (const [id, { awaits }] of database.deferred) {
    if (enriched.has(awaits)) database.deferred.set(id, { nextDueMs: database.nowMs, awaits })
  }
}

/** Rows are never changed, so that whoever read one keeps what it was. */
function replaceTransfer(database: Database, row: TransferRow): void {
  const index = database.inserted.findIndex(({ id }) => id === row.id)
  database.inserted[index] = row
  database.transfers.set(row.id, row)
}

/** Cancels a transfer that is not settled: it takes the place of the outcome. */
export function* cancel(
  { database }: Service,
  owner: object,
  id: string,
  answer: (status: 'canceled' | 'settled') => void,
): Steps<void> {
  try {
    const accepted = database.commands.get(id)
    if (accepted === undefined) return
    const tx = database.begin(owner)
    yield* tx.trip()
    if (yield* tx.claimIfFree(`transfer ${id}`)) {
      const row = canceledRow(accepted)
      tx.write(() => insertTransfer(database, row))
      tx.write(() => database.events.push(canceledEvent(id)))
      tx.write(() => database.deferred.delete(id))
      yield* tx.commit()
      answer('canceled')
      return
    }
    yield* tx.trip()
    const status = database.transfers.get(id)?.status === 'canceled' ? 'canceled' : 'settled'
    yield* tx.commit()
    answer(status)
  } catch (error) {
    if (!isTransient(error)) throw error
  }
}

function canceledRow({ id, idempotencyKey, command }: AcceptedCommand): TransferRow {
  const { source, destination, amount, kind } = command
  const isWhole = source !== null && destination !== null && amount !== null
  return {
    tenantId,
    id,
    idempotencyKey,
    kind,
    status: 'canceled',
    legs: isWhole ? [{ source, destination, amount }] : [],
    capturedAmount: 0n,
    refundedAmount: 0n,
    holdUntil: null,
    eventCount: 1,
    failureCode: null,
    versions: [],
  }
}

function canceledEvent(objectId: string) {
  const type = 'transfer.canceled' as const
  return { tenantId, type, objectId, sequence: 1, state: null, callbackUrl: null }
}

/** Releases what is left of holds whose time is over, under the locks of settlement. */
export function* expireHolds(service: Service, owner: object): Steps<void> {
  const { database } = service
  const now = () => new Date(database.nowMs)
  const over = [...database.transfers.values()].filter(
    ({ status, holdUntil }) => status === 'held' && holdUntil !== null && holdUntil <= now(),
  )
  if (over.length === 0) return
  const tx = database.begin(owner)
  yield* tx.trip()
  const holds = over.flatMap(({ id }) => database.commands.get(id) ?? [])
  const accounts = yield* lockAccounts(service, tx, holds)
  yield* tx.trip()
  const asChildren = holds.map((hold) => ({
    ...hold,
    command: { ...hold.command, parentId: hold.id },
  }))
  const parents = yield* lockParents(service, tx, asChildren)
  yield* tx.trip()
  const expiring = holds.map(({ id }) => id)
  const result = applyCommands({ accounts, parents, commands: [], expiring, now: now() })
  updateAccounts(service, tx, result)
  yield* tx.trip()
  recordFacts(service, tx, [], result)
  yield* tx.commit()
}

/** Rings what is due and not settled. Below its watermark it has nothing to look for any more. */
export function sweep(service: Service): void {
  const { database, mistake } = service
  if (mistake === 'no sweep') return
  let oldestMs = database.nowMs
  for (const { accepted } of database.requests.values()) {
    const dueMs = accepted.acceptedAt.getTime()
    const isKnown = database.transfers.has(accepted.id) || database.deferred.has(accepted.id)
    if (dueMs < service.watermarkMs || isKnown) continue
    oldestMs = Math.min(oldestMs, dueMs)
    ring(service, accepted.id)
  }
  ringDeferred(service)
  if (mistake !== 'watermark passes open acceptances') {
    for (const { startedMs } of database.open) oldestMs = Math.min(oldestMs, startedMs)
  }
  service.watermarkMs = oldestMs
}

/** What waits stands above no watermark: its own time says when it is rung. */
function ringDeferred(service: Service): void {
  const { database, mistake } = service
  if (mistake === 'what waits for funds is not rung again') return
  for (const [id, { nextDueMs }] of database.deferred) {
    if (nextDueMs <= database.nowMs) ring(service, id)
  }
}
