import { inTransaction } from '../db/transaction.ts'
import { isTransient, violatedUnique } from '../db/transient.ts'
import { retrying } from '../db/retry.ts'
import { failurePolicies } from '../failure-policies.ts'
import { recordEvents } from '../events/event.ts'
import { createGroupCommit } from '../group-commit.ts'
import {
  applyAtomically,
  applyCommands,
  type LedgerResult,
  type Outcome,
  type ParentState,
} from '../ledger/apply.ts'
import { accountKey, available, type AccountState, type Entry } from '../ledger/books.ts'
import { sealSettlement, type SealedTransfer } from '../ledger/seal.ts'
import { columnOf, jsonText } from '../db/parameters.ts'
import { completeBatch } from './batch-completion.ts'
import { defer, endDeferral, park, wakeWaiting } from './defer.ts'
import { toLedgerCommand } from './ledger-command.ts'
import { readBatchCommands, readCommands, readProgress, type LoadedCommands } from './load.ts'
import { lockAccounts, lockParents, readParents } from './lock.ts'
import { accountsOf, expiryOf, nullIfEmpty, type AcceptedCommand } from './transfer.ts'
import { countFacts, transferEvents, type EventRecord } from './transfer-event.ts'
import type { Pool, Tx } from '../db/client.ts'
import type { BatchRef, JobRef, NewId, TransferRef } from '../ids.ts'
import type { LegRow } from './transfer-row.ts'

export type Settler = {
  /**
   * Settles one command together with others that are asked for at the same time, or a whole batch.
   * Resolves when there is nothing more to do for now: it is settled, was settled before, is not due
   * yet, or was put into `deferred`. Throws only for outages: call again with the same reference.
   */
  settle(ref: JobRef): Promise<void>
  /** Releases what is left of holds whose time is over. Throws only for outages. */
  expireHolds(holds: readonly TransferRef[]): Promise<void>
  /** Resolves when nothing is in hand any more. */
  drained(): Promise<void>
}

export type SettlementStats = {
  outcomes: readonly Outcome[]
  /** Commands in the flush, settled or not. */
  commands: number
  durationMs: number
}

export type SettlerOptions = {
  pool: Pool
  newId: NewId
  /** Names this process in the record of attempts. */
  worker: string
  /** Makes the seals HMACs: see ledger/seal.ts. */
  ledgerSecret?: string | undefined
  onFlush(stats: SettlementStats): void
  /** A command that throws by itself was put aside: a bug, which an operator should look at. */
  onParked(ref: JobRef, error: unknown): void
}

/** One ledger transaction settles at most so many commands: it stays a matter of milliseconds. */
export const MAX_SETTLED_TOGETHER = 500

export function createSettler(options: SettlerOptions): Settler {
  const { pool, newId, worker, ledgerSecret, onFlush, onParked } = options

  async function settleTogether(
    load: (tx: Tx) => Promise<LoadedCommands>,
    apply: typeof applyCommands,
  ): Promise<Outcome[]> {
    const startedAt = performance.now()
    const outcomes = await retrying(patience, () =>
      settleOnce({ pool, load, apply, worker, ledgerSecret, settlementId: newId() }),
    )
    const durationMs = performance.now() - startedAt
    onFlush({ outcomes, commands: outcomes.length, durationMs })
    return outcomes
  }

  async function flush(refs: readonly TransferRef[]): Promise<undefined[]> {
    await settleTogether((tx) => readCommands(tx, distinct(refs)), applyCommands)
    return refs.map(() => undefined)
  }

  const group = createGroupCommit<TransferRef, undefined>({
    flush,
    maxItems: MAX_SETTLED_TOGETHER,
    maxPending: 100_000,
    isTransient,
  })

  /** An atomic batch is a transaction of its own; the items of any other are settled in shares. */
  async function settleBatch(ref: BatchRef): Promise<void> {
    const batch = await readBatch(pool, ref)
    if (batch === undefined) return
    if (batch.isAtomic) await settleAtomically(ref)
    else await settleItems(ref, batch.items)
    await completeBatch(pool, ref)
    if (!batch.isAtomic) await endDeferral(pool, { ...ref, transferId: ref.batchId })
  }

  async function settleItems(ref: BatchRef, items: readonly string[]): Promise<void> {
    for (let first = 0; first < items.length; first += MAX_SETTLED_TOGETHER) {
      const share = items.slice(first, first + MAX_SETTLED_TOGETHER)
      await settleShare(share.map((transferId) => ({ tenantId: ref.tenantId, transferId })))
    }
  }

  /** A batch with a command that only a newer worker can read waits for that as a whole. */
  async function settleAtomically(ref: BatchRef): Promise<void> {
    const deferral = { tenantId: ref.tenantId, transferId: ref.batchId }
    let isReadable = true
    async function load(tx: Tx): Promise<LoadedCommands> {
      const loaded = await readBatchCommands(tx, ref)
      isReadable = loaded.unknown.length === 0
      return isReadable ? loaded : { commands: [], unknown: [deferral] }
    }
    await settleTogether(load, applyAtomically)
    if (isReadable) await endDeferral(pool, deferral)
  }

  /** Where a share cannot be settled as a whole, its commands go the way of single ones. */
  async function settleShare(refs: readonly TransferRef[]): Promise<void> {
    try {
      await flush(refs)
    } catch (error) {
      if (isTransient(error)) throw error
      await Promise.all(refs.map((ref) => settleOrPark(ref, () => group.submit(ref))))
    }
  }

  async function settleOrPark(ref: JobRef, settle: () => Promise<unknown>): Promise<void> {
    try {
      await settle()
    } catch (error) {
      const failure = isTransient(error) ? 'failed_job' : 'poison'
      if (failurePolicies[failure].by === 'queue') throw error
      await park(pool, ref, { error, worker })
      onParked(ref, error)
    }
  }

  /** One that throws by itself keeps none of the others open. */
  async function expireHolds(holds: readonly TransferRef[]): Promise<void> {
    try {
      await retrying(patience, () => expireOnce(pool, holds))
    } catch (error) {
      if (isTransient(error)) throw error
      const [only] = holds
      if (holds.length === 1 && only !== undefined) onParked(only, error)
      else for (const hold of holds) await expireHolds([hold])
    }
  }

  return {
    settle: (ref) =>
      settleOrPark(ref, () => ('batchId' in ref ? settleBatch(ref) : group.submit(ref))),
    expireHolds,
    drained: group.drained,
  }
}

const patience = {
  ...failurePolicies.settlement_outage.retry,
  isRetryable: (error: unknown) => isTransient(error) || isLostRace(error),
}

/** A cancel or a twin settled one of the commands between our look and our insert. */
function isLostRace(error: unknown): boolean {
  const constraint = violatedUnique(error)
  return constraint === 'transfers_primary' || constraint === 'transfers_idempotency_key_unique'
}

function distinct(refs: readonly TransferRef[]): TransferRef[] {
  return [...new Map(refs.map((ref) => [ref.transferId, ref])).values()]
}

type Settlement = {
  pool: Pool
  load: (tx: Tx) => Promise<LoadedCommands>
  apply: typeof applyCommands
  worker: string
  ledgerSecret: string | undefined
  settlementId: string
}

/**
 * Settles commands in one transaction. The order of the steps is the proof that money moves once;
 * docs/ARCHITECTURE.md tells why each stands where it stands.
 */
function settleOnce(settlement: Settlement): Promise<Outcome[]> {
  const { pool, load, apply, worker, ledgerSecret, settlementId } = settlement
  return inTransaction(pool, {}, async (tx) => {
    const { commands, unknown } = await load(tx)
    for (const ref of unknown) {
      await defer(tx, ref, { reason: 'unknown_command', code: 'unknown_command', worker })
    }

    const accounts = await lockAccounts(tx, commands.map(toWantedAccounts))
    const parentRefs = commands.flatMap(toParentRef)
    const locked = await lockParents(tx, parentRefs)
    // A new statement, so that its snapshot is younger than the locks: it sees every twin's commit.
    const progress = await readProgress(tx, commands, accounts.values())
    const due = commands.filter((command) => isDue(command, progress))
    // A cancel takes no lock of accounts, so it may have come in between the two statements. What
    // is canceled never changes again, and needs no lock.
    const canceled = parentRefs.filter(
      ({ transferId }) => !locked.has(transferId) && progress.settled.has(transferId),
    )
    const parents = new Map([...locked, ...(await readParents(tx, canceled))])

    const result = apply({
      accounts,
      parents,
      commands: due.map(toLedgerCommand),
      now: progress.now,
    })
    const { decided, waiting } = decide(due, result)

    // No ON CONFLICT: a violation here means that somebody else settled one of them in this very
    // moment, and then nothing of this transaction may remain.
    await insertTransfers(tx, decided, result, settlementId)
    // After this point the transfers must succeed: only an outage may stop them, and then nothing
    // of them remains.
    await insertEntries(tx, result)
    await updateAccounts(tx, result.changed)
    await recordFacts(tx, decided, result)
    await updateDeferred(tx, { commands, progress, decided, waiting, worker })
    await wakeWaiting(tx, enriched(accounts, result.changed), [
      ...progress.awaited,
      ...waiting.map(({ tenantId, command }) => accountKey(tenantId, command.source ?? '')),
    ])
    // Last, since the chain is locked until the commit.
    await seal(tx, { settlementId, ledgerSecret, decided, result })
    return decided.map(({ outcome }) => outcome)
  })
}

function toWantedAccounts({ tenantId, command }: AcceptedCommand) {
  return { tenantId, accounts: accountsOf(command) }
}

function toParentRef({ tenantId, command: { parentId } }: AcceptedCommand): TransferRef[] {
  return parentId === null ? [] : [{ tenantId, transferId: parentId }]
}

type Progress = Awaited<ReturnType<typeof readProgress>>

/** The items of an atomic batch have no time of their own: they are due when their batch is. */
function isDue({ id, dueAt }: AcceptedCommand, { settled, now }: Progress): boolean {
  return !settled.has(id) && (dueAt === null || dueAt <= now)
}

type Decided = { command: AcceptedCommand; outcome: Outcome; state: ParentState }

/** Parts the commands that are settled now from those that wait for funds, as their client asked. */
function decide(
  commands: readonly AcceptedCommand[],
  { outcomes, settled }: LedgerResult,
): { decided: Decided[]; waiting: AcceptedCommand[] } {
  const decided: Decided[] = []
  const waiting: AcceptedCommand[] = []
  commands.forEach((command, index) => {
    const outcome = outcomes[index]
    const state = settled.get(command.id)
    if (outcome?.status === 'deferred') waiting.push(command)
    else if (outcome !== undefined && state !== undefined) decided.push({ command, outcome, state })
    else throw new Error(`transfer ${command.id} was not judged`)
  })
  return { decided, waiting }
}

/** The accounts that have more to spend than before. */
function enriched(
  before: ReadonlyMap<string, AccountState>,
  changed: readonly AccountState[],
): AccountState[] {
  return changed.filter((account) => {
    const earlier = before.get(accountKey(account.tenantId, account.id))
    return earlier !== undefined && available(account) > available(earlier)
  })
}

async function updateDeferred(
  tx: Tx,
  flush: {
    commands: readonly AcceptedCommand[]
    progress: Progress
    decided: readonly Decided[]
    waiting: readonly AcceptedCommand[]
    worker: string
  },
): Promise<void> {
  const { settled, deferred } = flush.progress
  const ended = new Set([...settled, ...flush.decided.map(({ command }) => command.id)])
  await removeDeferred(
    tx,
    flush.commands.filter(({ id }) => deferred.has(id) && ended.has(id)),
  )
  for (const command of flush.waiting) await waitForFunds(tx, command, flush.worker)
}

async function waitForFunds(tx: Tx, accepted: AcceptedCommand, worker: string): Promise<void> {
  const { tenantId, id, command } = accepted
  const times = [command.retryFundsUntil, expiryOf(accepted)].filter((time) => time !== null)
  const notAfter = new Date(Math.min(...times.map((time) => time.getTime())))
  await defer(
    tx,
    { tenantId, transferId: id },
    {
      reason: 'insufficient_funds',
      code: 'insufficient_funds',
      worker,
      awaitsAccount: command.source,
      notAfter,
    },
  )
}

/** Releases what is left of holds whose time is over, under the same locks in the same order. */
function expireOnce(pool: Pool, holds: readonly TransferRef[]): Promise<void> {
  return inTransaction(pool, {}, async (tx) => {
    const { rows } = await tx.query<{ tenant_id: string; source: string }>(
      `SELECT DISTINCT transfers.tenant_id, transfers.source
         FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
         JOIN transfers ON transfers.tenant_id = wanted.tenant_id AND transfers.id = wanted.id`,
      [holds.map(({ tenantId }) => tenantId), holds.map(({ transferId }) => transferId)],
    )
    const accounts = await lockAccounts(
      tx,
      rows.map((row) => ({ tenantId: row.tenant_id, accounts: [row.source] })),
    )
    const parents = await lockParents(tx, holds)
    const { now, awaited } = await readProgress(tx, [], accounts.values())
    const expiring = holds.map(({ transferId }) => transferId)
    const result = applyCommands({ accounts, parents, commands: [], expiring, now })
    await updateAccounts(tx, result.changed)
    await recordFacts(tx, [], result)
    await wakeWaiting(tx, result.changed, [...awaited])
  })
}

type Batch = { isAtomic: boolean; items: string[] }

/** A batch with the items that are its own; undefined where its items are settled and pruned. */
async function readBatch(pool: Pool, { tenantId, batchId }: BatchRef): Promise<Batch | undefined> {
  const { rows } = await pool.query<{ is_atomic: boolean; items: string[] }>(
    `SELECT is_atomic, ARRAY(
              SELECT transfer_id FROM batch_items
               WHERE batch_items.tenant_id = $1 AND batch_items.batch_id = $2 AND NOT is_replay
               ORDER BY position) AS items
       FROM transfer_batches
      WHERE tenant_id = $1 AND id = $2`,
    [tenantId, batchId],
  )
  const row = rows[0]
  return row && { isAtomic: row.is_atomic, items: row.items }
}

async function insertTransfers(
  tx: Tx,
  decided: readonly Decided[],
  { facts, settledAt }: LedgerResult,
  settlementId: string,
): Promise<void> {
  if (decided.length === 0) return
  const eventCounts = countFacts(facts)
  const column = <T>(valueOf: (one: Decided) => T) => columnOf(decided, valueOf)
  await tx.query(
    `INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, parent_id, source,
                            destination, amount, currency, legs, description, metadata,
                            captured_amount, refunded_amount, execute_at, expires_at, failure_code,
                            source_version, destination_version, created_at, callback_url,
                            event_count, settlement_id, settled_at)
     SELECT tenant_id, id, idempotency_key, kind, status, parent_id, source, destination, amount,
            currency, legs::jsonb, description, metadata::jsonb, captured_amount, refunded_amount,
            execute_at, expires_at, failure_code, source_version, destination_version, created_at,
            callback_url, event_count, $24, $25
       FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                   $7::uuid[], $8::uuid[], $9::bigint[], $10::text[], $11::text[], $12::text[],
                   $13::text[], $14::bigint[], $15::bigint[], $16::timestamptz[],
                   $17::timestamptz[], $18::text[], $19::bigint[], $20::bigint[],
                   $21::timestamptz[], $22::text[], $23::integer[])
         AS settled (tenant_id, id, idempotency_key, kind, status, parent_id, source, destination,
                     amount, currency, legs, description, metadata, captured_amount,
                     refunded_amount, execute_at, expires_at, failure_code, source_version,
                     destination_version, created_at, callback_url, event_count)`,
    [
      column(({ command }) => command.tenantId),
      column(({ command }) => command.id),
      column(({ command }) => command.idempotencyKey),
      column(({ command }) => command.command.kind),
      column(({ state }) => state.status),
      column(({ command }) => command.command.parentId),
      column(({ command }) => command.command.source),
      column(({ command }) => command.command.destination),
      column(({ command, outcome }) => outcome.amount ?? command.command.amount),
      column(({ command }) => command.command.currency),
      column((one) => jsonText(settledLegs(one))),
      column(({ command }) => command.command.description),
      column(({ command }) => jsonText(nullIfEmpty(command.command.metadata))),
      column(({ state }) => state.capturedAmount),
      column(({ state }) => state.refundedAmount),
      column(({ command }) => command.command.executeAt),
      column(({ command }) => expiryOf(command)),
      column(({ outcome }) => outcome.failureCode),
      column((one) => singleVersions(one)?.source ?? null),
      column((one) => singleVersions(one)?.destination ?? null),
      column(({ command }) => command.acceptedAt),
      column(({ command }) => command.command.callbackUrl),
      column(({ command }) => eventCounts.get(command.id) ?? 1),
      settlementId,
      settledAt,
    ],
  )
}

async function seal(
  tx: Tx,
  {
    settlementId,
    ledgerSecret,
    decided,
    result: { entries, settledAt },
  }: Pick<Settlement, 'settlementId' | 'ledgerSecret'> & {
    decided: readonly Decided[]
    result: LedgerResult
  },
): Promise<void> {
  if (decided.length === 0) return
  const transfers = decided.map((one): SealedTransfer => {
    const { command: accepted, outcome, state } = one
    const { command } = accepted
    const versions = singleVersions(one)
    return {
      tenantId: accepted.tenantId,
      id: accepted.id,
      idempotencyKey: accepted.idempotencyKey,
      kind: command.kind,
      status: state.status,
      parentId: command.parentId,
      source: command.source,
      destination: command.destination,
      amount: outcome.amount ?? command.amount,
      currency: command.currency,
      legs: settledLegs(one),
      description: command.description,
      metadata: nullIfEmpty(command.metadata),
      failureCode: outcome.failureCode,
      sourceVersion: versions?.source ?? null,
      destinationVersion: versions?.destination ?? null,
      createdAt: accepted.acceptedAt,
      settledAt,
    }
  })
  const sealed = entries.map((entry) => ({ ...entry, createdAt: settledAt }))
  await sealSettlement(tx, { id: settlementId, transfers, entries: sealed }, ledgerSecret)
}

function singleVersions({ command, outcome }: Decided): Outcome['versions'][number] | undefined {
  return command.command.legs === null ? outcome.versions[0] : undefined
}

/** The legs with the versions that they were judged at, since there are several of each. */
function settledLegs({ command, outcome }: Decided): LegRow[] | null {
  const legs = command.command.legs?.map((leg, index): LegRow => {
    const versions = outcome.versions[index]
    return {
      ...leg,
      amount: Number(leg.amount),
      ...(versions === undefined
        ? {}
        : {
            source_version: Number(versions.source),
            destination_version: Number(versions.destination),
          }),
    }
  })
  return legs ?? null
}

async function insertEntries(tx: Tx, { entries, settledAt }: LedgerResult): Promise<void> {
  if (entries.length === 0) return
  const column = <K extends keyof Entry>(name: K) => entries.map((entry) => entry[name])
  await tx.query(
    `INSERT INTO entries (tenant_id, account_id, seq, transfer_id, amount, balance_after, created_at)
     SELECT posted.*, $7
       FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[], $6::bigint[])
         AS posted`,
    [
      column('tenantId'),
      column('accountId'),
      column('seq'),
      column('transferId'),
      column('amount'),
      column('balanceAfter'),
      settledAt,
    ],
  )
}

async function updateAccounts(tx: Tx, changed: readonly AccountState[]): Promise<void> {
  if (changed.length === 0) return
  const column = <K extends keyof AccountState>(name: K) => changed.map((account) => account[name])
  const { rowCount } = await tx.query(
    `UPDATE accounts
        SET balance = after.balance, held = after.held, version = after.version,
            entry_count = after.entry_count, last_entry_at = after.last_entry_at
       FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                   $7::timestamptz[])
         AS after (tenant_id, id, balance, held, version, entry_count, last_entry_at)
      WHERE accounts.tenant_id = after.tenant_id AND accounts.id = after.id`,
    [
      column('tenantId'),
      column('id'),
      column('balance'),
      column('held'),
      column('version'),
      column('entryCount'),
      column('lastEntryAt'),
    ],
  )
  if (rowCount !== changed.length) throw new Error('an account vanished under its lock')
}

/** Writes what the facts change on earlier transfers, and an event for each fact. */
async function recordFacts(
  tx: Tx,
  decided: readonly Decided[],
  { facts, changedParents, settledAt }: LedgerResult,
): Promise<void> {
  const counts = countFacts(facts)
  const records = await updateParents(tx, changedParents, counts)
  for (const { command } of decided) {
    const { callbackUrl } = command.command
    records.set(command.id, { callbackUrl, eventCount: counts.get(command.id) ?? 1 })
  }
  await recordEvents(tx, transferEvents(facts, records), settledAt)
}

async function updateParents(
  tx: Tx,
  changed: readonly ParentState[],
  eventCounts: ReadonlyMap<string, number>,
): Promise<Map<string, EventRecord>> {
  if (changed.length === 0) return new Map()
  const column = <K extends keyof ParentState>(name: K) => changed.map((parent) => parent[name])
  const { rows } = await tx.query<EventRecord & { id: string }>(
    `UPDATE transfers
        SET status = after.status, captured_amount = after.captured_amount,
            refunded_amount = after.refunded_amount,
            event_count = transfers.event_count + after.new_events
       FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::integer[])
         AS after (tenant_id, id, status, captured_amount, refunded_amount, new_events)
      WHERE transfers.tenant_id = after.tenant_id AND transfers.id = after.id
      RETURNING transfers.id, transfers.event_count AS "eventCount",
                transfers.callback_url AS "callbackUrl"`,
    [
      column('tenantId'),
      column('id'),
      column('status'),
      column('capturedAmount'),
      column('refundedAmount'),
      changed.map(({ id }) => eventCounts.get(id) ?? 0),
    ],
  )
  if (rows.length !== changed.length) throw new Error('a parent vanished under its lock')
  return new Map(rows.map(({ id, ...record }) => [id, record]))
}

async function removeDeferred(tx: Tx, commands: readonly AcceptedCommand[]): Promise<void> {
  if (commands.length === 0) return
  await tx.query(
    `DELETE FROM deferred
      USING unnest($1::uuid[], $2::uuid[]) AS settled (tenant_id, id)
      WHERE deferred.tenant_id = settled.tenant_id AND deferred.transfer_id = settled.id`,
    [commands.map(({ tenantId }) => tenantId), commands.map(({ id }) => id)],
  )
}
