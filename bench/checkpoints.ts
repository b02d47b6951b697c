import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { countSettled } from './settled.ts'
import { median } from './statistics.ts'
import type { BenchDatabase } from './database.ts'
import type { Stack } from './stack.ts'
import type { Observer } from './throughput.ts'

/** Runs something while the server has these settings, and takes them back afterwards. */
export async function withSettings<Result>(
  { postgres }: Pick<Stack, 'postgres'>,
  settings: Readonly<Record<string, string>>,
  run: () => Promise<Result>,
): Promise<Result> {
  const client = new Client(postgres.url)
  await client.connect()
  try {
    for (const [name, value] of Object.entries(settings)) {
      await client.query(`ALTER SYSTEM SET ${name} = ${client.escapeLiteral(value)}`)
    }
    await client.query('SELECT pg_reload_conf()')
    return await run()
  } finally {
    for (const name of Object.keys(settings)) await client.query(`ALTER SYSTEM RESET ${name}`)
    await client.query('SELECT pg_reload_conf()')
    await client.end()
  }
}

/**
 * Counts what settles in each second, and the checkpoints that began meanwhile. Throws where there
 * were fewer than expected: from one beginning to the next is a whole cycle.
 */
export function observeSeconds(
  database: BenchDatabase,
  { checkpointsExpected }: { checkpointsExpected: number },
): Observer {
  return function beginToCount() {
    const seconds = new SecondCounter(() => countSettled(database))
    const before = countCheckpoints(database)
    return async () => {
      const rates = await seconds.stop()
      const checkpoints = (await countCheckpoints(database)) - (await before)
      if (checkpoints < checkpointsExpected)
        throw new Error(`only ${checkpoints} checkpoints began`)
      const slowestSecond = Math.min(...rates)
      const medianSecond = median(rates)
      return {
        slowestSecond,
        medianSecond,
        slowestShare: (100 * slowestSecond) / medianSecond,
        checkpoints,
      }
    }
  }
}

/** What is added to a count in each second. */
class SecondCounter {
  readonly #count: () => Promise<number>
  readonly #stopping = new AbortController()
  readonly #rates: number[] = []
  readonly #ended: Promise<void>

  constructor(count: () => Promise<number>) {
    this.#count = count
    this.#ended = this.#run()
  }

  async stop(): Promise<readonly number[]> {
    this.#stopping.abort()
    await this.#ended
    return this.#rates
  }

  async #run(): Promise<void> {
    let last = { count: await this.#count(), atMs: performance.now() }
    for (;;) {
      await sleep(1_000, undefined, this.#stopping).catch(() => undefined)
      // The last second is cut short by the end of the load.
      if (this.#stopping.signal.aborted) return
      const now = { count: await this.#count(), atMs: performance.now() }
      this.#rates.push(((now.count - last.count) / (now.atMs - last.atMs)) * 1_000)
      last = now
    }
  }
}

async function countCheckpoints({ pool }: Pick<BenchDatabase, 'pool'>): Promise<number> {
  const { rows } = await pool.query<{ begun: number }>(
    'SELECT (num_timed + num_requested)::float8 AS begun FROM pg_stat_checkpointer',
  )
  return rows[0]?.begun ?? 0
}
