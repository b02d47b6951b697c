import { asSideEffect } from '../failure-policies.ts'
import type { Pool, Queryable } from '../db/client.ts'

export type ReplayCounter = {
  /** Notes that a key was answered again. Costs no query. */
  count(tenantId: string, idempotencyKey: string): void
  /** Writes what was noted and stops the periodic writing. Never rejects. */
  stop(): Promise<void>
}

export type ReplayCounterOptions = { pool: Pool; onError(error: unknown): void }

/** 5 s between two writes: the number is for people, and a flood of replays must stay cheap. */
const writeIntervalMs = 5_000
/** Keys noted at a time; in a flood of more, the rest goes uncounted. */
const maxNoted = 2_000

type Noted = { tenantId: string; idempotencyKey: string; replays: number }

/**
 * Counts replays per key, best effort: what a process had noted is lost when it is killed. Nothing
 * is decided by these numbers.
 */
export function createReplayCounter({ pool, onError }: ReplayCounterOptions): ReplayCounter {
  let noted = new Map<string, Noted>()
  let written: Promise<void> = Promise.resolve()
  const timer = setInterval(write, writeIntervalMs).unref()

  function write(): void {
    if (noted.size === 0) return
    const taken = [...noted.values()]
    noted = new Map()
    written = written.then(() => asSideEffect('lost_count', addReplays(pool, taken), onError))
  }

  return {
    count: (tenantId, idempotencyKey) => {
      const name = `${tenantId}/${idempotencyKey}`
      const known = noted.get(name)
      if (known !== undefined) known.replays += 1
      else if (noted.size < maxNoted) noted.set(name, { tenantId, idempotencyKey, replays: 1 })
    },
    stop: async () => {
      clearInterval(timer)
      write()
      await written
    },
  }
}

async function addReplays(pool: Pool, noted: readonly Noted[]): Promise<void> {
  await pool.query(
    `INSERT INTO key_replays (tenant_id, idempotency_key, replays)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[])
         AS noted (tenant_id, idempotency_key, replays)
      ORDER BY tenant_id, idempotency_key COLLATE "C"
     ON CONFLICT ON CONSTRAINT key_replays_primary DO UPDATE
        SET replays = key_replays.replays + excluded.replays`,
    [
      noted.map(({ tenantId }) => tenantId),
      noted.map(({ idempotencyKey }) => idempotencyKey),
      noted.map(({ replays }) => replays),
    ],
  )
}

/** How often a key was answered again, as far as was counted. */
export async function readReplays(
  db: Queryable,
  tenantId: string,
  idempotencyKey: string,
): Promise<bigint> {
  const { rows } = await db.query<{ replays: bigint }>(
    `SELECT replays FROM key_replays WHERE tenant_id = $1 AND idempotency_key = $2`,
    [tenantId, idempotencyKey],
  )
  return rows[0]?.replays ?? 0n
}
