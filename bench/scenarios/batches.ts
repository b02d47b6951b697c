import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { accountCount } from './contenders.ts'
import type { Scenario } from '../scenario.ts'

const batchSize = 1_000
/** 4 at a time: two are accepted while two are settled, and the work does not run dry. */
const connections = 4

export const batches: Scenario = {
  name: 'batches',
  title: 'Batches of 1,000 transfers between 200 accounts at random, counted when settled',
  async contenders(bench) {
    return [
      {
        name: 'batches',
        measure: (round) =>
          withDatabase(bench.databases, async (database) =>
            measurePayonce(bench, {
              ...round,
              database,
              accounts: await openAccounts(database, accountCount),
              traffic: 'uniform',
              batchSize,
              queue: 'redis',
              connections,
            }),
          ),
      },
    ]
  },
  ratios: [],
  targets: [{ metric: 'settledPerSecond', of: 'batches', atLeast: 8_000 }],
}
