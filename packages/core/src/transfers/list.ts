import { lowestIdAt } from '../ids.ts'
import {
  commandColumns,
  toQueuedTransfer,
  toTransfer,
  transferColumns,
  type CommandRow,
  type TransferRow,
} from './transfer-row.ts'
import { findQueued } from './unsettled.ts'
import type { Queryable } from '../db/client.ts'
import type { Transfer, TransferStatus } from './transfer.ts'

export type TransferFilter = {
  tenantId: string
  accountId?: string | undefined
  status?: TransferStatus | undefined
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
  const beforeId = after?.id
  const wanted = limit + 1
  // One more than the page from each side: whatever belongs on the page is in one of them.
  const queued =
    filter.status === 'queued'
      ? await findQueued(db, { ...filter, beforeId, limit: wanted })
      : filter.status === undefined
        ? await findAccepted(db, filter, beforeId, wanted)
        : []
  const settled =
    filter.status === 'queued' ? [] : await findSettledById(db, filter, beforeId, wanted)
  const byId = new Map([...queued, ...settled].map((transfer) => [transfer.id, transfer]))
  const transfers = [...byId.values()].toSorted((a, b) => (a.id < b.id ? 1 : -1))
  return cut(transfers, limit, (last) => ({ order: 'id', id: last.id }))
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

function idRange({
  createdAfter,
  createdBefore,
}: TransferFilter): [low: string | null, high: string | null] {
  return [
    createdAfter === undefined ? null : lowestIdAt(new Date(createdAfter.getTime() - idSlackMs)),
    createdBefore === undefined ? null : lowestIdAt(new Date(createdBefore.getTime() + idSlackMs)),
  ]
}

/** What was accepted, settled or not: the settled ones are told by their own rows as well. */
async function findAccepted(
  db: Queryable,
  filter: TransferFilter,
  beforeId: string | undefined,
  limit: number,
): Promise<Transfer[]> {
  const { rows } = await db.query<CommandRow>(
    `SELECT ${commandColumns} FROM commands
      WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
        AND ($3::uuid IS NULL OR id >= $3) AND ($4::uuid IS NULL OR id < $4)
        AND ($5::timestamptz IS NULL OR accepted_at > $5)
        AND ($6::timestamptz IS NULL OR accepted_at < $6)
      ORDER BY id DESC
      LIMIT $7`,
    [
      filter.tenantId,
      beforeId ?? null,
      ...idRange(filter),
      filter.createdAfter ?? null,
      filter.createdBefore ?? null,
      limit,
    ],
  )
  return rows.flatMap((row) => toQueuedTransfer(row) ?? [])
}

async function findSettledById(
  db: Queryable,
  filter: TransferFilter,
  beforeId: string | undefined,
  limit: number,
): Promise<Transfer[]> {
  // 'succeeded' is left to the filter, so that the other statuses are found by their own index.
  const { rows } = await db.query<TransferRow>(
    `SELECT ${transferColumns} FROM transfers
      WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
        AND ($3::uuid IS NULL OR id >= $3) AND ($4::uuid IS NULL OR id < $4)
        AND ($5::timestamptz IS NULL OR created_at > $5)
        AND ($6::timestamptz IS NULL OR created_at < $6)
        ${statusCondition(filter.status, '$8')}
      ORDER BY id DESC
      LIMIT $7`,
    [
      filter.tenantId,
      beforeId ?? null,
      ...idRange(filter),
      filter.createdAfter ?? null,
      filter.createdBefore ?? null,
      limit,
      ...(filter.status === undefined ? [] : [filter.status]),
    ],
  )
  return rows.map(toTransfer)
}

function statusCondition(status: TransferStatus | undefined, parameter: string): string {
  if (status === undefined) return ''
  if (status === 'succeeded') return `AND status = ${parameter}`
  // The second half is what lets the partial index of unsuccessful transfers serve.
  return `AND status = ${parameter} AND status <> 'succeeded'`
}

type BookRow = TransferRow & { seq: bigint | null }

async function listByBook(
  db: Queryable,
  filter: TransferFilter & { accountId: string },
  { after, limit }: { after?: ListPosition | undefined; limit: number },
): Promise<TransferPage> {
  const wanted = limit + 1
  const queued = after?.order === 'book' ? [] : await findQueuedOf(db, filter, after?.id, wanted)
  const rows =
    queued.length >= wanted || filter.status === 'queued'
      ? []
      : await readBook(db, filter, after?.order === 'book' ? after : undefined, wanted)
  const settled = rows.map(toTransfer)
  const seqs = new Map(rows.map((row) => [row.id, row.seq]))
  // What settled between the two looks is in both: its settled form is the younger truth.
  const settledIds = new Set(settled.map(({ id }) => id))
  const transfers = [...queued.filter(({ id }) => !settledIds.has(id)), ...settled]
  return cut(transfers, limit, (last) =>
    last.settledAt === null
      ? { order: 'id', id: last.id }
      : {
          order: 'book',
          settledAt: last.settledAt,
          // Of one moment the unsuccessful ones come first: behind one that moved none is left.
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

async function findQueuedOf(
  db: Queryable,
  filter: TransferFilter & { accountId: string },
  beforeId: string | undefined,
  limit: number,
): Promise<Transfer[]> {
  if (filter.status !== undefined && filter.status !== 'queued') return []
  return findQueued(db, { ...filter, beforeId, limit })
}

/**
 * What settled on an account, youngest first: money that moved through its entries, and what did not
 * move through the indexes of unsuccessful transfers.
 */
async function readBook(
  db: Queryable,
  filter: TransferFilter & { accountId: string },
  after: { settledAt: Date; id: string; seq: string } | undefined,
  limit: number,
): Promise<BookRow[]> {
  const { rows } = await db.query<BookRow>(
    `WITH moved AS (
       SELECT ${transferColumns}, entries.seq
         FROM entries
         JOIN transfers ON transfers.tenant_id = $1 AND transfers.id = entries.transfer_id
        WHERE entries.tenant_id = $1 AND entries.account_id = $2 AND entries.seq < $3
          AND ($6::text IS NULL OR $6 = 'succeeded')
          AND ($7::timestamptz IS NULL OR transfers.created_at > $7)
          AND ($8::timestamptz IS NULL OR transfers.created_at < $8)
        ORDER BY entries.seq DESC
        LIMIT $9
     ), not_sent AS (${unsuccessful('source')}), not_received AS (${unsuccessful('destination')})
     SELECT * FROM (TABLE moved UNION ALL TABLE not_sent UNION ALL TABLE not_received) AS book
      ORDER BY settled_at DESC, seq DESC NULLS FIRST, id DESC
      LIMIT $9`,
    [
      filter.tenantId,
      filter.accountId,
      after?.seq ?? largestSeq,
      after?.settledAt ?? null,
      after?.id ?? null,
      filter.status ?? null,
      filter.createdAfter ?? null,
      filter.createdBefore ?? null,
      limit,
    ],
  )
  return rows
}

function unsuccessful(side: 'source' | 'destination'): string {
  return `SELECT ${transferColumns}, NULL::bigint AS seq FROM transfers
           WHERE tenant_id = $1 AND ${side} = $2 AND status <> 'succeeded'
             AND ($4::timestamptz IS NULL OR (settled_at, id) < ($4, $5::uuid))
             AND ($6::text IS NULL OR status = $6)
             AND ($7::timestamptz IS NULL OR created_at > $7)
             AND ($8::timestamptz IS NULL OR created_at < $8)
           ORDER BY settled_at DESC, id DESC
           LIMIT $9`
}
