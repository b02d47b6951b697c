import { observeSeconds, withSettings } from '../checkpoints.ts'
import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { accountCount } from './contenders.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/**
 * A checkpoint every 30 s, the shortest that Postgres takes, written out over nine tenths of that
 * time: ten times as often as by default, so that a round of 75 s holds a whole cycle and the
 * beginning of the next, and feels more of them than a server ever would.
 */
const often = { checkpoint_timeout: '30s', checkpoint_completion_target: '0.9' }
const measuredMs = 75_000

export const checkpoint: Scenario = {
  name: 'checkpoint',
  title:
    `The load of \`uniform\` for ${measuredMs / 1_000} s, second by second, with a checkpoint every 30 s ` +
    '(checkpoint_timeout 30s, checkpoint_completion_target 0.9) and with none',
  contenders: async (bench) => [
    contender(bench, 'without', {}, 0),
    contender(bench, 'whole cycles', often, 2),
  ],
  ratios: [
    { metric: 'settledPerSecond', of: 'whole cycles', to: 'without', atLeast: 0.9 },
    // The machine has slow seconds of its own; what counts is whether a checkpoint makes them slower.
    { metric: 'slowestSecond', of: 'whole cycles', to: 'without' },
    { metric: 'walBytesPerTransfer', of: 'whole cycles', to: 'without' },
  ],
  targets: [{ metric: 'slowestShare', of: 'whole cycles', atLeast: 50 }],
}

function contender(
  bench: Bench,
  name: string,
  settings: Readonly<Record<string, string>>,
  checkpointsExpected: number,
): Contender {
  return {
    name,
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
            observers: [observeSeconds(database, { checkpointsExpected })],
          }),
        ),
      ),
  }
}
