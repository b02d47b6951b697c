import type { Queryable } from '../db/client.ts'

/** One signed, immutable line on one account, with the balance after it. */
export type AccountEntry = {
  seq: bigint
  transferId: string
  amount: bigint
  balanceAfter: bigint
  createdAt: Date
}

/** The entries of an account, newest first, below `beforeSeq` where one is given. */
export async function listEntries(
  db: Queryable,
  range: { tenantId: string; accountId: string; beforeSeq?: bigint | undefined; limit: number },
): Promise<AccountEntry[]> {
  const { rows } = await db.query<AccountEntry>(
    `SELECT seq, transfer_id AS "transferId", amount, balance_after AS "balanceAfter",
            created_at AS "createdAt"
       FROM entries
      WHERE tenant_id = $1 AND account_id = $2 AND ($3::bigint IS NULL OR seq < $3)
      ORDER BY seq DESC
      LIMIT $4`,
    [range.tenantId, range.accountId, range.beforeSeq ?? null, range.limit],
  )
  return rows
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
