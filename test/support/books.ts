import { expect } from 'vitest'
import type { Pool } from 'pg'

type Db = Pick<Pool, 'query'>

/** Every leg of every transfer that moved money: holds and releases only reserve. */
const movedLegs = `
  SELECT tenant_id, id, source, destination, amount FROM transfers
   WHERE status = 'succeeded' AND kind IN ('transfer', 'capture', 'refund') AND legs IS NULL
   UNION ALL
  SELECT tenant_id, id, leg.source, leg.destination, leg.amount
    FROM transfers, jsonb_to_recordset(legs)
           AS leg (source uuid, destination uuid, amount bigint)
   WHERE status = 'succeeded' AND legs IS NOT NULL`

/** What must hold in the books whatever happened before, each told by a query that finds its breach. */
const rules: Record<string, string> = {
  'the balances of a currency sum to zero': `
    SELECT tenant_id, currency, sum(balance)::text AS sum FROM accounts
     GROUP BY tenant_id, currency HAVING sum(balance) <> 0`,

  'a transfer that moved money has exactly two entries per leg, and no other has any': `
    SELECT transfer_id, account_id, amount::text, sum(expected)::int AS missing FROM (
      SELECT tenant_id, transfer_id, account_id, amount, -1 AS expected FROM entries
       UNION ALL
      SELECT tenant_id, id, side.account_id, side.amount, 1
        FROM (${movedLegs}) AS leg
       CROSS JOIN LATERAL (VALUES (source, -amount), (destination, amount))
         AS side (account_id, amount)) AS entries
     GROUP BY tenant_id, transfer_id, account_id, amount
    HAVING sum(expected) <> 0`,

  'the entries of a transfer sum to zero in each currency': `
    SELECT transfer_id, currency, sum(amount)::text
      FROM entries JOIN accounts ON accounts.tenant_id = entries.tenant_id
                                AND accounts.id = account_id
     GROUP BY entries.tenant_id, transfer_id, currency HAVING sum(amount) <> 0`,

  'what is held is the open remainder of the held transfers': `
    SELECT accounts.id, held::text, coalesce(sum(amount - captured_amount), 0)::text AS remainder
      FROM accounts LEFT JOIN transfers ON transfers.tenant_id = accounts.tenant_id
                                       AND transfers.source = accounts.id
                                       AND transfers.status = 'held'
     GROUP BY accounts.tenant_id, accounts.id
    HAVING held <> coalesce(sum(amount - captured_amount), 0)`,

  'what was captured and refunded of a transfer is what its children moved': `
    SELECT parents.id, parents.status, captured_amount::text, refunded_amount::text
      FROM transfers AS parents
      LEFT JOIN LATERAL (
        SELECT coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0) AS captured,
               coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refunded,
               count(*) FILTER (WHERE kind = 'refund') AS refunds,
               count(*) FILTER (WHERE kind = 'release') AS releases,
               sum(amount) FILTER (WHERE kind = 'release') AS released
          FROM transfers WHERE transfers.tenant_id = parents.tenant_id
                           AND parent_id = parents.id AND status = 'succeeded'
      ) AS children ON true
     WHERE captured_amount <> captured
        OR (legs IS NULL AND refunded_amount <> refunded)
        OR (legs IS NOT NULL AND (refunds > 1 OR (refunds = 1) <> (refunded_amount > 0)))
        OR releases <> CASE status WHEN 'released' THEN 1 ELSE 0 END
        OR (status = 'released' AND released <> amount - captured_amount)
        OR (kind = 'hold' AND status = 'held' AND captured_amount = amount)
        OR (kind = 'hold' AND status = 'succeeded' AND captured_amount = 0)`,

  'a child that succeeded has a parent of the right kind, and takes its way': `
    SELECT children.id, children.kind, parents.kind AS parent_kind, parents.status
      FROM transfers AS children
      LEFT JOIN transfers AS parents ON parents.tenant_id = children.tenant_id
                                    AND parents.id = children.parent_id
     WHERE children.parent_id IS NOT NULL AND children.status = 'succeeded'
       AND (parents.id IS NULL
         OR (parents.kind = 'hold') <> (children.kind IN ('capture', 'release'))
         OR (children.kind = 'refund' AND (parents.kind NOT IN ('transfer', 'capture')
                                           OR parents.status <> 'succeeded'))
         OR children.source <> CASE children.kind WHEN 'refund' THEN parents.destination
                                                  ELSE parents.source END
         OR children.destination <> CASE children.kind WHEN 'refund' THEN parents.source
                                                       ELSE parents.destination END)`,

  'an atomic batch is settled as a whole, and carried out as a whole or not at all': `
    SELECT batches.id, count(transfers.id)::int AS settled, item_count,
           array_agg(DISTINCT status) AS statuses
      FROM transfer_batches AS batches
      JOIN batch_items ON batch_items.tenant_id = batches.tenant_id AND batch_id = batches.id
      LEFT JOIN transfers ON transfers.tenant_id = batches.tenant_id
                         AND transfers.id = batch_items.transfer_id
     WHERE is_atomic
     GROUP BY batches.tenant_id, batches.id, item_count
    HAVING count(transfers.id) NOT IN (0, item_count) OR count(*) <> item_count
        OR count(DISTINCT settlement_id) > 1
        OR (count(failure_code) > 0
            AND count(*) FILTER (WHERE status NOT IN ('failed', 'expired')) > 0)`,

  'every settlement is sealed with the transfers that it settled': `
    SELECT coalesce(sealed.id, settled.id) AS id FROM (
      SELECT id, array_agg(transfer ORDER BY transfer) AS transfers
        FROM settlements, unnest(transfer_ids) AS transfer GROUP BY id) AS sealed
      FULL JOIN (
      SELECT settlement_id AS id, array_agg(id ORDER BY id) AS transfers
        FROM transfers GROUP BY settlement_id) AS settled ON settled.id = sealed.id
     WHERE sealed.transfers IS DISTINCT FROM settled.transfers`,

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
      SELECT account_id, seq, version, transfer_id,
             lag(version, 1, 0::bigint) OVER chain AS version_before,
             lag(transfer_id) OVER chain AS transfer_before
        FROM (SELECT entries.tenant_id, account_id, seq, transfer_id,
                     CASE WHEN legs IS NOT NULL THEN (
                            SELECT max(CASE account_id WHEN source THEN source_version
                                                       ELSE destination_version END)
                              FROM jsonb_to_recordset(legs)
                                AS leg (source uuid, destination uuid, source_version bigint,
                                        destination_version bigint)
                             WHERE account_id IN (source, destination))
                          WHEN account_id = source THEN source_version
                          ELSE destination_version END AS version
                FROM entries JOIN transfers ON transfers.tenant_id = entries.tenant_id
                                           AND transfers.id = transfer_id) AS judged
      WINDOW chain AS (PARTITION BY tenant_id, account_id ORDER BY seq)) AS versions
     WHERE version IS NULL OR version < version_before
        OR (version = version_before AND transfer_id IS DISTINCT FROM transfer_before)`,

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
        OR command->>'kind' <> kind OR command->>'parent_id' <> parent_id::text
        OR (command->'legs')::jsonb IS DISTINCT FROM (
             SELECT jsonb_agg(leg - 'source_version' - 'destination_version' ORDER BY place)
               FROM jsonb_array_elements(legs) WITH ORDINALITY AS leg (leg, place))
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

/** The transfers that were accepted and are not settled: the uuid of each, and its key. */
export async function findUnsettled(db: Db): Promise<{ id: string; idempotencyKey: string }[]> {
  const { rows } = await db.query<{ id: string; idempotencyKey: string }>(
    `SELECT resource_id AS id, idempotency_key AS "idempotencyKey" FROM idempotency_keys
      WHERE resource = 'transfer'
        AND NOT EXISTS (SELECT FROM transfers
                         WHERE transfers.tenant_id = idempotency_keys.tenant_id
                           AND transfers.id = resource_id)`,
  )
  return rows
}
