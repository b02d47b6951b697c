import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { measureSynchronousEndpoint } from '../rounds/synchronous-endpoint.ts'
import type { Scenario } from '../scenario.ts'

/** 200 accounts: enough that the transfers of a batch rarely meet, few enough that all are in use. */
export const accountCount = 200

export const uniform: Scenario = {
  name: 'uniform',
  title:
    'Single transfers between 200 accounts at random, counted when settled, queue in Redis; ' +
    'and a hand-written endpoint that commits each transfer before it answers',
  async contenders(bench) {
    const { connections } = bench.options
    return [
      {
        name: 'payonce',
        measure: (round) =>
          withDatabase(bench.databases, async (database) =>
            measurePayonce(bench, {
              ...round,
              database,
              accounts: await openAccounts(database, accountCount),
              traffic: 'uniform',
              queue: 'redis',
              connections,
            }),
          ),
      },
      {
        name: 'synchronous',
        measure: () =>
          withDatabase(bench.databases, (database) =>
            measureSynchronousEndpoint(bench, {
              database,
              accounts: accountCount,
              traffic: 'uniform',
              connections,
            }),
          ),
      },
    ]
  },
  ratios: [
    { metric: 'settledPerSecond', of: 'payonce', to: 'synchronous' },
    { metric: 'totalCpuSeconds', of: 'payonce', to: 'synchronous' },
  ],
  targets: [
    { metric: 'acceptedPerSecond', of: 'payonce', atLeast: 1_500 },
    { metric: 'settledPerSecond', of: 'payonce', atLeast: 1_500 },
    { metric: 'apiPeakMb', of: 'payonce', atMost: 200 },
    { metric: 'workerPeakMb', of: 'payonce', atMost: 200 },
  ],
}
