import type { Pool } from 'pg'
import { freePort } from '@payonce/local/loopback-port'
import { currency } from '../history.ts'
import { repositoryRoot, startProgram, untilReady } from '../program.ts'
import { measureThroughput } from '../throughput.ts'
import { readWalBytes, refuseFailures, refuseFaults } from './checks.ts'
import type { BenchDatabase } from '../database.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench } from '../scenario.ts'
import type { Service } from '../service.ts'
import type { TrafficKind } from '../traffic.ts'

export type SynchronousRoundOptions = {
  database: BenchDatabase
  accounts: number
  traffic: TrafficKind
  connections: number
}

/** Puts a load on the endpoint that settles before it answers, and checks its books. */
export async function measureSynchronousEndpoint(
  { options, stack }: Bench,
  { database, accounts, traffic, connections }: SynchronousRoundOptions,
): Promise<Measurement> {
  const { pool } = database
  await pool.query(createTables)
  const { rows } = await pool.query<{ id: string }>(openAccounts, [currency, accounts])
  const endpoint = await startEndpoint(database)
  try {
    await pool.query('CHECKPOINT')
    const { measurement, load } = await measureThroughput(
      {
        stack,
        service: endpoint,
        countSettled: () => countTransfers(pool),
        readWalBytes: () => readWalBytes(pool),
      },
      {
        traffic: {
          kind: traffic,
          url: endpoint.url,
          path: '/transfers',
          apiKey: database.apiKey,
          accounts: rows.map(({ id }) => id),
          currency,
        },
        expectedStatus: 201,
        connections,
        warmUpMs: options.warmUpMs,
        measuredMs: options.measuredMs,
      },
    )
    refuseFailures(load.failures)
    refuseFaults(await findFaults(pool, load.accepted))
    return measurement
  } finally {
    await endpoint.stop()
  }
}

async function startEndpoint({ url, apiKey }: BenchDatabase): Promise<Service<'endpoint'>> {
  const port = await freePort()
  const program = await startProgram({
    checkout: repositoryRoot,
    command: ['--import', 'tsx', 'bench/baselines/synchronous-endpoint.ts'],
    env: { DATABASE_URL: url, API_KEY: apiKey, PORT: String(port) },
  })
  try {
    await untilReady(`http://127.0.0.1:${port}/healthz`, program)
  } catch (error) {
    await program.stop()
    throw error
  }
  return {
    url: `http://127.0.0.1:${port}`,
    processes: { endpoint: [program.pid] },
    stop: program.stop,
  }
}

const createTables = `
  CREATE TABLE synchronous_accounts (
    id uuid PRIMARY KEY, currency text NOT NULL, balance bigint NOT NULL,
    overdraft_limit bigint NOT NULL, CHECK (balance >= -overdraft_limit)
  ) WITH (fillfactor = 50);
  CREATE TABLE synchronous_transfers (
    id uuid PRIMARY KEY, idempotency_key text COLLATE "C" NOT NULL UNIQUE, fingerprint bytea NOT NULL,
    source uuid NOT NULL, destination uuid NOT NULL, amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp()
  );
  CREATE TABLE synchronous_entries (
    account_id uuid NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, transfer_id uuid NOT NULL,
    amount bigint NOT NULL, balance_after bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (account_id, id)
  );
  CREATE TABLE synchronous_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, type text NOT NULL,
    transfer_id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp()
  )`

const openAccounts = `
  INSERT INTO synchronous_accounts (id, currency, balance, overdraft_limit)
  SELECT uuidv7(), $1, 0, 9007199254740 FROM generate_series(1, $2) RETURNING id`

async function countTransfers(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ transfers: number }>(
    'SELECT count(*)::float8 AS transfers FROM synchronous_transfers',
  )
  return rows[0]?.transfers ?? 0
}

async function findFaults(pool: Pool, accepted: number): Promise<string[]> {
  const { rows } = await pool.query<{ balance: bigint; unpaired: bigint; transfers: bigint }>(
    `SELECT (SELECT sum(balance)::bigint FROM synchronous_accounts) AS balance,
            (SELECT count(*) FROM synchronous_transfers
               LEFT JOIN (SELECT transfer_id, count(*) AS entries, sum(amount) AS total
                            FROM synchronous_entries GROUP BY transfer_id) AS pairs
                 ON pairs.transfer_id = synchronous_transfers.id
              WHERE entries IS DISTINCT FROM 2 OR total <> 0) AS unpaired,
            (SELECT count(*) FROM synchronous_transfers) AS transfers`,
  )
  const books = rows[0]
  if (books === undefined) throw new Error('the books could not be read')
  return [
    ...(books.balance === 0n ? [] : [`the balances do not sum to zero: ${books.balance}`]),
    ...(books.unpaired === 0n ? [] : [`transfers without two entries: ${books.unpaired}`]),
    ...(books.transfers < accepted
      ? [`lost transfers: ${accepted - Number(books.transfers)}`]
      : []),
  ]
}
