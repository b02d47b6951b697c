import { withDatabase } from '../database.ts'
import { measureBacklog } from '../rounds/backlog.ts'
import { accountCount } from './contenders.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/** 20,000: deep enough to be timed, and nothing to a queue. */
const shortBacklog = 20_000

export const backlog: Scenario = {
  name: 'backlog',
  title:
    'Single transfers that were accepted while no worker ran (--backlog), and how fast one worker ' +
    `drains them; beside a short queue of ${shortBacklog}`,
  contenders: async (bench) => [
    contender(bench, 'short', shortBacklog),
    contender(bench, 'deep', bench.options.backlog),
  ],
  ratios: [{ metric: 'drainedPerSecond', of: 'deep', to: 'short', atLeast: 0.9 }],
  targets: [{ metric: 'workerPeakMb', of: 'deep', atMost: 250 }],
}

function contender(bench: Bench, name: string, transfers: number): Contender {
  return {
    name,
    measure: () =>
      withDatabase(bench.databases, (database) =>
        measureBacklog(bench, { database, accounts: accountCount, transfers }),
      ),
  }
}
