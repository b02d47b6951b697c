import { retrying } from '../db/retry.ts'
import { inTransaction } from '../db/transaction.ts'
import { isTransient } from '../db/transient.ts'
import type { Pool } from '../db/client.ts'

/** Rows as one short statement of their own gives them: see `createReader`. */
export type Reader = <Row extends object>(
  sql: string,
  values?: readonly unknown[],
) => Promise<Row[]>

/** 5 s: an older snapshot would keep the system from tidying up behind it. */
const statementTimeoutMs = 5_000

/** Repeats a statement through a short outage: a long check is not lost to a restart. */
const patience = { retries: 6, minDelayMs: 100, maxDelayMs: 5_000, maxTimeMs: 30_000 }

/** Reads in statements that end within 5 s, each with a snapshot of its own; writes nothing. */
export function createReader(pool: Pool): Reader {
  return function readShortly<Row extends object>(sql: string, values: readonly unknown[] = []) {
    return retrying(
      { ...patience, isRetryable: (error) => isTransient(error) && !isTooSlow(error) },
      () =>
        inTransaction(pool, {}, async (tx) => {
          await tx.query(
            `SET LOCAL statement_timeout = ${statementTimeoutMs}; SET TRANSACTION READ ONLY`,
          )
          return (await tx.query<Row>(sql, [...values])).rows
        }),
    )
  }
}

/** Whether Postgres ended a statement because of its time. */
export function isTooSlow(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, 'code') === '57014'
}

/**
 * Reads a whole table in pages, each of which begins behind the last row of the one before. A page
 * that takes too long is read again in halves, down to a single row, which throws.
 */
export async function* readPages<Row>(
  size: number,
  read: (after: Row | undefined, limit: number) => Promise<Row[]>,
): AsyncGenerator<Row[], void> {
  let after: Row | undefined
  let limit = size
  while (true) {
    const startedAt = performance.now()
    try {
      const rows = await read(after, limit)
      if (rows.length > 0) yield rows
      if (rows.length < limit) return
      after = rows.at(-1)
    } catch (error) {
      if (!isTooSlow(error) || limit === 1) throw error
      limit = Math.ceil(limit / 2)
      continue
    }
    const isQuick = performance.now() - startedAt < statementTimeoutMs / 5
    if (isQuick) limit = Math.min(size, limit * 2)
  }
}

/** The lowest id there can be: where a walk over a key begins. */
export const firstUuid = '00000000-0000-0000-0000-000000000000'
