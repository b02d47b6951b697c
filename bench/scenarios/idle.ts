import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { pickMetrics } from '../metrics.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { accountCount } from './contenders.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/** 30 s: the longest wait that the API grants. Nothing here takes a hundredth of it. */
const waitSeconds = 30

export const idle: Scenario = {
  name: 'idle',
  title:
    'One client that sends one transfer at a time and waits until it is settled (Prefer: wait)',
  contenders: async (bench) => [contender(bench, 'redis'), contender(bench, 'postgres')],
  ratios: [{ metric: 'p50Ms', of: 'postgres', to: 'redis' }],
  targets: [{ metric: 'p50Ms', of: 'redis', atMost: 15 }],
}

function contender(bench: Bench, queue: 'redis' | 'postgres'): Contender {
  return {
    name: queue,
    measure: (round) =>
      withDatabase(bench.databases, async (database) => {
        const measurement = await measurePayonce(bench, {
          ...round,
          database,
          accounts: await openAccounts(database, accountCount),
          traffic: 'uniform',
          queue,
          connections: 1,
          waitSeconds,
        })
        return pickMetrics(measurement, ['p50Ms', 'p95Ms', 'p99Ms'])
      }),
  }
}
