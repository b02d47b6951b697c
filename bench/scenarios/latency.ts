import { pickMetrics } from '../metrics.ts'
import { payonceContender } from './contenders.ts'
import type { Contender, Scenario } from '../scenario.ts'

/** 30 s: the longest wait that the API grants. Whoever is not answered with 200 by then has failed. */
const waitSeconds = 30
/** So many that the next request always finds a free one: an open loop never waits for an answer. */
const connections = 512

const shares = [25, 50, 75]

export const latency: Scenario = {
  name: 'latency',
  title:
    'From when a transfer was to be sent until its client is told that it settled (Prefer: wait), ' +
    `arriving at random times (Poisson) at ${shares.join(', ')} % of what a closed loop settles`,
  contenders: async (bench) => {
    let most = Number.NaN
    const closed = payonceContender(bench, 'uniform', { name: 'most' })
    const atShare = (share: number): Contender => ({
      name: nameOf(share),
      measure: async (round) => {
        const perSecond = Math.round((most * share) / 100)
        bench.tell(`${perSecond} transfers a second`)
        const open = payonceContender(bench, 'uniform', { perSecond, connections, waitSeconds })
        const measured = await open.measure(round)
        return { offeredPerSecond: perSecond, ...pickMetrics(measured, shown) }
      },
    })
    return [
      {
        ...closed,
        measure: async (round) => {
          const measured = await closed.measure(round)
          most = measured.settledPerSecond ?? Number.NaN
          return pickMetrics(measured, ['settledPerSecond'])
        },
      },
      ...shares.map(atShare),
    ]
  },
  ratios: [],
  targets: [{ metric: 'p99Ms', of: nameOf(50), atMost: 150 }],
}

const shown = [
  'settledPerSecond',
  'p50Ms',
  'p95Ms',
  'p99Ms',
  'p999Ms',
  'apiCpuSeconds',
  'workerCpuSeconds',
  'postgresCpuSeconds',
  'redisCpuSeconds',
  'totalCpuSeconds',
  'acceptanceBatch',
  'settlementBatch',
  'machineShare',
  'othersShare',
] as const

function nameOf(share: number): string {
  return `${share} %`
}
