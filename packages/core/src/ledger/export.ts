import { lowestIdAt } from '../ids.ts'
import type { Queryable } from '../db/client.ts'
import type { AccountKind } from './account.ts'

/*
 * The books of one tenant in pages, for whoever writes them down elsewhere. Every statement is short
 * and reads one page, so that no snapshot grows old; what is read below a horizon never changes.
 */

/** What of an account stays as it is for ever, and its name, which may change. */
export type ExportedAccount = {
  id: string
  kind: AccountKind
  currency: string
  reference: string | null
  name: string | null
}

/** A transfer that moved money. */
export type Movement = {
  id: string
  kind: 'transfer' | 'capture' | 'refund'
  idempotencyKey: string
  parentId: string | null
  description: string | null
  metadata: Readonly<Record<string, string>>
  settlementId: string
  settledAt: Date
  legs: readonly MovedLeg[]
}

export type MovedLeg = { source: string; destination: string; amount: bigint }

/** What an account had at a moment. */
export type AccountBalance = ExportedAccount & { balance: bigint }

/** 500: each account may be looked up by halving its entries. */
const accountsPerPage = 500
/** 1,000: with all the metadata that is allowed, a page is 30 MB; as a rule it is a few 100 kB. */
const transfersPerPage = 1_000

const beforeAllIds = '00000000-0000-0000-0000-000000000000'

/** A tenant's accounts that were opened before a time, in the order of their ids. */
export async function* exportAccounts(
  db: Queryable,
  { tenantId, before }: { tenantId: string; before: Date },
): AsyncGenerator<ExportedAccount[], void> {
  for (let after: string | undefined = beforeAllIds; after !== undefined;) {
    const { rows }: { rows: ExportedAccount[] } = await db.query<ExportedAccount>(
      `SELECT id, kind, currency, reference, name FROM accounts
        WHERE tenant_id = $1 AND id > $2 AND created_at < $3
        ORDER BY id
        LIMIT $4`,
      [tenantId, after, before, accountsPerPage],
    )
    yield rows
    after = rows.length < accountsPerPage ? undefined : rows.at(-1)?.id
  }
}

/** The accounts with these ids. */
export async function readExportedAccounts(
  db: Queryable,
  tenantId: string,
  ids: readonly string[],
): Promise<ExportedAccount[]> {
  const { rows } = await db.query<ExportedAccount>(
    `SELECT id, kind, currency, reference, name FROM accounts
      WHERE tenant_id = $1 AND id = ANY ($2::uuid[])`,
    [tenantId, ids],
  )
  return rows
}

/**
 * What the accounts that had entries before a time had then, by the running balance of the last of
 * those entries. Of an account that moved since, it is found by halving, as in entry.ts.
 */
export async function* exportBalances(
  db: Queryable,
  { tenantId, before }: { tenantId: string; before: Date },
): AsyncGenerator<AccountBalance[], void> {
  for (let after: string | undefined = beforeAllIds; after !== undefined;) {
    const { rows }: { rows: (ExportedAccount & { balance: bigint | null })[] } = await db.query(
      `SELECT page.id, page.kind, page.currency, page.reference, page.name, past.balance
         FROM (SELECT * FROM accounts WHERE tenant_id = $1 AND id > $2
                ORDER BY id LIMIT $4) AS page
         LEFT JOIN LATERAL (
           WITH RECURSIVE search (low, high) AS (
             SELECT CASE WHEN page.last_entry_at < $3 THEN page.entry_count ELSE 0 END,
                    page.entry_count
              UNION ALL
             SELECT CASE WHEN entries.created_at < $3 THEN entries.seq ELSE low END,
                    CASE WHEN entries.created_at < $3 THEN high ELSE entries.seq - 1 END
               FROM search
               JOIN entries ON entries.tenant_id = $1 AND entries.account_id = page.id
                           AND entries.seq = (low + high + 1) / 2
              WHERE low < high
           )
           SELECT entries.balance_after AS balance
             FROM search
             JOIN entries ON entries.tenant_id = $1 AND entries.account_id = page.id
                         AND entries.seq = low
            WHERE low = high) AS past ON true
        ORDER BY page.id`,
      [tenantId, after, before, accountsPerPage],
    )
    yield rows.flatMap(({ balance, ...account }) =>
      balance === null ? [] : [{ ...account, balance }],
    )
    after = rows.length < accountsPerPage ? undefined : rows.at(-1)?.id
  }
}

type MovementRow = Omit<Movement, 'legs'> & {
  hasMoved: boolean
  source: string | null
  destination: string | null
  amount: bigint | null
  legs: { source: string; destination: string; amount: number }[] | null
}

/** Ids are made just before the acceptance that dates a transfer, on a clock of their own. */
const idSlackMs = 60_000

/**
 * The transfers that moved money from `from` on and before `before`, in the order of their ids, which
 * is about that of their acceptance. `before` must lie at or below the horizon.
 */
export async function* exportMovements(
  db: Queryable,
  range: { tenantId: string; from: Date | undefined; before: Date },
): AsyncGenerator<Movement[], void> {
  const { tenantId, from, before } = range
  // Nothing is settled before it was accepted, so what has a later id cannot be in the range.
  const endId = lowestIdAt(new Date(before.getTime() + idSlackMs))
  for (let after: string | undefined = beforeAllIds; after !== undefined;) {
    const { rows }: { rows: MovementRow[] } = await db.query<MovementRow>(
      `SELECT id, kind, idempotency_key AS "idempotencyKey", parent_id AS "parentId", description,
              coalesce(metadata, '{}') AS metadata, settlement_id AS "settlementId",
              settled_at AS "settledAt", source, destination, amount, legs,
              status = 'succeeded' AND kind IN ('transfer', 'capture', 'refund') AS "hasMoved"
         FROM transfers
        WHERE tenant_id = $1 AND id > $2 AND id < $3
        ORDER BY id
        LIMIT $4`,
      [tenantId, after, endId, transfersPerPage],
    )
    yield rows
      .filter((row) => row.hasMoved && row.settledAt < before)
      .filter((row) => from === undefined || row.settledAt >= from)
      .map(toMovement)
    after = rows.length < transfersPerPage ? undefined : rows.at(-1)?.id
  }
}

function toMovement({ source, destination, amount, legs, ...row }: MovementRow): Movement {
  if (legs !== null) {
    return { ...row, legs: legs.map((leg) => ({ ...leg, amount: BigInt(leg.amount) })) }
  }
  if (source === null || destination === null || amount === null) {
    throw new Error(`transfer ${row.id} moved money and does not say which`)
  }
  return { ...row, legs: [{ source, destination, amount }] }
}
