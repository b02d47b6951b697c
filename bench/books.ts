import type { BenchDatabase } from './database.ts'

/**
 * Reads the whole books and returns what is wrong with them, in words: a rate is worth nothing when
 * money was lost on the way. `accepted` is what clients were told; more may stand in the books,
 * since an answer can be lost on a broken connection, unless `exactly` says that none was.
 */
export async function findFaultsInBooks(
  { pool, tenantId }: Pick<BenchDatabase, 'pool' | 'tenantId'>,
  { accepted, exactly = false }: { accepted: number; exactly?: boolean },
): Promise<string[]> {
  const { rows } = await pool.query<BooksRow>(readBooks, [tenantId])
  const found = rows[0]
  if (found === undefined) throw new Error('the books could not be read')
  const faults = checks.filter(({ member }) => found[member] !== 0n)
  const missing = BigInt(accepted) - found.keys
  return [
    ...faults.map(({ member, fault }) => `${fault}: ${found[member]}`),
    ...(missing > 0n ? [`accepted transfers without a key: ${missing}`] : []),
    ...(exactly && missing < 0n ? [`transfers that nobody asked for: ${-missing}`] : []),
  ]
}

const checks = [
  { member: 'balance', fault: 'the balances of all accounts do not sum to zero' },
  { member: 'unsettled', fault: 'accepted and not settled' },
  { member: 'unpaired', fault: 'succeeded transfers without two entries that sum to zero' },
  { member: 'strayEntries', fault: 'entries of no succeeded transfer' },
  { member: 'brokenChains', fault: 'entries that do not continue the chain of their account' },
  { member: 'wrongBalances', fault: 'accounts that differ from their last entry' },
] as const

type BooksRow = Record<(typeof checks)[number]['member'] | 'keys', bigint>

const readBooks = `
  WITH pairs AS MATERIALIZED (
    SELECT transfer_id, count(*) AS entries, sum(amount) AS total
      FROM entries WHERE tenant_id = $1 GROUP BY transfer_id
  ), succeeded AS MATERIALIZED (
    SELECT id FROM transfers WHERE tenant_id = $1 AND status = 'succeeded'
  ), chain AS MATERIALIZED (
    SELECT account_id, seq, balance_after,
           lag(seq, 1, 0::bigint) OVER entry AS seq_before,
           lag(balance_after, 1, 0::bigint) OVER entry + amount AS balance_expected,
           lead(seq) OVER entry IS NULL AS is_last
      FROM entries WHERE tenant_id = $1
    WINDOW entry AS (PARTITION BY account_id ORDER BY seq)
  )
  SELECT (SELECT coalesce(sum(balance), 0)::bigint FROM accounts WHERE tenant_id = $1) AS "balance",
         (SELECT count(*) FROM idempotency_keys AS accepted
           WHERE tenant_id = $1 AND due_at IS NOT NULL AND resource = 'transfer'
             AND NOT EXISTS (SELECT FROM transfers WHERE transfers.tenant_id = accepted.tenant_id
                                AND transfers.id = accepted.resource_id)) AS "unsettled",
         (SELECT count(*) FROM succeeded LEFT JOIN pairs ON transfer_id = id
           WHERE entries IS DISTINCT FROM 2 OR total <> 0) AS "unpaired",
         (SELECT count(*) FROM pairs WHERE NOT EXISTS
           (SELECT FROM succeeded WHERE id = transfer_id)) AS "strayEntries",
         (SELECT count(*) FROM chain
           WHERE seq <> seq_before + 1 OR balance_after <> balance_expected) AS "brokenChains",
         (SELECT count(*) FROM accounts
            LEFT JOIN chain ON chain.account_id = id AND is_last
           WHERE tenant_id = $1 AND (balance <> coalesce(balance_after, 0)
                                     OR entry_count <> coalesce(seq, 0))) AS "wrongBalances",
         (SELECT count(*) FROM idempotency_keys
           WHERE tenant_id = $1 AND resource = 'transfer') AS "keys"`
