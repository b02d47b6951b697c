import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Client } from 'pg'
import { createPairs, type TrafficKind } from '../traffic.ts'
import { functionCall } from './transfer-function.ts'

export type OneCommitEachOptions = {
  databaseUrl: string
  accounts: number
  traffic: TrafficKind
  clients: number
  seconds: number
}

export type OneCommitEachResult = { perSecond: number }

// The process behind a round of one-commit-each.ts: clients that each call the function, wait for its
// commit, and call it again.
process.once('disconnect', () => process.exit())
const [options] = (await once(process, 'message')) as [OneCommitEachOptions]
process.send?.(await run(options))

async function run(settings: OneCommitEachOptions): Promise<OneCommitEachResult> {
  const { databaseUrl, accounts, traffic, clients, seconds } = settings
  const numbers = Array.from({ length: accounts }, (_, index) => String(index + 1))
  const nextPair = createPairs(traffic, numbers)
  const until = performance.now() + seconds * 1_000
  const startedAt = performance.now()
  let committed = 0

  async function runClient(): Promise<void> {
    const client = new Client(databaseUrl)
    await client.connect()
    while (performance.now() < until) {
      const [source, destination] = nextPair()
      await client.query({
        name: 'pay',
        text: `SELECT ${functionCall('$1', '$2', '$3', '$4')}`,
        values: [randomUUID(), source, destination, 1 + Math.floor(Math.random() * 10_000)],
      })
      committed += 1
    }
    await client.end()
  }

  await Promise.all(Array.from({ length: clients }, runClient))
  return { perSecond: (committed / (performance.now() - startedAt)) * 1_000 }
}
