import type { Pool } from 'pg'

export type Judgement = { isGood: boolean; lines: readonly string[] }

/**
 * Judges a storm by its history and its books. The checker is not wired yet: this only tells how
 * much there is to judge.
 */
export async function judge({
  pool,
  counts,
}: {
  pool: Pool
  historyPath: string
  counts: ReadonlyMap<string, number>
}): Promise<Judgement> {
  const { rows } = await pool.query<{ status: string; count: number }>(
    'SELECT status, count(*)::int AS count FROM transfers GROUP BY status ORDER BY status',
  )
  return {
    isGood: true,
    lines: [
      `records: ${[...counts].map(([type, count]) => `${count} ${type}`).join(', ')}`,
      `transfers: ${rows.map(({ status, count }) => `${count} ${status}`).join(', ')}`,
    ],
  }
}
