import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { observeCheckpoints, withSettings } from '../checkpoints.ts'
import { accountCount } from './contenders.ts'
import type { Scenario } from '../scenario.ts'

/**
 * A checkpoint every 30 s, the shortest that Postgres takes, written out over nine tenths of that
 * time: ten times as often as by default, so that a round of 75 s holds a whole cycle and the
 * beginning of the next, and feels more of them than a server ever would.
 */
const settings = { checkpoint_timeout: '30s', checkpoint_completion_target: '0.9' }
const measuredMs = 75_000

export const checkpoint: Scenario = {
  name: 'checkpoint',
  title:
    `The load of \`uniform\` for ${measuredMs / 1_000} s, second by second, with a checkpoint every 30 s ` +
    '(checkpoint_timeout 30s, checkpoint_completion_target 0.9)',
  contenders: async (bench) => [
    {
      name: 'whole cycles',
      measure: (round) =>
        withSettings(bench.stack, settings, () =>
          withDatabase(bench.databases, async (database) =>
            measurePayonce(bench, {
              ...round,
              database,
              accounts: await openAccounts(database, accountCount),
              traffic: 'uniform',
              queue: 'redis',
              connections: bench.options.connections,
              measuredMs,
              observers: [observeCheckpoints(database)],
            }),
          ),
        ),
    },
  ],
  ratios: [],
  targets: [
    // A client feels no checkpoint: no second falls below two thirds of the usual one.
    { metric: 'slowestShare', of: 'whole cycles', atLeast: 67 },
  ],
}
