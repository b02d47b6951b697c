import { withDatabase, type BenchDatabase } from '../database.ts'
import { insertHistory, openAccounts } from '../history.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { accountCount } from './contenders.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/** A history of a million is spread over 10,000 accounts, of which 200 are in use now. */
const accountsInAll = 10_000

export const grown: Scenario = {
  name: 'grown',
  title: 'The same load on empty tables and on tables that hold settled transfers (--rows)',
  contenders: async (bench) => [emptyTables(bench), await grownTables(bench)],
  ratios: [
    { metric: 'settledPerSecond', of: 'grown', to: 'empty', atLeast: 0.9 },
    // The cost of a transfer is flat: indexes grow by a level, and nothing is read that was settled.
    { metric: 'totalCpuSeconds', of: 'grown', to: 'empty', atMost: 1.1 },
    { metric: 'postgresCpuSeconds', of: 'grown', to: 'empty' },
    { metric: 'walBytesPerTransfer', of: 'grown', to: 'empty' },
  ],
  targets: [
    { metric: 'acceptedPerSecond', of: 'grown', atLeast: 1_500 },
    { metric: 'settledPerSecond', of: 'grown', atLeast: 1_500 },
  ],
}

function emptyTables(bench: Bench): Contender {
  return {
    name: 'empty',
    measure: (round) =>
      withDatabase(bench.databases, async (database) => {
        const accounts = await openAccounts(database, accountsInAll)
        return measureBetween(bench, round.label, database, accounts)
      }),
  }
}

/** Filled once, and growing by what each round adds. */
async function grownTables(bench: Bench): Promise<Contender> {
  const transfers = bench.options.rows
  const database = await bench.databases.create()
  const accounts = await openAccounts(database, accountsInAll)
  await insertHistory(database, {
    transfers,
    onStep: (step) => bench.tell(`filling the tables with ${transfers} transfers: ${step}`),
  })
  return {
    name: 'grown',
    measure: ({ label }) => measureBetween(bench, label, database, accounts),
    close: () => database.drop(),
  }
}

function measureBetween(
  bench: Bench,
  label: string,
  database: BenchDatabase,
  accounts: readonly string[],
) {
  const every = accountsInAll / accountCount
  return measurePayonce(bench, {
    label,
    database,
    accounts: accounts.filter((_, index) => index % every === 0),
    traffic: 'uniform',
    queue: 'redis',
    connections: bench.options.connections,
  })
}
