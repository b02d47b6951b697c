import { setTimeout as sleep } from 'node:timers/promises'
import type { BenchDatabase } from './database.ts'

/** Every settled transfer here moves money, and so stands in the chains of two accounts. */
export async function countSettled({
  pool,
  tenantId,
}: Pick<BenchDatabase, 'pool' | 'tenantId'>): Promise<number> {
  const { rows } = await pool.query<{ settled: number }>(
    'SELECT (sum(entry_count) / 2)::float8 AS settled FROM accounts WHERE tenant_id = $1',
    [tenantId],
  )
  return rows[0]?.settled ?? 0
}

/** 20 ms: finer than the drain of a few batches, and cheap for the database. */
const pollMs = 20
/** A minute: what has not settled by then was lost, or never will be in time. */
const usualTimeoutMs = 60_000

/** Waits until so many are settled, and throws when that takes too long. */
export async function untilSettled(
  count: () => Promise<number>,
  expected: number,
  timeoutMs = usualTimeoutMs,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const settled = await count()
    if (settled >= expected) return
    if (performance.now() > deadline) {
      throw new Error(`${expected - settled} accepted transfers were not settled in time`)
    }
    await sleep(pollMs)
  }
}
