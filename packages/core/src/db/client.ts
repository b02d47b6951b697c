import { Pool as PgPool, types, type PoolClient } from 'pg'

/** A pool of connections to Postgres. `bigint` columns arrive as `bigint`, times as `Date`. */
export type Pool = PgPool
/** One connection inside a transaction: see transaction.ts, the only place that makes one. */
export type Tx = PoolClient & { readonly [inTransactionMark]: true }
/** Where a single statement may run: a pool, or a transaction. */
export type Queryable = Pick<PgPool, 'query'> | Tx

declare const inTransactionMark: unique symbol

export type PoolOptions = {
  databaseUrl: string
  /** Names the pool in `pg_stat_activity`. */
  name: string
  maxConnections: number
  /** After so long without an answer a statement is given up and its connection thrown away. */
  queryTimeoutMs?: number
  onError(error: Error): void
}

/** 3 s: a healthy server accepts in milliseconds, and a client's retry is better than its wait. */
const connectTimeoutMs = 3_000
/** Idle connections are kept for a minute, so that a quiet hour does not hold a hundred of them. */
const idleTimeoutMs = 60_000

export function createPool(options: PoolOptions): Pool {
  const pool = new PgPool({
    connectionString: options.databaseUrl,
    application_name: `payonce-${options.name}`,
    max: options.maxConnections,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: idleTimeoutMs,
    query_timeout: options.queryTimeoutMs ?? 15_000,
    types: { getTypeParser },
  })
  // An idle connection that breaks would otherwise end the process; the pool replaces it by itself.
  pool.on('error', options.onError)
  // One that breaks while a transaction holds it says so twice: to the statement in hand, which
  // fails, and by this event, which would end the process if nobody listened.
  pool.on('connect', (client) => client.on('error', () => undefined))
  return pool
}

/** `bigint`, by its id in Postgres' own catalogue. */
const int8 = 20

function getTypeParser(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  return oid === int8 ? BigInt : types.getTypeParser(oid, format)
}
