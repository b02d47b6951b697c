import { payonceContender } from './contenders.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/**
 * Jobs that the worker has in hand: so few that it settles a part of what the API could accept. With
 * a whole worker, two cores would be full of requests, and the queue would never be what fills up.
 */
const workerConcurrency = '4'
/** Jobs that may wait, which three times the rate fill within a second or two. */
const backlogLimit = '500'
const overload = 3
/** 30 s: a closed loop that waits until each transfer has settled asks for just what settles. */
const waitSeconds = 30
/** Enough that the worker never waits for a client. */
const waitingConnections = 16
/** So many that the next request always finds a free one. */
const connections = 256

export const overloaded: Scenario = {
  name: 'overload',
  title:
    `${overload} times what a small worker settles (WORKER_CONCURRENCY ${workerConcurrency}), as an ` +
    `open loop; what is too much is refused with backlog_full (BACKLOG_LIMIT ${backlogLimit})`,
  contenders: async (bench) => {
    let most = Number.NaN
    const full = payonceContender(bench, 'uniform', {
      name: 'full',
      waitSeconds,
      connections: waitingConnections,
      env: { WORKER_CONCURRENCY: workerConcurrency },
    })
    return [
      {
        ...full,
        measure: async (round) => {
          const measured = await full.measure(round)
          most = measured.settledPerSecond ?? Number.NaN
          return measured
        },
      },
      overloadContender(bench, () => Math.round(overload * most)),
    ]
  },
  ratios: [{ metric: 'settledPerSecond', of: 'overloaded', to: 'full', atLeast: 0.9 }],
  targets: [
    // A refusal that made its client wait would be no refusal.
    { metric: 'refusedP99Ms', of: 'overloaded', atMost: 100 },
    // What is accepted waits for no more than the limit, and what is accepted between two looks at it.
    { metric: 'drainMs', of: 'overloaded', atMost: 10_000 },
  ],
}

function overloadContender(bench: Bench, rate: () => number): Contender {
  return {
    name: 'overloaded',
    measure: async (round) => {
      const perSecond = rate()
      const measured = await payonceContender(bench, 'uniform', {
        perSecond,
        connections,
        mayRefuse: true,
        env: { WORKER_CONCURRENCY: workerConcurrency, BACKLOG_LIMIT: backlogLimit },
      }).measure(round)
      return { offeredPerSecond: perSecond, ...measured }
    },
  }
}
