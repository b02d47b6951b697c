import { functionContenders, payonceContender, synchronousContender } from './contenders.ts'
import type { DatabaseMaker } from '../database.ts'
import type { Scenario } from '../scenario.ts'
import type { TrafficKind } from '../traffic.ts'

/** 2 ms for a flush to the disk: one of a network, or a standby that every commit waits for. */
const flushMs = 2

/** What one commit each costs where the disk is slower than the one that the bench runs on. */
export const slowDisk: readonly Scenario[] = [scenario('uniform'), scenario('hot pair', 5)]

function scenario(traffic: TrafficKind, atLeast?: number): Scenario {
  return {
    name: `slow-disk-${traffic.replaceAll(' ', '-')}`,
    title: `${traffic}, where each flush to the disk takes ${flushMs} ms longer (commit_delay)`,
    contenders: async (bench) => {
      const slow = { ...bench, databases: withSlowFlush(bench.databases) }
      return [
        payonceContender(slow, traffic),
        ...functionContenders(slow, traffic),
        synchronousContender(slow, traffic),
      ]
    },
    ratios: [
      {
        metric: 'settledPerSecond',
        of: 'payonce',
        to: 'function',
        ...(atLeast === undefined ? {} : { atLeast }),
      },
      { metric: 'settledPerSecond', of: 'payonce', to: 'synchronous' },
    ],
    targets: [],
  }
}

/**
 * Postgres sleeps for `commit_delay` before a flush, in the place of whom the others wait for: what
 * commits meanwhile shares the next flush, as it does on a disk that is slow.
 */
function withSlowFlush(databases: DatabaseMaker): DatabaseMaker {
  return {
    create: async () => {
      const database = await databases.create()
      for (const setting of [`commit_delay = ${flushMs * 1_000}`, 'commit_siblings = 0']) {
        await database.pool.query(
          `DO $$ BEGIN
             EXECUTE format('ALTER DATABASE %I SET ${setting}', current_database());
           END $$`,
        )
      }
      return database
    },
  }
}
