import type { Pool } from 'pg'

/** Bytes of write-ahead log since the cluster was made. */
export async function readWalBytes(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ bytes: number }>(
    `SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS bytes`,
  )
  return rows[0]?.bytes ?? 0
}

/** A rate with failures in it is no rate: throws where a client got anything but an acceptance. */
export function refuseFailures(failures: Readonly<Record<string, number>>): void {
  const found = Object.entries(failures).map(([what, count]) => `${count} × ${what}`)
  if (found.length > 0) throw new Error(`the load met failures: ${found.join('; ')}`)
}

/** Throws where the books are wrong: then nothing that was measured is worth telling. */
export function refuseFaults(faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`the books are wrong: ${faults.join('; ')}`)
}
