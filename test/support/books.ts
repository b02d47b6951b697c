import { expect } from 'vitest'
import type { Pool } from 'pg'

type Db = Pick<Pool, 'query'>

/** What must hold in the books whatever happened before, each told by a query that finds its breach. */
const rules: Record<string, string> = {
  'the balances of a currency sum to zero': `
    SELECT tenant_id, currency, sum(balance)::text AS sum FROM accounts
     GROUP BY tenant_id, currency HAVING sum(balance) <> 0`,

  'a succeeded transfer has exactly its two entries, and no other has any': `
    SELECT transfers.id, transfers.status, count(entries.seq)::int AS entries,
           array_agg(entries.amount::text) AS amounts
      FROM transfers LEFT JOIN entries ON entries.tenant_id = transfers.tenant_id
                                      AND entries.transfer_id = transfers.id
     GROUP BY transfers.tenant_id, transfers.id
    HAVING count(entries.seq) <> CASE status WHEN 'succeeded' THEN 2 ELSE 0 END
        OR count(*) FILTER (WHERE account_id = source AND entries.amount = -transfers.amount)
             <> CASE status WHEN 'succeeded' THEN 1 ELSE 0 END
        OR count(*) FILTER (WHERE account_id = destination AND entries.amount = transfers.amount)
             <> CASE status WHEN 'succeeded' THEN 1 ELSE 0 END`,

  'every entry belongs to a transfer': `
    SELECT transfer_id, account_id, seq FROM entries
     WHERE NOT EXISTS (SELECT FROM transfers WHERE transfers.tenant_id = entries.tenant_id
                                               AND transfers.id = entries.transfer_id)`,

  'a balance is the sum of its entries': `
    SELECT accounts.id, balance::text, entry_count::text, last_entry_at,
           coalesce(sum(amount), 0)::text AS sum, count(amount)::int AS entries
      FROM accounts LEFT JOIN entries ON entries.tenant_id = accounts.tenant_id
                                     AND entries.account_id = accounts.id
     GROUP BY accounts.tenant_id, accounts.id
    HAVING balance <> coalesce(sum(amount), 0) OR entry_count <> count(amount)
        OR last_entry_at IS DISTINCT FROM max(entries.created_at)`,

  'the entries of an account form a chain without a gap': `
    SELECT account_id, seq, amount, balance_after FROM (
      SELECT entries.*, row_number() OVER chain AS place,
             lag(balance_after, 1, 0::bigint) OVER chain AS balance_before,
             lag(created_at) OVER chain AS created_before
        FROM entries WINDOW chain AS (PARTITION BY tenant_id, account_id ORDER BY seq)) AS entries
     WHERE seq <> place OR balance_after <> balance_before + amount OR created_at < created_before`,

  'no internal account went below the lowest limit that it ever had, at any step': `
    SELECT account_id, seq, balance_after FROM entries
      JOIN accounts ON accounts.tenant_id = entries.tenant_id AND accounts.id = account_id
     WHERE kind = 'internal'
       AND balance_after < (SELECT -max(overdraft_limit) FROM account_limits
                             WHERE account_limits.tenant_id = accounts.tenant_id
                               AND account_limits.account_id = accounts.id)`,

  'the versions that succeeded transfers were judged at rise with the entries': `
    SELECT account_id, seq, version, version_before FROM (
      SELECT account_id, seq, version, lag(version, 1, 0::bigint) OVER chain AS version_before
        FROM (SELECT entries.tenant_id, account_id, seq,
                     CASE account_id WHEN source THEN source_version
                                     ELSE destination_version END AS version
                FROM entries JOIN transfers ON transfers.tenant_id = entries.tenant_id
                                           AND transfers.id = transfer_id) AS judged
      WINDOW chain AS (PARTITION BY tenant_id, account_id ORDER BY seq)) AS versions
     WHERE version <= version_before`,

  'a key has one transfer, the one that it was accepted for': `
    SELECT transfers.id, transfers.idempotency_key, resource_id,
           count(*) OVER (PARTITION BY transfers.tenant_id, transfers.idempotency_key) AS rows
      FROM transfers LEFT JOIN idempotency_keys USING (tenant_id, idempotency_key)
     WHERE resource_id IS DISTINCT FROM transfers.id OR resource IS DISTINCT FROM 'transfer'`,

  'a key stands once': `
    SELECT tenant_id, idempotency_key, count(*)::int FROM idempotency_keys
     GROUP BY tenant_id, idempotency_key HAVING count(*) > 1
     UNION ALL
    SELECT tenant_id, idempotency_key, count(*)::int FROM transfers
     GROUP BY tenant_id, idempotency_key HAVING count(*) > 1`,

  'a transfer is what its command asked for': `
    SELECT transfers.id FROM transfers JOIN commands USING (tenant_id, id)
     WHERE command->>'source' <> source::text OR command->>'destination' <> destination::text
        OR (command->>'amount')::bigint <> amount OR command->>'currency' <> currency
        OR commands.accepted_at <> transfers.created_at OR transfers.settled_at < commands.accepted_at`,

  'nothing that is settled stands in deferred': `
    SELECT transfer_id FROM deferred JOIN transfers ON transfers.tenant_id = deferred.tenant_id
                                                   AND transfers.id = transfer_id`,
}

/**
 * Holds that money was moved once and is all there. What was accepted has to be settled as well,
 * but for the transfers in `unsettled` (as uuids), which have to be unsettled.
 */
export async function assertBooksHold(
  db: Db,
  expected: { unsettled?: readonly string[] } = {},
): Promise<void> {
  expect(await findBreaches(db)).toEqual({})
  const left = (await findUnsettled(db)).map(({ id }) => id)
  expect(left.toSorted()).toEqual((expected.unsettled ?? []).toSorted())
}

/** The rules that do not hold, each with up to ten rows that break it. */
export async function findBreaches(db: Db): Promise<Record<string, unknown[]>> {
  const breaches: Record<string, unknown[]> = {}
  for (const [rule, sql] of Object.entries(rules)) {
    const { rows } = await db.query<Record<string, unknown>>(`${sql} LIMIT 10`)
    if (rows.length > 0) breaches[rule] = rows
  }
  return breaches
}

/** What was accepted and is not settled: the uuid of each, and its key. */
export async function findUnsettled(db: Db): Promise<{ id: string; idempotencyKey: string }[]> {
  const { rows } = await db.query<{ id: string; idempotencyKey: string }>(
    `SELECT resource_id AS id, idempotency_key AS "idempotencyKey" FROM idempotency_keys
      WHERE due_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM transfers
                         WHERE transfers.tenant_id = idempotency_keys.tenant_id
                           AND transfers.id = resource_id)`,
  )
  return rows
}
