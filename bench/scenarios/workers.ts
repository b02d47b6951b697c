import { payonceContender } from './contenders.ts'
import type { Scenario } from '../scenario.ts'

const counts = [1, 2, 4]

export const workers: Scenario = {
  name: 'workers',
  title:
    'The load of `uniform` with 1, 2 and 4 workers, all on this machine, and with the queue in Postgres',
  contenders: async (bench) => [
    ...counts.map((count) =>
      payonceContender(bench, 'uniform', { name: nameOf(count), workers: count }),
    ),
    payonceContender(bench, 'uniform', { name: 'queue in Postgres', queue: 'postgres' }),
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
}

function nameOf(count: number): string {
  return `${count} worker${count === 1 ? '' : 's'}`
}
