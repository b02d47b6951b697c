import { createDatabaseMaker, withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { UsageError } from '../options.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { accountCount } from './contenders.ts'
import type { DatabaseMaker } from '../database.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/** What a change costs: the load of `uniform` on this checkout and on another one (`--against`). */
export const against: Scenario = {
  name: 'against',
  title: 'Single transfers between 200 accounts at random, on this checkout and on another one',
  async contenders(bench) {
    const { against: checkout } = bench.options
    if (checkout === undefined) throw new UsageError('the scenario against needs --against FOLDER')
    return [
      contender(bench, 'this', bench.databases),
      contender(bench, 'other', await createDatabaseMaker(bench.stack, checkout)),
    ]
  },
  ratios: [
    { metric: 'settledPerSecond', of: 'this', to: 'other' },
    { metric: 'totalCpuSeconds', of: 'this', to: 'other' },
    { metric: 'walBytesPerTransfer', of: 'this', to: 'other' },
  ],
  targets: [],
}

function contender(bench: Bench, name: string, databases: DatabaseMaker): Contender {
  return {
    name,
    measure: (round) =>
      withDatabase(databases, async (database) =>
        measurePayonce(bench, {
          ...round,
          database,
          accounts: await openAccounts(database, accountCount),
          traffic: 'uniform',
          queue: 'redis',
          connections: bench.options.connections,
        }),
      ),
  }
}
