import { encodeId } from '@payonce/core/ids'
import { withDatabase } from '../database.ts'
import { currency, openAccounts } from '../history.ts'
import { sendAtPace } from '../pace.ts'
import { startReceiver, subscribe, type Receiver } from '../receiver.ts'
import { startPayonce } from '../service.ts'
import { percentile } from '../statistics.ts'
import { createTraffic } from '../traffic.ts'
import { accountCount } from './contenders.ts'
import type { BenchDatabase } from '../database.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'

/** A pace at which nothing waits for the machine: what is measured is waiting for others. */
const perSecond = 50
const rateLimit = 1_000

export const neighbours: Scenario = {
  name: 'neighbours',
  title: `${perSecond} events a second to an endpoint, alone and beside one that takes and never answers`,
  contenders: async (bench) => [
    contender(bench, 'alone', false),
    contender(bench, 'beside a dead one', true),
  ],
  ratios: [{ metric: 'deliveredP99Ms', of: 'beside a dead one', to: 'alone' }],
  targets: [],
}

function contender(bench: Bench, name: string, hasDeadNeighbour: boolean): Contender {
  return {
    name,
    measure: () =>
      withDatabase(bench.databases, async (database) => {
        const receivers = [await startReceiver()]
        if (hasDeadNeighbour) receivers.push(await startReceiver({ isDead: true }))
        try {
          return await measureLateness(bench, database, receivers)
        } finally {
          for (const receiver of receivers) receiver.close()
        }
      }),
  }
}

/** How late the first of the receivers is told of each event. */
async function measureLateness(
  { options, stack }: Bench,
  database: BenchDatabase,
  receivers: readonly Receiver[],
): Promise<Measurement> {
  const accounts = await openAccounts(database, accountCount)
  const { nodeFlags, warmUpMs, measuredMs } = options
  const payonce = await startPayonce({ database, redisUrl: stack.redis.url, nodeFlags })
  try {
    for (const receiver of receivers) {
      await subscribe({ url: payonce.url, apiKey: database.apiKey }, receiver, rateLimit)
    }
    const nextRequest = createTraffic({
      kind: 'uniform',
      url: payonce.url,
      path: '/v1/transfers',
      apiKey: database.apiKey,
      accounts: accounts.map((id) => encodeId('account', id)),
      currency,
    })
    const [measured] = receivers
    if (measured === undefined) throw new Error('nobody receives')
    const send = (durationMs: number) =>
      sendAtPace({
        url: payonce.url,
        perSecond,
        connections: 8,
        untilMs: performance.now() + durationMs,
        nextRequest,
        onAnswer: () => undefined,
      })
    await send(warmUpMs)
    await measured.forget()
    await send(measuredMs)
    const sorted = Float64Array.from(await measured.lateness()).toSorted()
    return {
      deliveredP50Ms: percentile(sorted, 0.5),
      deliveredP99Ms: percentile(sorted, 0.99),
    }
  } finally {
    await payonce.stop()
  }
}
