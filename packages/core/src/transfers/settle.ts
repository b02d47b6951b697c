import { inTransaction } from '../db/transaction.ts'
import { isTransient, violatedUnique } from '../db/transient.ts'
import { retrying } from '../db/retry.ts'
import { failurePolicies } from '../failure-policies.ts'
import { createGroupCommit } from '../group-commit.ts'
import {
  accountKey,
  applyCommands,
  type AccountState,
  type Entry,
  type LedgerResult,
  type Outcome,
} from '../ledger/apply.ts'
import { defer, park, wakeWaiting } from './defer.ts'
import { commandColumns, toAcceptedCommand, type CommandRow } from './transfer-row.ts'
import { metadataText, type AcceptedCommand } from './transfer.ts'
import type { Pool, Tx } from '../db/client.ts'
import type { NewId, TransferRef } from '../ids.ts'

export type Settler = {
  /**
   * Settles one command, together with others that are asked for at the same time. Resolves when
   * there is nothing more to do for now: it is settled, was settled before, is not due yet, or was
   * put into `deferred`. Throws only for outages: call again with the same reference.
   */
  settle(ref: TransferRef): Promise<void>
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
  onFlush(stats: SettlementStats): void
  /** A command that throws by itself was put aside: a bug, which an operator should look at. */
  onParked(ref: TransferRef, error: unknown): void
}

/** One ledger transaction settles at most so many commands: it stays a matter of milliseconds. */
export const MAX_SETTLED_TOGETHER = 500

export function createSettler(options: SettlerOptions): Settler {
  const { pool, newId, onFlush, onParked } = options

  async function flush(refs: readonly TransferRef[]): Promise<undefined[]> {
    const startedAt = performance.now()
    const outcomes = await retrying(
      {
        ...failurePolicies.settlement_outage.retry,
        isRetryable: (error) => isTransient(error) || isLostRace(error),
      },
      () => settleOnce(pool, distinct(refs), newId()),
    )
    onFlush({ outcomes, commands: refs.length, durationMs: performance.now() - startedAt })
    return refs.map(() => undefined)
  }

  const group = createGroupCommit<TransferRef, undefined>({
    flush,
    maxItems: MAX_SETTLED_TOGETHER,
    maxPending: 100_000,
    isTransient,
  })

  return {
    settle: async (ref) => {
      try {
        await group.submit(ref)
      } catch (error) {
        const failure = isTransient(error) ? 'failed_job' : 'poison'
        if (failurePolicies[failure].by === 'queue') throw error
        await park(pool, ref, error)
        onParked(ref, error)
      }
    },
    drained: group.drained,
  }
}

/** A cancel or a twin settled one of the commands between our look and our insert. */
function isLostRace(error: unknown): boolean {
  const constraint = violatedUnique(error)
  return constraint === 'transfers_primary' || constraint === 'transfers_idempotency_key_unique'
}

function distinct(refs: readonly TransferRef[]): TransferRef[] {
  return [...new Map(refs.map((ref) => [ref.transferId, ref])).values()]
}

/**
 * Settles commands in one transaction. The order of the steps is the proof that money moves once;
 * docs/ARCHITECTURE.md tells why each stands where it stands.
 */
function settleOnce(
  pool: Pool,
  refs: readonly TransferRef[],
  settlementId: string,
): Promise<Outcome[]> {
  return inTransaction(pool, {}, async (tx) => {
    const { commands, unknown } = await readCommands(tx, refs)
    for (const ref of unknown) {
      await defer(tx, ref, { reason: 'unknown_command', code: 'unknown_command' })
    }

    const accounts = await lockAccounts(tx, commands)
    // A new statement, so that its snapshot is younger than the locks: it sees every twin's commit.
    const { now, settled, deferred, awaited } = await readProgress(tx, commands)
    const due = commands.filter(({ id, dueAt }) => !settled.has(id) && dueAt <= now)
    const result = applyCommands(accounts, due.map(toLedgerCommand), now)
    const { decided, waiting } = decide(due, result, now)

    // No ON CONFLICT: a violation here means that somebody else settled one of them in this very
    // moment, and then nothing of this transaction may remain.
    await insertTransfers(tx, decided, result.settledAt, settlementId)
    // After this point the transfers must succeed: only an outage may stop them, and then nothing
    // of them remains.
    await insertEntries(tx, result)
    await updateAccounts(tx, result.changed)

    const ended = [...settled, ...decided.map(({ command }) => command.id)]
    await removeDeferred(
      tx,
      commands.filter(({ id }) => deferred.has(id) && ended.includes(id)),
    )
    for (const command of waiting) await waitForFunds(tx, command)
    await wakeWaiting(tx, result.entries, new Set([...awaited, ...waiting.map(sourceKey)]))
    return decided.map(({ outcome }) => outcome)
  })
}

type Decided = { command: AcceptedCommand; outcome: Outcome }

/** Parts the commands that are settled now from those that wait for funds, as their client asked. */
function decide(
  commands: readonly AcceptedCommand[],
  { outcomes }: LedgerResult,
  now: Date,
): { decided: Decided[]; waiting: AcceptedCommand[] } {
  const decided: Decided[] = []
  const waiting: AcceptedCommand[] = []
  outcomes.forEach((outcome, index) => {
    const command = commands[index]
    if (command === undefined) throw new Error('an outcome without a command')
    if (isTriedAgain(command, outcome, now)) waiting.push(command)
    else decided.push({ command, outcome })
  })
  return { decided, waiting }
}

/** A refusal ends a transfer, unless it is one that the client has asked to wait out. */
function isTriedAgain({ command }: AcceptedCommand, { failureCode }: Outcome, now: Date): boolean {
  if (failureCode === null) return false
  const { retryFundsUntil } = command
  const mayWait = retryFundsUntil !== null && now < retryFundsUntil
  const isAwaited = mayWait && failureCode === 'insufficient_funds'
  return failurePolicies[isAwaited ? 'insufficient_funds' : 'refusal'].policy === 'retry'
}

async function waitForFunds(tx: Tx, { tenantId, id, command }: AcceptedCommand): Promise<void> {
  await defer(
    tx,
    { tenantId, transferId: id },
    {
      reason: 'insufficient_funds',
      code: 'insufficient_funds',
      awaitsAccount: command.source,
      ...(command.retryFundsUntil === null ? {} : { notAfter: command.retryFundsUntil }),
    },
  )
}

function sourceKey({ tenantId, command }: AcceptedCommand): string {
  return accountKey(tenantId, command.source)
}

function toLedgerCommand({ tenantId, id, command }: AcceptedCommand) {
  return {
    tenantId,
    id,
    source: command.source,
    destination: command.destination,
    amount: command.amount,
  }
}

/**
 * The commands in the order in which they were accepted, and those only a newer worker can read. The
 * range of their ids lets the plan leave out partitions that hold none of them.
 */
async function readCommands(
  tx: Tx,
  refs: readonly TransferRef[],
): Promise<{ commands: AcceptedCommand[]; unknown: TransferRef[] }> {
  const ids = refs.map(({ transferId }) => transferId)
  const { rows } = await tx.query<CommandRow>(
    `SELECT ${commandColumns}
       FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
      CROSS JOIN LATERAL (
        SELECT * FROM commands
         WHERE commands.tenant_id = wanted.tenant_id AND commands.id = wanted.id
           AND commands.id BETWEEN $3 AND $4
         LIMIT 1
      ) AS commands
      ORDER BY commands.accepted_at, commands.id`,
    [refs.map(({ tenantId }) => tenantId), ids, ids.toSorted()[0], ids.toSorted().at(-1)],
  )
  const commands: AcceptedCommand[] = []
  const unknown: TransferRef[] = []
  for (const row of rows) {
    const command = toAcceptedCommand(row)
    if (command === undefined) unknown.push({ tenantId: row.tenant_id, transferId: row.id })
    else commands.push(command)
  }
  return { commands, unknown }
}

type AccountRow = {
  tenant_id: string
  id: string
  kind: AccountState['kind']
  status: AccountState['status']
  balance: bigint
  held: bigint
  overdraft_limit: bigint
  version: bigint
  entry_count: bigint
  last_entry_at: Date | null
}

/**
 * Locks the accounts in the order of their ids, the same everywhere, so that no two transactions
 * wait for each other. NO KEY UPDATE is enough: nobody changes an account's id.
 */
async function lockAccounts(
  tx: Tx,
  commands: readonly AcceptedCommand[],
): Promise<Map<string, AccountState>> {
  const wanted = new Map<string, [tenantId: string, accountId: string]>()
  for (const { tenantId, command } of commands) {
    for (const accountId of [command.source, command.destination]) {
      wanted.set(accountKey(tenantId, accountId), [tenantId, accountId])
    }
  }
  const { rows } = await tx.query<AccountRow>(
    `SELECT accounts.tenant_id, accounts.id, kind, status, balance, held, overdraft_limit, version,
            entry_count, last_entry_at
       FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
       JOIN accounts ON accounts.tenant_id = wanted.tenant_id AND accounts.id = wanted.id
      ORDER BY accounts.tenant_id, accounts.id
        FOR NO KEY UPDATE OF accounts`,
    [[...wanted.values()].map(([tenantId]) => tenantId), [...wanted.values()].map(([, id]) => id)],
  )
  return new Map(rows.map((row) => [accountKey(row.tenant_id, row.id), toAccountState(row)]))
}

function toAccountState(row: AccountRow): AccountState {
  return {
    tenantId: row.tenant_id,
    id: row.id,
    kind: row.kind,
    status: row.status,
    balance: row.balance,
    held: row.held,
    overdraftLimit: row.overdraft_limit,
    version: row.version,
    entryCount: row.entry_count,
    lastEntryAt: row.last_entry_at,
  }
}

type Progress = {
  now: Date
  settled: Set<string>
  deferred: Set<string>
  /** Those of the accounts, by `accountKey`, whose credit some deferred command waits for. */
  awaited: Set<string>
}

/** The database's time after the locks, and what is known by now of the commands. */
async function readProgress(tx: Tx, commands: readonly AcceptedCommand[]): Promise<Progress> {
  type Row = { now: Date; settled: string[]; deferred: string[]; awaited: string[] }
  const { rows } = await tx.query<Row>(
    `WITH wanted AS (
       SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS wanted (tenant_id, id, credited)
     )
     SELECT date_trunc('milliseconds', clock_timestamp()) AS now,
            ARRAY(SELECT settled.id FROM wanted CROSS JOIN LATERAL (
                    SELECT transfers.id FROM transfers
                     WHERE transfers.tenant_id = wanted.tenant_id AND transfers.id = wanted.id
                     LIMIT 1) AS settled) AS settled,
            ARRAY(SELECT deferred.transfer_id FROM wanted CROSS JOIN LATERAL (
                    SELECT transfer_id FROM deferred
                     WHERE deferred.tenant_id = wanted.tenant_id
                       AND deferred.transfer_id = wanted.id
                     LIMIT 1) AS deferred) AS deferred,
            ARRAY(SELECT wanted.tenant_id || '/' || wanted.credited FROM wanted
                   WHERE EXISTS (SELECT FROM deferred
                                  WHERE deferred.tenant_id = wanted.tenant_id
                                    AND deferred.awaits_account = wanted.credited)) AS awaited`,
    [
      commands.map(({ tenantId }) => tenantId),
      commands.map(({ id }) => id),
      commands.map(({ command }) => command.destination),
    ],
  )
  const row = rows[0]
  if (row === undefined) throw new Error('Postgres told no time')
  return {
    now: row.now,
    settled: new Set(row.settled),
    deferred: new Set(row.deferred),
    awaited: new Set(row.awaited),
  }
}

async function insertTransfers(
  tx: Tx,
  decided: readonly Decided[],
  settledAt: Date,
  settlementId: string,
): Promise<void> {
  if (decided.length === 0) return
  const commands = decided.map(({ command }) => command)
  const outcomes = decided.map(({ outcome }) => outcome)
  await tx.query(
    `INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, source, destination,
                            amount, currency, description, metadata, failure_code, source_version,
                            destination_version, settlement_id, created_at, settled_at)
     SELECT tenant_id, id, idempotency_key, kind, status, source, destination, amount, currency,
            description, metadata::jsonb, failure_code, source_version, destination_version, $15,
            created_at, $16
       FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[],
                   $7::uuid[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[],
                   $13::bigint[], $14::bigint[], $17::timestamptz[])
         AS settled (tenant_id, id, idempotency_key, kind, status, source, destination, amount,
                     currency, description, metadata, failure_code, source_version,
                     destination_version, created_at)`,
    [
      commands.map(({ tenantId }) => tenantId),
      commands.map(({ id }) => id),
      commands.map(({ idempotencyKey }) => idempotencyKey),
      commands.map(({ command }) => command.kind),
      outcomes.map(({ status }) => status),
      commands.map(({ command }) => command.source),
      commands.map(({ command }) => command.destination),
      commands.map(({ command }) => command.amount),
      commands.map(({ command }) => command.currency),
      commands.map(({ command }) => command.description),
      commands.map(({ command }) => metadataText(command.metadata)),
      outcomes.map(({ failureCode }) => failureCode),
      outcomes.map(({ sourceVersion }) => sourceVersion),
      outcomes.map(({ destinationVersion }) => destinationVersion),
      settlementId,
      settledAt,
      commands.map(({ acceptedAt }) => acceptedAt),
    ],
  )
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
        SET balance = after.balance, version = after.version, entry_count = after.entry_count,
            last_entry_at = after.last_entry_at
       FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[],
                   $6::timestamptz[])
         AS after (tenant_id, id, balance, version, entry_count, last_entry_at)
      WHERE accounts.tenant_id = after.tenant_id AND accounts.id = after.id`,
    [
      column('tenantId'),
      column('id'),
      column('balance'),
      column('version'),
      column('entryCount'),
      column('lastEntryAt'),
    ],
  )
  if (rowCount !== changed.length) throw new Error('an account vanished under its lock')
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
