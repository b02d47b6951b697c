import {
  functionContenders,
  payonceContender,
  pgbenchRatios,
  synchronousContender,
} from './contenders.ts'
import type { Scenario } from '../scenario.ts'

export const uniform: Scenario = {
  name: 'uniform',
  title:
    'Single transfers between 200 accounts at random, counted when settled, queue in Redis; a lean ' +
    'SQL function with one commit each, the best of 4 to 32 clients; and an endpoint written by ' +
    'hand that commits each transfer before it answers',
  async contenders(bench) {
    return [
      payonceContender(bench, 'uniform'),
      ...functionContenders(bench, 'uniform'),
      synchronousContender(bench, 'uniform'),
    ]
  },
  ratios: [
    { metric: 'settledPerSecond', of: 'payonce', to: 'function', atLeast: 1.2 },
    ...pgbenchRatios,
    { metric: 'settledPerSecond', of: 'payonce', to: 'synchronous', atLeast: 2 },
    { metric: 'totalCpuSeconds', of: 'payonce', to: 'synchronous' },
  ],
  targets: [
    { metric: 'acceptedPerSecond', of: 'payonce', atLeast: 1_500 },
    { metric: 'settledPerSecond', of: 'payonce', atLeast: 1_500 },
    { metric: 'apiPeakMb', of: 'payonce', atMost: 200 },
    { metric: 'workerPeakMb', of: 'payonce', atMost: 200 },
  ],
}
