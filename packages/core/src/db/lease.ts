import type { Queryable } from './client.ts'

/*
 * What one process does at a time, it does under a lease: a row that names its holder and a time. A
 * session lock would not survive a pooler. The tables keep in the row what belongs to the work itself.
 */

export type Lease = { table: 'sweeps' | 'event_feed'; name: string; holder: string }

/** 8 s: a holder that died is replaced soon, one that merely pauses between two looks is not. */
const duration = `interval '8 s'`

/**
 * Takes or extends a lease, and returns these columns of its row. Undefined while another process
 * holds it.
 */
export async function takeLease<Row extends object>(
  db: Queryable,
  { table, name, holder }: Lease,
  columns: string,
): Promise<Row | undefined> {
  const { rows } = await db.query<Row>(
    `UPDATE ${table} SET holder = $2, lease_expires_at = clock_timestamp() + ${duration}
      WHERE name = $1
        AND (holder IS NULL OR holder = $2 OR lease_expires_at < clock_timestamp())
      RETURNING ${columns}`,
    [name, holder],
  )
  return rows[0]
}

/** Gives a lease back, so that the next holder need not wait for its end. */
export async function dropLease(db: Queryable, { table, name, holder }: Lease): Promise<void> {
  await db.query(
    `UPDATE ${table} SET holder = NULL, lease_expires_at = NULL WHERE name = $1 AND holder = $2`,
    [name, holder],
  )
}
