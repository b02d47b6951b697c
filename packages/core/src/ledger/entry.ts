import type { Queryable } from '../db/client.ts'

/** One signed, immutable line on one account, with the balance after it. */
export type AccountEntry = {
  seq: bigint
  transferId: string
  amount: bigint
  balanceAfter: bigint
  createdAt: Date
}

export type EntryRange = {
  tenantId: string
  accountId: string
  beforeSeq?: bigint | undefined
  createdAfter?: Date | undefined
  createdBefore?: Date | undefined
  limit: number
}

/** The entries of an account, newest first, of a range of time where one is given. */
export async function listEntries(db: Queryable, range: EntryRange): Promise<AccountEntry[]> {
  const { tenantId, accountId, createdAfter, createdBefore } = range
  const low = createdAfter && (await findLastSeqAt(db, { tenantId, accountId, at: createdAfter }))
  // Times are cut to milliseconds, so the last moment before a time is a millisecond earlier.
  const end = createdBefore && new Date(createdBefore.getTime() - 1)
  const high = end && (await findLastSeqAt(db, { tenantId, accountId, at: end }))
  const { rows } = await db.query<AccountEntry>(
    `SELECT seq, transfer_id AS "transferId", amount, balance_after AS "balanceAfter",
            created_at AS "createdAt"
       FROM entries
      WHERE tenant_id = $1 AND account_id = $2 AND ($3::bigint IS NULL OR seq < $3)
        AND ($4::bigint IS NULL OR seq > $4) AND ($5::bigint IS NULL OR seq <= $5)
      ORDER BY seq DESC
      LIMIT $6`,
    [tenantId, accountId, range.beforeSeq ?? null, low ?? null, high ?? null, range.limit],
  )
  return rows
}

/**
 * The `seq` of the last entry at or before a time, 0 where there is none. Entries of an account are
 * in the order of their times, so it is found by halving, in some twenty steps among a million.
 */
async function findLastSeqAt(
  db: Queryable,
  { tenantId, accountId, at }: { tenantId: string; accountId: string; at: Date },
): Promise<bigint> {
  const { rows } = await db.query<{ seq: bigint }>(
    `WITH RECURSIVE search (low, high) AS (
       SELECT 0::bigint, entry_count FROM accounts WHERE tenant_id = $1 AND id = $2
        UNION ALL
       SELECT CASE WHEN entries.created_at <= $3 THEN entries.seq ELSE low END,
              CASE WHEN entries.created_at <= $3 THEN high ELSE entries.seq - 1 END
         FROM search
         JOIN entries ON tenant_id = $1 AND account_id = $2 AND seq = (low + high + 1) / 2
        WHERE low < high
     )
     SELECT low AS seq FROM search WHERE low = high`,
    [tenantId, accountId, at],
  )
  return rows[0]?.seq ?? 0n
}

/** The balance of an account as it was at a time: what all entries up to then sum to. */
export async function readBalanceAt(
  db: Queryable,
  point: { tenantId: string; accountId: string; at: Date },
): Promise<{ balance: bigint; seq: bigint }> {
  const seq = await findLastSeqAt(db, point)
  const { rows } = await db.query<{ balance: bigint }>(
    `SELECT balance_after AS balance FROM entries
      WHERE tenant_id = $1 AND account_id = $2 AND seq = $3`,
    [point.tenantId, point.accountId, seq],
  )
  return { balance: rows[0]?.balance ?? 0n, seq }
}

export type TrialBalance = { currency: string; balance: bigint; accounts: bigint; entries: bigint }

/** The sum over all accounts of a tenant, per currency: 0 wherever money is conserved. */
export async function readTrialBalance(db: Queryable, tenantId: string): Promise<TrialBalance[]> {
  const { rows } = await db.query<{
    currency: string
    balance: string
    accounts: bigint
    entries: string
  }>(
    `SELECT currency, sum(balance) AS balance, count(*) AS accounts, sum(entry_count) AS entries
       FROM accounts
      WHERE tenant_id = $1
      GROUP BY currency
      ORDER BY currency`,
    [tenantId],
  )
  return rows.map((row) => ({
    currency: row.currency,
    balance: BigInt(row.balance),
    accounts: row.accounts,
    entries: BigInt(row.entries),
  }))
}
