import { payonceContender } from './contenders.ts'
import type { Scenario } from '../scenario.ts'

const sentTimes = 3

/**
 * A client that gave up waiting sends again, and again. Two of three requests are answered from what
 * is known; the books are counted behind it, and hold one effect for each key.
 */
export const replayStorm: Scenario = {
  name: 'replay-storm',
  title:
    `Every request sent ${sentTimes} times, by other connections: again at once, while the first is ` +
    'in flight, and a thousand requests later; beside requests that are sent once',
  contenders: async (bench) => [
    payonceContender(bench, 'uniform', { name: 'first requests', sentTimes: 1 }),
    payonceContender(bench, 'uniform', { name: 'storm', sentTimes }),
  ],
  ratios: [
    { metric: 'requestsPerSecond', of: 'storm', to: 'first requests' },
    { metric: 'totalCpuPerRequest', of: 'storm', to: 'first requests', atMost: 1.25 },
    // Nothing is settled for a replay, so that all of it falls to the API and its database.
    { metric: 'apiCpuPerRequest', of: 'storm', to: 'first requests', atMost: 1.25 },
  ],
  targets: [],
}
