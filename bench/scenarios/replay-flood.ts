import { withDatabase } from '../database.ts'
import { measureReplayFlood } from '../rounds/replay-flood.ts'
import { accountCount } from './contenders.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/**
 * With ten times as many replays, a third of what two cores can answer and settle when the load runs
 * on them too: enough to be felt, and not so much that the machine itself is what is measured.
 */
const firstPerSecond = 150
const replaysPerFirst = 10

/**
 * Row I45: keys have a table and connections of their own, so a flood of retries leaves settlement
 * its rate. The first requests come at a fixed pace: a rate that fell behind would show.
 */
export const replayFlood: Scenario = {
  name: 'replay-flood',
  title: `${firstPerSecond} first requests a second, alone and with ${replaysPerFirst} replays for each`,
  contenders: async (bench) => [
    contender(bench, 'alone', 0),
    contender(bench, 'with replays', firstPerSecond * replaysPerFirst),
  ],
  ratios: [
    { metric: 'settledPerSecond', of: 'with replays', to: 'alone' },
    { metric: 'p95Ms', of: 'with replays', to: 'alone' },
  ],
  targets: [
    { metric: 'settledPerSecond', of: 'with replays', atLeast: 0.9 * firstPerSecond },
    // Nothing is left behind: what was accepted last is settled within a moment, flood or not.
    { metric: 'drainMs', of: 'with replays', atMost: 1_000 },
  ],
}

function contender(bench: Bench, name: string, replaysPerSecond: number): Contender {
  return {
    name,
    measure: () =>
      withDatabase(bench.databases, (database) =>
        measureReplayFlood(bench, {
          database,
          accounts: accountCount,
          firstPerSecond,
          replaysPerSecond,
        }),
      ),
  }
}
