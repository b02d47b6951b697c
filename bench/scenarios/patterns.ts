import { functionContenders, payonceContender, pgbenchRatios } from './contenders.ts'
import type { Scenario } from '../scenario.ts'
import type { TrafficKind } from '../traffic.ts'

/** What accounts are wanted by many at once costs, here and with one commit each. */
export const patterns: readonly Scenario[] = [
  pattern('hot pair', 'All transfers from one account to one other', 5),
  pattern('hot merchant', 'All transfers from many accounts to one'),
  pattern('hot payer', 'All transfers from one account to many'),
  pattern('zipf', 'Few accounts in most transfers, most accounts in few (Zipf)'),
]

function pattern(traffic: TrafficKind, title: string, atLeast?: number): Scenario {
  return {
    name: traffic.replaceAll(' ', '-'),
    title,
    contenders: async (bench) => [
      payonceContender(bench, traffic),
      ...functionContenders(bench, traffic),
    ],
    ratios: [
      {
        metric: 'settledPerSecond',
        of: 'payonce',
        to: 'function',
        ...(atLeast === undefined ? {} : { atLeast }),
      },
      ...pgbenchRatios,
    ],
    targets: [],
  }
}
