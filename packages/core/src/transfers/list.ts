import { Parameters } from '../db/parameters.ts'
import { lowestIdAt } from '../ids.ts'
import {
  commandColumns,
  toUnsettledTransfer,
  toTransfer,
  transferColumns,
  type CommandRow,
  type TransferRow,
} from './transfer-row.ts'
import { findAwaiting } from './unsettled.ts'
import type { Queryable } from '../db/client.ts'
import {
  isSettled,
  type Kind,
  type Metadata,
  type Transfer,
  type TransferStatus,
} from './transfer.ts'

export type TransferFilter = {
  tenantId: string
  accountId?: string | undefined
  status?: TransferStatus | undefined
  kind?: Kind | undefined
  /** Pairs that a transfer has to have, all of them. */
  metadata?: Metadata | undefined
  createdAfter?: Date | undefined
  createdBefore?: Date | undefined
}

/**
 * Where a page begins. All transfers are listed by their ids; those of one account are listed as its
 * book tells them: first what is not settled, then by the time of settlement.
 */
export type ListPosition =
  | { order: 'id'; id: string }
  | { order: 'book'; settledAt: Date; id: string; seq: string }

/** A page of transfers, and where the next one begins; undefined when this one is the last. */
export type TransferPage = { transfers: Transfer[]; next: ListPosition | undefined }

/**
 * A tenant's transfers, newest first. One that was just accepted is in it. The cost follows the page
 * and what is unsettled, never the history.
 */
export async function listTransfers(
  db: Queryable,
  filter: TransferFilter,
  page: { after?: ListPosition | undefined; limit: number },
): Promise<TransferPage> {
  return filter.accountId === undefined
    ? listById(db, filter, page)
    : listByBook(db, { ...filter, accountId: filter.accountId }, page)
}

async function listById(
  db: Queryable,
  filter: TransferFilter,
  { after, limit }: { after?: ListPosition | undefined; limit: number },
): Promise<TransferPage> {
  const range = { beforeId: after?.id, limit: limit + 1 }
  // One more than the page from each side: whatever belongs on the page is in one of them. The
  // settled ones are read last, since a status never goes back.
  const awaiting = await findUnsettledById(db, filter, range)
  const settled = isUnsettledStatus(filter.status) ? [] : await findSettledById(db, filter, range)
  const byId = new Map([...awaiting, ...settled].map((transfer) => [transfer.id, transfer]))
  const transfers = [...byId.values()].toSorted((a, b) => (a.id < b.id ? 1 : -1))
  return cut(transfers, limit, (last) => ({ order: 'id', id: last.id }))
}

type Range = { beforeId: string | undefined; limit: number }

/**
 * Without a filter, what was accepted is a superset that its index gives in order; with one, looking
 * through all of it could take long, and the unsettled ones are few.
 */
async function findUnsettledById(
  db: Queryable,
  filter: TransferFilter,
  range: Range,
): Promise<Transfer[]> {
  if (filter.status !== undefined && !isUnsettledStatus(filter.status)) return []
  const { tenantId, status, kind, metadata } = filter
  const isPlain = status === undefined && kind === undefined && metadata === undefined
  if (isPlain) return findAccepted(db, filter, range)
  return findAwaiting(db, { ...range, tenantId, conditions: (p) => commandConditions(filter, p) })
}

function isUnsettledStatus(status: TransferStatus | undefined): boolean {
  return status !== undefined && !isSettled({ status })
}

function cut(
  transfers: Transfer[],
  limit: number,
  positionOf: (last: Transfer) => ListPosition,
): TransferPage {
  const shown = transfers.slice(0, limit)
  const last = shown.at(-1)
  return {
    transfers: shown,
    next: transfers.length > limit && last !== undefined ? positionOf(last) : undefined,
  }
}

/**
 * Ids are made just before the acceptance that dates a transfer. A minute on either side lets the
 * index of ids find a range of times; the exact time is compared besides.
 */
const idSlackMs = 60_000

function idConditions(
  { createdAfter, createdBefore }: TransferFilter,
  beforeId: string | undefined,
  p: Parameters,
): string[] {
  const early = createdAfter && lowestIdAt(new Date(createdAfter.getTime() - idSlackMs))
  const late = createdBefore && lowestIdAt(new Date(createdBefore.getTime() + idSlackMs))
  return [
    ...(beforeId === undefined ? [] : [`id < ${p.add(beforeId)}`]),
    ...(early === undefined ? [] : [`id >= ${p.add(early)}`]),
    ...(late === undefined ? [] : [`id < ${p.add(late)}`]),
  ]
}

/** What the filter asks of a row of `commands`. */
function commandConditions(filter: TransferFilter, p: Parameters): string[] {
  const { accountId, status, kind, metadata, createdAfter, createdBefore } = filter
  return [
    ...(createdAfter === undefined ? [] : [`commands.accepted_at > ${p.add(createdAfter)}`]),
    ...(createdBefore === undefined ? [] : [`commands.accepted_at < ${p.add(createdBefore)}`]),
    ...(status === undefined ? [] : [`${isScheduled} = ${p.add(status === 'scheduled')}`]),
    ...(kind === undefined ? [] : [`command->>'kind' = ${p.add(kind)}`]),
    ...(metadata === undefined
      ? []
      : [`(command->'metadata')::jsonb @> ${p.add(JSON.stringify(metadata))}::jsonb`]),
    ...(accountId === undefined ? [] : [namesAccount(p.add(accountId))]),
  ]
}

const isScheduled = `coalesce((command->>'execute_at')::timestamptz > clock_timestamp(), false)`

function namesAccount(account: string): string {
  const legWith = (side: string) =>
    `(command->'legs')::jsonb @> jsonb_build_array(jsonb_build_object('${side}', ${account}::text))`
  return `(${account}::text IN (command->>'source', command->>'destination')
           OR ${legWith('source')} OR ${legWith('destination')})`
}

/** What the filter asks of a row of `transfers`, but for its account. */
function transferConditions(filter: TransferFilter, p: Parameters): string[] {
  const { status, kind, metadata, createdAfter, createdBefore } = filter
  return [
    ...(createdAfter === undefined ? [] : [`transfers.created_at > ${p.add(createdAfter)}`]),
    ...(createdBefore === undefined ? [] : [`transfers.created_at < ${p.add(createdBefore)}`]),
    ...(status === undefined ? [] : [`transfers.status = ${p.add(status)}`]),
    // What is compared with a constant lets the partial indexes serve.
    ...(status === undefined || status === 'succeeded' ? [] : [hasNoEntries]),
    ...(kind === undefined ? [] : [`transfers.kind = ${p.add(kind)}`]),
    ...(kind === undefined || kind === 'transfer' ? [] : [`transfers.kind <> 'transfer'`]),
    ...(metadata === undefined
      ? []
      : [`transfers.metadata @> ${p.add(JSON.stringify(metadata))}::jsonb`]),
  ]
}

/** As in the schema: refused, canceled and expired transfers, and what only reserves. */
const hasNoEntries = `(transfers.status <> 'succeeded' OR transfers.kind IN ('hold', 'release'))`

/** False where none of what is asked for has entries: then a whole book is not looked through. */
function mayHaveEntries({ status, kind }: TransferFilter): boolean {
  return (status ?? 'succeeded') === 'succeeded' && kind !== 'hold' && kind !== 'release'
}

/** What was accepted, settled or not: the settled ones are told by their own rows as well. */
async function findAccepted(
  db: Queryable,
  filter: TransferFilter,
  { beforeId, limit }: Range,
): Promise<Transfer[]> {
  const p = new Parameters()
  const conditions = [
    `commands.tenant_id = ${p.add(filter.tenantId)}`,
    ...idConditions(filter, beforeId, p),
    ...commandConditions(filter, p),
  ]
  const { rows } = await db.query<CommandRow & { now: Date }>(
    `SELECT ${commandColumns}, clock_timestamp() AS now FROM commands
      WHERE ${conditions.join(' AND ')}
      ORDER BY id DESC
      LIMIT ${p.add(limit)}`,
    p.values,
  )
  return rows.flatMap((row) => toUnsettledTransfer(row) ?? [])
}

async function findSettledById(
  db: Queryable,
  filter: TransferFilter,
  { beforeId, limit }: Range,
): Promise<Transfer[]> {
  const p = new Parameters()
  const conditions = [
    `transfers.tenant_id = ${p.add(filter.tenantId)}`,
    ...idConditions(filter, beforeId, p),
    ...transferConditions(filter, p),
  ]
  const { rows } = await db.query<TransferRow>(
    `SELECT ${transferColumns} FROM transfers
      WHERE ${conditions.join(' AND ')}
      ORDER BY id DESC
      LIMIT ${p.add(limit)}`,
    p.values,
  )
  return rows.map(toTransfer)
}

type BookFilter = TransferFilter & { accountId: string }
type BookRow = TransferRow & { seq: bigint | null }

async function listByBook(
  db: Queryable,
  filter: BookFilter,
  { after, limit }: { after?: ListPosition | undefined; limit: number },
): Promise<TransferPage> {
  const wanted = limit + 1
  const awaiting =
    after?.order === 'book' ? [] : await findAwaitingOf(db, filter, after?.id, wanted)
  const rows =
    awaiting.length >= wanted || isUnsettledStatus(filter.status)
      ? []
      : await readBook(db, filter, after?.order === 'book' ? after : undefined, wanted)
  const settled = rows.map(toTransfer)
  const seqs = new Map(rows.map((row) => [row.id, row.seq]))
  // What settled between the two looks is in both: its settled form is the younger truth.
  const settledIds = new Set(settled.map(({ id }) => id))
  const transfers = [...awaiting.filter(({ id }) => !settledIds.has(id)), ...settled]
  return cut(transfers, limit, (last) =>
    last.settledAt === null
      ? { order: 'id', id: last.id }
      : {
          order: 'book',
          settledAt: last.settledAt,
          // Of one moment those without entries come first: behind one with entries none is left.
          id: seqs.get(last.id) == null ? last.id : beforeAllIds,
          seq: lowestSeq(transfers.slice(0, limit), seqs, after),
        },
  )
}

const beforeAllIds = '00000000-0000-0000-0000-000000000000'

/** The entry down to which the book has been told: failed transfers have none, so it may be older. */
function lowestSeq(
  shown: readonly Transfer[],
  seqs: ReadonlyMap<string, bigint | null>,
  after: ListPosition | undefined,
): string {
  const seq = shown
    .toReversed()
    .map(({ id }) => seqs.get(id))
    .find((found) => found != null)
  return (seq ?? (after?.order === 'book' ? after.seq : largestSeq)).toString()
}

const largestSeq = '9223372036854775807'

async function findAwaitingOf(
  db: Queryable,
  filter: BookFilter,
  beforeId: string | undefined,
  limit: number,
): Promise<Transfer[]> {
  if (filter.status !== undefined && !isUnsettledStatus(filter.status)) return []
  const { tenantId } = filter
  const conditions = (p: Parameters) => commandConditions(filter, p)
  return findAwaiting(db, { tenantId, beforeId, limit, conditions })
}

/**
 * What settled on an account, youngest first: money that moved through its entries, and what has no
 * entries through the indexes of such transfers. A multi-leg transfer may have several entries on
 * one account: it stands where its last one stands.
 */
async function readBook(
  db: Queryable,
  filter: BookFilter,
  after: { settledAt: Date; id: string; seq: string } | undefined,
  limit: number,
): Promise<BookRow[]> {
  const p = new Parameters()
  const tenant = p.add(filter.tenantId)
  const account = p.add(filter.accountId)
  const seq = p.add(after?.seq ?? largestSeq)
  const settledAt = p.add(after?.settledAt ?? null)
  const id = p.add(after?.id ?? null)
  const cap = p.add(limit)
  const asked = transferConditions(filter, p)
    .map((condition) => `AND ${condition}`)
    .join(' ')
  const withoutEntries = (isOnAccount: string) => `
       SELECT ${transferColumns}, NULL::bigint AS seq FROM transfers
        WHERE tenant_id = ${tenant} AND ${isOnAccount}
          AND (${settledAt}::timestamptz IS NULL OR (settled_at, id) < (${settledAt}, ${id}::uuid))
          ${asked}
        ORDER BY settled_at DESC, id DESC
        LIMIT ${cap}`
  const hasLeg = (side: string) =>
    `legs @> jsonb_build_array(jsonb_build_object('${side}', ${account}::text))`
  const { rows } = await db.query<BookRow>(
    `WITH moved AS (
       SELECT ${transferColumns}, entries.seq
         FROM entries
         JOIN transfers ON transfers.tenant_id = ${tenant} AND transfers.id = entries.transfer_id
        WHERE entries.tenant_id = ${tenant} AND entries.account_id = ${account}
          AND entries.seq < ${seq} AND ${mayHaveEntries(filter)}
          AND (transfers.legs IS NULL OR NOT EXISTS (
                SELECT FROM entries AS later
                 WHERE later.tenant_id = ${tenant} AND later.account_id = ${account}
                   AND later.seq BETWEEN entries.seq + 1 AND entries.seq + 200
                   AND later.transfer_id = entries.transfer_id))
          ${asked}
        ORDER BY entries.seq DESC
        LIMIT ${cap}
     ), not_sent AS (${withoutEntries(`source = ${account} AND ${hasNoEntries}`)}
     ), not_received AS (${withoutEntries(`destination = ${account} AND ${hasNoEntries}`)}
     ), not_moved AS (${withoutEntries(
       `legs IS NOT NULL AND status <> 'succeeded' AND (${hasLeg('source')} OR ${hasLeg('destination')})`,
     )}
     )
     SELECT * FROM (TABLE moved UNION ALL TABLE not_sent UNION ALL TABLE not_received
                    UNION ALL TABLE not_moved) AS book
      ORDER BY settled_at DESC, seq DESC NULLS FIRST, id DESC
      LIMIT ${cap}`,
    p.values,
  )
  return rows
}
