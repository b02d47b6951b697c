import { setTimeout as sleep } from 'node:timers/promises'
import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { startReceiver, subscribe, type Receiver } from '../receiver.ts'
import { measurePayonce } from '../rounds/payonce.ts'
import { peakMemoryMb } from '../usage.ts'
import { accountCount } from './contenders.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench, Contender, Scenario } from '../scenario.ts'
import type { Payonce } from '../service.ts'

/** What an endpoint is sent within a second unless its owner says otherwise. */
const usualRate = 100
/** As good as none. */
const highestRate = 10_000

export const webhooks: Scenario = {
  name: 'webhooks',
  title:
    'The load of `uniform` with one endpoint for all events, at the usual rate and at any; and how ' +
    'fast one worker delivers what is left when the load has ended',
  contenders: async (bench) => [
    contender(bench, 'no endpoint', undefined),
    contender(bench, 'endpoint', usualRate),
    contender(bench, 'unlimited', highestRate),
  ],
  ratios: [
    { metric: 'settledPerSecond', of: 'endpoint', to: 'no endpoint' },
    { metric: 'settledPerSecond', of: 'unlimited', to: 'no endpoint' },
  ],
  targets: [
    { metric: 'deliveredPerSecond', of: 'unlimited', atLeast: 800 },
    { metric: 'workerPeakMb', of: 'unlimited', atMost: 250 },
  ],
}

function contender(bench: Bench, name: string, rateLimit: number | undefined): Contender {
  return {
    name,
    measure: (round) =>
      withDatabase(bench.databases, async (database) => {
        const receiver = await startReceiver()
        try {
          return await measurePayonce(bench, {
            ...round,
            database,
            accounts: await openAccounts(database, accountCount),
            traffic: 'uniform',
            queue: 'redis',
            connections: bench.options.connections,
            ...(rateLimit === undefined
              ? {}
              : {
                  prepare: (payonce) =>
                    subscribe({ url: payonce.url, apiKey: database.apiKey }, receiver, rateLimit),
                }),
            ...(rateLimit === highestRate
              ? { conclude: (payonce) => measureDrain(payonce, receiver) }
              : {}),
          })
        } finally {
          receiver.close()
        }
      }),
  }
}

/** How long the rate is measured: a backlog of the load lasts for longer. */
const drainMs = 5_000

async function measureDrain({ processes }: Payonce, receiver: Receiver): Promise<Measurement> {
  const before = await receiver.count()
  const startedAt = performance.now()
  await sleep(drainMs)
  const delivered = (await receiver.count()) - before
  return {
    deliveredPerSecond: (delivered / (performance.now() - startedAt)) * 1_000,
    workerPeakMb: Math.max(...processes.worker.map(peakMemoryMb)),
  }
}
