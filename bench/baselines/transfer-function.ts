import type { Pool } from 'pg'

/*
 * The leanest way to move money by hand: one function, one round trip, one commit. It has what a
 * transfer of ours has in the database: a unique key, locks in one order, two entries, an event.
 */

/** What makes the tables and the function, statement by statement. Accounts are numbered from 1. */
export function functionTables(accounts: number): string[] {
  return [
    `CREATE TABLE function_accounts (
       id integer PRIMARY KEY, balance bigint NOT NULL, overdraft_limit bigint NOT NULL,
       CHECK (balance >= -overdraft_limit)
     ) WITH (fillfactor = 50)`,
    `CREATE TABLE function_transfers (
       id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, idempotency_key text COLLATE "C" NOT NULL UNIQUE,
       source integer NOT NULL, destination integer NOT NULL, amount bigint NOT NULL CHECK (amount > 0),
       created_at timestamptz NOT NULL)`,
    `CREATE TABLE function_entries (
       account_id integer NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, transfer_id bigint NOT NULL,
       amount bigint NOT NULL, balance_after bigint NOT NULL, PRIMARY KEY (account_id, id))`,
    `CREATE TABLE function_events (
       id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, type text NOT NULL, transfer_id bigint NOT NULL,
       created_at timestamptz NOT NULL)`,
    `INSERT INTO function_accounts SELECT id, 0, 9007199254740 FROM generate_series(1, ${accounts}) AS id`,
    `CREATE FUNCTION pay(key text, from_id integer, to_id integer, sum bigint) RETURNS bigint
     LANGUAGE plpgsql AS $$
     DECLARE transfer bigint;
     BEGIN
       INSERT INTO function_transfers (idempotency_key, source, destination, amount, created_at)
       VALUES (key, from_id, to_id, sum, clock_timestamp())
       ON CONFLICT (idempotency_key) DO NOTHING RETURNING id INTO transfer;
       IF transfer IS NULL THEN RETURN NULL; END IF;
       PERFORM FROM function_accounts WHERE id IN (from_id, to_id) ORDER BY id FOR NO KEY UPDATE;
       WITH posted (account_id, amount) AS (VALUES (from_id, -sum), (to_id, sum)), changed AS (
         UPDATE function_accounts AS account SET balance = balance + posted.amount
           FROM posted WHERE account.id = posted.account_id
         RETURNING account.id, posted.amount, balance)
       INSERT INTO function_entries (account_id, transfer_id, amount, balance_after)
       SELECT id, transfer, amount, balance FROM changed;
       INSERT INTO function_events (type, transfer_id, created_at)
       VALUES ('transfer.succeeded', transfer, clock_timestamp());
       RETURN transfer;
     END $$`,
  ]
}

export function functionCall(key: string, source: string, destination: string, amount: string) {
  return `pay(${key}::text, ${source}::integer, ${destination}::integer, ${amount}::bigint)`
}

/** What is wrong with the function's books, in words. */
export async function findFunctionFaults(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<Record<'balance' | 'transfers' | 'entries' | 'events', bigint>>(
    `SELECT (SELECT sum(balance)::bigint FROM function_accounts) AS balance,
            (SELECT count(*) FROM function_transfers) AS transfers,
            (SELECT count(*) FROM function_entries) AS entries,
            (SELECT count(*) FROM function_events) AS events`,
  )
  const books = rows[0]
  if (books === undefined) throw new Error('the books could not be read')
  const isWhole =
    books.balance === 0n &&
    books.entries === 2n * books.transfers &&
    books.events === books.transfers &&
    books.transfers > 0n
  return isWhole
    ? []
    : [`the function's books do not add up: ${JSON.stringify(Object.values(books).map(String))}`]
}
