import { describeBound, observeBounds } from '../bounds.ts'
import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { accountCount } from './contenders.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

const counts = [1, 2, 3, 4]

export const workers: Scenario = {
  name: 'workers',
  title:
    'The load of `uniform` with 1 to 4 workers, all on this machine, and with the queue in Postgres',
  contenders: async (bench) => [
    ...counts.map((count) => contender(bench, nameOf(count), count, 'redis')),
    contender(bench, 'queue in Postgres', 1, 'postgres'),
  ],
  ratios: [
    ...counts.slice(1).map((count) => ({
      metric: 'settledPerSecond' as const,
      of: nameOf(count),
      to: nameOf(1),
    })),
    { metric: 'settledPerSecond', of: 'queue in Postgres', to: nameOf(1) },
  ],
  targets: [],
  explain: (medians) => describeBound(medians),
}

function contender(
  bench: Bench,
  name: string,
  count: number,
  queue: 'redis' | 'postgres',
): Contender {
  return {
    name,
    measure: (round) =>
      withDatabase(bench.databases, async (database) =>
        measurePayonce(bench, {
          ...round,
          database,
          accounts: await openAccounts(database, accountCount),
          traffic: 'uniform',
          queue,
          connections: bench.options.connections,
          workers: count,
          observers: [observeBounds(database)],
        }),
      ),
  }
}

function nameOf(count: number): string {
  return `${count} worker${count === 1 ? '' : 's'}`
}
