import { Redis } from 'ioredis'
import { encodeId } from '@payonce/core/ids'
import { findFaultsInBooks } from '../books.ts'
import { currency, openAccounts } from '../history.ts'
import { runLoad } from '../load.ts'
import { startPayonce } from '../service.ts'
import { countSettled, untilSettled } from '../settled.ts'
import { peakMemoryMb } from '../usage.ts'
import { refuseFailures, refuseFaults } from './checks.ts'
import type { BenchDatabase } from '../database.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench } from '../scenario.ts'

export type BacklogOptions = { database: BenchDatabase; accounts: number; transfers: number }

/** The first transfers warm the new worker up, and are not counted. */
const warmUpTransfers = 10_000
/** Half an hour for what a client has to wait for in the end: no machine is that slow. */
const longestMs = 1_800_000

/** Accepts transfers by the API while no worker runs, then starts one and times how it drains them. */
export async function measureBacklog(
  { options, stack, tell }: Bench,
  { database, accounts, transfers }: BacklogOptions,
): Promise<Measurement> {
  const redis = new Redis(stack.redis.url)
  await redis.flushall()
  redis.disconnect()
  const ids = await openAccounts(database, accounts)
  const { nodeFlags, connections } = options
  const payonce = await startPayonce({
    database,
    redisUrl: stack.redis.url,
    workers: 0,
    nodeFlags,
  })
  try {
    const load = await runLoad(
      {
        traffic: {
          kind: 'uniform',
          url: payonce.url,
          path: '/v1/transfers',
          apiKey: database.apiKey,
          accounts: ids.map((id) => encodeId('account', id)),
          currency,
        },
        expectedStatus: 202,
        connections,
        atMost: transfers,
        warmUpMs: 0,
        measuredMs: longestMs,
      },
      () => undefined,
    )
    refuseFailures(load.failures)
    tell(`${load.accepted} transfers wait`)
    await database.pool.query('CHECKPOINT')
    const settled = () => countSettled(database)
    await payonce.startWorker()
    await untilSettled(settled, warmUpTransfers, longestMs)
    const before = { count: await settled(), atMs: performance.now() }
    await untilSettled(settled, load.accepted, longestMs)
    const elapsedMs = performance.now() - before.atMs
    const workerPeakMb = Math.max(...payonce.processes.worker.map(peakMemoryMb))
    refuseFaults(await findFaultsInBooks(database, { accepted: load.accepted, exactly: true }))
    return {
      acceptedPerSecond: (load.measured.accepted / load.measured.durationMs) * 1_000,
      drainedPerSecond: ((load.accepted - before.count) / elapsedMs) * 1_000,
      workerPeakMb,
    }
  } finally {
    await payonce.stop()
  }
}
