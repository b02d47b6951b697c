import { accountKey } from '../ledger/books.ts'
import { commandColumns, toAcceptedCommand, type CommandRow } from './transfer-row.ts'
import type { Tx } from '../db/client.ts'
import type { BatchRef, TransferRef } from '../ids.ts'
import type { AcceptedCommand, Kind } from './transfer.ts'

export type LoadedCommands = {
  /** In the order in which they are carried out: parents stand before their children. */
  commands: AcceptedCommand[]
  /** Those that only a newer worker can read. */
  unknown: TransferRef[]
}

/**
 * The commands of a flush in the order of their acceptance, with the parents that are due and not
 * settled pulled in, so that a child sent right after its parent need not wait for another flush.
 */
export async function readCommands(tx: Tx, refs: readonly TransferRef[]): Promise<LoadedCommands> {
  const loaded = await readCommandRows(tx, refs)
  const known = new Set(loaded.commands.map(({ id }) => id))
  let missing = parentRefs(loaded.commands, known)
  // A refund of a capture of a hold is the longest chain: two steps up.
  while (missing.length > 0) {
    const parents = await readWaitingParents(tx, missing)
    for (const parent of parents) known.add(parent.id)
    loaded.commands.push(...parents)
    missing = parentRefs(parents, known)
  }
  return { ...loaded, commands: loaded.commands.toSorted(byAcceptance) }
}

/** Each once: the children of one parent may come together. */
function parentRefs(
  commands: readonly AcceptedCommand[],
  known: ReadonlySet<string>,
): TransferRef[] {
  const parents = new Map<string, TransferRef>()
  for (const { tenantId, command } of commands) {
    const { parentId } = command
    if (parentId !== null && !known.has(parentId)) {
      parents.set(parentId, { tenantId, transferId: parentId })
    }
  }
  return [...parents.values()]
}

/** Of commands of one moment, parents come before their children. */
const depth: Record<Kind, number> = { transfer: 0, hold: 0, capture: 1, release: 1, refund: 2 }

function byAcceptance(a: AcceptedCommand, b: AcceptedCommand): number {
  return (
    a.acceptedAt.getTime() - b.acceptedAt.getTime() ||
    depth[a.command.kind] - depth[b.command.kind] ||
    (a.id < b.id ? -1 : 1)
  )
}

/** The range of the ids lets the plan leave out partitions that hold none of them. */
async function readCommandRows(tx: Tx, refs: readonly TransferRef[]): Promise<LoadedCommands> {
  const ids = refs.map(({ transferId }) => transferId)
  const sorted = ids.toSorted()
  const { rows } = await tx.query<CommandRow>(
    `SELECT ${commandColumns}
       FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
      CROSS JOIN LATERAL (
        SELECT * FROM commands
         WHERE commands.tenant_id = wanted.tenant_id AND commands.id = wanted.id
           AND commands.id BETWEEN $3 AND $4
         LIMIT 1
      ) AS commands`,
    [refs.map(({ tenantId }) => tenantId), ids, sorted[0], sorted.at(-1)],
  )
  return toLoaded(rows)
}

/** Those of the parents that are due, and neither settled nor put aside: these end their children. */
async function readWaitingParents(
  tx: Tx,
  refs: readonly TransferRef[],
): Promise<AcceptedCommand[]> {
  const { rows } = await tx.query<CommandRow>(
    `SELECT ${commandColumns}
       FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
       JOIN commands ON commands.tenant_id = wanted.tenant_id AND commands.id = wanted.id
      WHERE commands.due_at <= clock_timestamp()
        AND NOT EXISTS (SELECT FROM transfers
                         WHERE transfers.tenant_id = wanted.tenant_id
                           AND transfers.id = wanted.id)
        AND NOT EXISTS (SELECT FROM deferred
                         WHERE deferred.tenant_id = wanted.tenant_id
                           AND deferred.transfer_id = wanted.id)`,
    [refs.map(({ tenantId }) => tenantId), refs.map(({ transferId }) => transferId)],
  )
  return toLoaded(rows).commands
}

/** The items of a batch, in the order in which they were sent; those of earlier requests left out. */
export async function readBatchCommands(
  tx: Tx,
  { tenantId, batchId }: BatchRef,
): Promise<LoadedCommands> {
  const { rows } = await tx.query<CommandRow>(
    `SELECT ${commandColumns}
       FROM batch_items
       JOIN commands ON commands.tenant_id = batch_items.tenant_id
                    AND commands.id = batch_items.transfer_id
      WHERE batch_items.tenant_id = $1 AND batch_items.batch_id = $2
        AND NOT batch_items.is_replay
      ORDER BY batch_items.position`,
    [tenantId, batchId],
  )
  return toLoaded(rows)
}

function toLoaded(rows: readonly CommandRow[]): LoadedCommands {
  const commands: AcceptedCommand[] = []
  const unknown: TransferRef[] = []
  for (const row of rows) {
    const command = toAcceptedCommand(row)
    if (command === undefined) unknown.push({ tenantId: row.tenant_id, transferId: row.id })
    else commands.push(command)
  }
  return { commands, unknown }
}

export type Progress = {
  /** The database's time after the locks, cut to milliseconds. */
  now: Date
  settled: Set<string>
  deferred: Set<string>
  /** Those of the accounts, by `accountKey`, whose credit some deferred command waits for. */
  awaited: Set<string>
}

/** What is known by now of the commands and accounts of a flush, whose locks have been taken. */
export async function readProgress(
  tx: Tx,
  commands: readonly AcceptedCommand[],
  accounts: Iterable<{ tenantId: string; id: string }>,
): Promise<Progress> {
  type Row = { now: Date; settled: string[]; deferred: string[]; awaited: string[] }
  const locked = [...accounts]
  const { rows } = await tx.query<Row>(
    `WITH wanted AS (
       SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
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
            ARRAY(SELECT locked.tenant_id || '/' || locked.id
                    FROM unnest($3::uuid[], $4::uuid[]) AS locked (tenant_id, id)
                   WHERE EXISTS (SELECT FROM deferred
                                  WHERE deferred.tenant_id = locked.tenant_id
                                    AND deferred.awaits_account = locked.id)) AS awaited`,
    [
      commands.map(({ tenantId }) => tenantId),
      commands.map(({ id }) => id),
      locked.map(({ tenantId }) => tenantId),
      locked.map(({ id }) => id),
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

/** The key of the account that a command takes its money from. */
export function sourceKey({ tenantId, command }: AcceptedCommand): string | undefined {
  return command.source === null ? undefined : accountKey(tenantId, command.source)
}
