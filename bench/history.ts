import type { BenchDatabase } from './database.ts'

export const currency = 'EUR'

type Books = Pick<BenchDatabase, 'pool' | 'tenantId'>

/** Opens accounts that can never run dry: what is measured is moving money, not refusing it. */
export async function openAccounts({ pool, tenantId }: Books, count: number): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `WITH opened AS (
       INSERT INTO accounts (tenant_id, id, kind, currency, status, balance, held, overdraft_limit,
                             version, entry_count, created_at)
       SELECT $1, uuidv7(), 'internal', $2, 'open', 0, 0, $3, 0, 0,
              date_trunc('milliseconds', now())
         FROM generate_series(1, $4)
       RETURNING *
     ), limited AS (
       INSERT INTO account_limits (tenant_id, account_id, version, overdraft_limit, created_at)
       SELECT tenant_id, id, version, overdraft_limit, created_at FROM opened
     )
     SELECT id FROM opened`,
    [tenantId, currency, overdraftLimit, count],
  )
  return rows.map(({ id }) => id)
}

/** A thousandth of the largest amount, so that the sums of many such limits are still exact. */
const overdraftLimit = 9_007_199_254_740

/**
 * Fills the tables with settled transfers between the tenant's accounts, as if they had come one by
 * one over the last days: ids in the order of time, keys at random, every row in agreement with the
 * others. Then statistics and visibility are brought up to date, as autovacuum does behind a
 * database that has grown by itself.
 */
export async function insertHistory(
  { pool, tenantId }: Books,
  { transfers, onStep }: { transfers: number; onStep(step: string): void },
): Promise<void> {
  onStep('making up transfers')
  await pool.query(`CREATE UNLOGGED TABLE past (${pastColumns})`)
  await pool.query(insertPast, [tenantId, transfers])
  for (const [step, statement] of steps) {
    onStep(step)
    await pool.query(statement)
  }
}

/** What the other statements are made from: one row per transfer, numbered as it was settled. */
const pastColumns = `
  number bigint, tenant_id uuid, id uuid, idempotency_key text, source uuid, destination uuid,
  amount bigint, currency text, accepted_at timestamptz, settled_at timestamptz`

/** 100 ms from one to the next, so that a million is the history of 28 hours. */
const insertPast = `
  INSERT INTO past
  WITH drawn AS MATERIALIZED (
    SELECT number, uuidv7(interval '100 ms' * (number - $2::bigint - 100)) AS id,
           floor(random() * open.accounts)::bigint AS source_place,
           floor(random() * (open.accounts - 1))::bigint AS step
      FROM generate_series(1, $2::bigint) AS number,
           (SELECT count(*) AS accounts FROM accounts WHERE tenant_id = $1) AS open
  ), placed AS (
    SELECT id, currency, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS accounts
      FROM accounts WHERE tenant_id = $1
  )
  SELECT number, $1, drawn.id, gen_random_uuid(), source.id, destination.id,
         1 + floor(random() * 10000)::bigint, source.currency,
         date_trunc('milliseconds', uuid_extract_timestamp(drawn.id)),
         date_trunc('milliseconds', uuid_extract_timestamp(drawn.id)) + interval '20 ms'
    FROM drawn
    JOIN placed AS source ON source.place = drawn.source_place
    JOIN placed AS destination
      ON destination.place = (drawn.source_place + 1 + drawn.step) % source.accounts
   ORDER BY number`

const steps: readonly [step: string, statement: string][] = [
  [
    'accepting them',
    `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                   accepted_at, due_at)
     SELECT tenant_id, idempotency_key, sha256(idempotency_key::bytea), 'transfer', id, accepted_at,
            accepted_at
       FROM past ORDER BY number`,
  ],
  [
    'writing their commands',
    `INSERT INTO commands (tenant_id, id, idempotency_key, accepted_at, due_at, command)
     SELECT tenant_id, id, idempotency_key, accepted_at, accepted_at,
            json_build_object('v', 1, 'kind', 'transfer', 'source', source, 'destination',
                              destination, 'currency', currency, 'amount', amount)
       FROM past ORDER BY number`,
  ],
  [
    'posting entries',
    `INSERT INTO entries (tenant_id, account_id, seq, transfer_id, amount, balance_after, created_at)
     SELECT tenant_id, account_id, row_number() OVER chain, transfer_id, posted.amount,
            sum(posted.amount) OVER chain, settled_at
       FROM (SELECT number, tenant_id, source AS account_id, id AS transfer_id, -amount AS amount,
                    settled_at FROM past
              UNION ALL
             SELECT number, tenant_id, destination, id, amount, settled_at FROM past) AS posted
     WINDOW chain AS (PARTITION BY account_id ORDER BY number)
      ORDER BY number`,
  ],
  [
    'settling them',
    `INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, source, destination,
                            amount, currency, captured_amount, refunded_amount, source_version,
                            destination_version, settlement_id, created_at, settled_at)
     SELECT past.tenant_id, past.id, idempotency_key, 'transfer', 'succeeded', source, destination,
            past.amount, currency, 0, 0, debit.seq, credit.seq, past.id, accepted_at, settled_at
       FROM past
       JOIN entries AS debit ON debit.transfer_id = past.id AND debit.amount < 0
       JOIN entries AS credit ON credit.transfer_id = past.id AND credit.amount > 0
      ORDER BY number`,
  ],
  [
    'writing balances',
    `UPDATE accounts
        SET balance = last.balance_after, version = last.seq, entry_count = last.seq,
            last_entry_at = last.created_at
       FROM (SELECT DISTINCT ON (tenant_id, account_id) * FROM entries
              ORDER BY tenant_id, account_id, seq DESC) AS last
      WHERE accounts.tenant_id = last.tenant_id AND accounts.id = last.account_id`,
  ],
  // The sweeper of a living system has come this far; without it, its first look would read it all.
  ['moving the watermark', `UPDATE sweeps SET watermark = (SELECT max(accepted_at) FROM past)`],
  ['removing the draft', 'DROP TABLE past'],
  ['vacuuming', 'VACUUM (ANALYZE)'],
]
