import { join } from 'node:path'
import { Redis } from 'ioredis'
import { encodeId } from '@payonce/core/ids'
import { findFaultsInBooks } from '../books.ts'
import { currency } from '../history.ts'
import { createProfile } from '../profile.ts'
import { startPayonce, type Batches, type Payonce } from '../service.ts'
import { countSettled } from '../settled.ts'
import { measureThroughput, type Observer } from '../throughput.ts'
import { readWalBytes, refuseFailures, refuseFaults } from './checks.ts'
import type { BenchDatabase } from '../database.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench, Round } from '../scenario.ts'
import type { TrafficKind } from '../traffic.ts'

export type PayonceRoundOptions = Round & {
  database: BenchDatabase
  /** Between whom money moves, as uuids. */
  accounts: readonly string[]
  traffic: TrafficKind
  queue: 'redis' | 'postgres'
  connections: number
  /** 1 unless told otherwise. */
  workers?: number
  /** As `--seconds` and `--warm-up` say unless told otherwise. */
  measuredMs?: number
  warmUpMs?: number
  /** Transfers in one request; single ones without it. */
  batchSize?: number
  /** How often each request is sent; once, and without what a request costs, where it is left out. */
  sentTimes?: number
  /** Requests that become due in each second (an open loop), instead of each client's next one. */
  perSecond?: number
  /** Counts refusals (`503`), which are a fault of the round without it. */
  mayRefuse?: boolean
  /** Further settings of API and worker. */
  env?: Readonly<Record<string, string>>
  /** What else looks on while the load is measured. */
  observers?: readonly Observer[]
  /** What is to be done before the load begins, once everything runs. */
  prepare?(payonce: Payonce): Promise<void>
  /** What is measured besides, when everything is settled. */
  conclude?(payonce: Payonce): Promise<Measurement>
  /** Asks for the settled transfer (`Prefer: wait`) instead of its acceptance. */
  waitSeconds?: number
}

/** Puts a load on a freshly started Payonce, and checks the books behind it. */
export async function measurePayonce(
  bench: Bench,
  options: PayonceRoundOptions,
): Promise<Measurement> {
  const redis = new Redis(bench.stack.redis.url)
  try {
    await redis.flushall()
    return await measureWithRedis(bench, options, redis)
  } finally {
    redis.disconnect()
  }
}

async function measureWithRedis(
  { options, stack }: Bench,
  round: PayonceRoundOptions,
  redis: Redis,
): Promise<Measurement> {
  const { database, accounts, traffic, queue, connections, label } = round
  const { batchSize, sentTimes, waitSeconds, perSecond, mayRefuse } = round
  const profile =
    options.profile === undefined
      ? undefined
      : createProfile({ folder: join(options.profile, label), database, redis })
  const acceptedBefore = await countKeys(database)
  const payonce = await startPayonce({
    database,
    ...(queue === 'redis' ? { redisUrl: stack.redis.url } : {}),
    nodeFlags: options.nodeFlags,
    workers: round.workers ?? 1,
    profile,
    ...(round.env === undefined ? {} : { env: round.env }),
  })
  try {
    // Every round begins just behind a checkpoint and ends before the next one comes.
    await database.pool.query('CHECKPOINT')
    await round.prepare?.(payonce)
    await profile?.start()
    const before = { batches: await payonce.readBatches(), commands: await countCommands(redis) }
    const { measurement, load } = await measureThroughput(
      {
        stack,
        service: payonce,
        countSettled: () => countSettled(database),
        readWalBytes: () => readWalBytes(database.pool),
        observers: round.observers ?? [],
      },
      {
        traffic: {
          kind: traffic,
          url: payonce.url,
          path: batchSize === undefined ? '/v1/transfers' : '/v1/transfer-batches',
          apiKey: database.apiKey,
          accounts: accounts.map((id) => encodeId('account', id)),
          currency,
          ...(batchSize === undefined ? {} : { batchSize }),
          ...(sentTimes === undefined ? {} : { sentTimes }),
          ...(waitSeconds === undefined ? {} : { waitSeconds }),
        },
        expectedStatus: waitSeconds === undefined ? 202 : 200,
        ...(mayRefuse === true ? { refusedStatus: 503 } : {}),
        ...(perSecond === undefined ? {} : { perSecond }),
        connections,
        warmUpMs: round.warmUpMs ?? options.warmUpMs,
        measuredMs: round.measuredMs ?? options.measuredMs,
      },
    )
    const commands = (await countCommands(redis)) - before.commands
    const concluded = await round.conclude?.(payonce)
    await profile?.writeCosts(load.accepted)
    refuseFailures(load.failures)
    const accepted = acceptedBefore + load.accepted
    // No answer was lost, so that a single row more would be a second effect.
    refuseFaults(await findFaultsInBooks(database, { accepted, exactly: true }))
    return {
      ...measurement,
      ...concluded,
      ...meanBatches(before.batches, await payonce.readBatches()),
      ...(queue === 'redis' ? { redisCommandsPerTransfer: commands / load.accepted } : {}),
    }
  } finally {
    await payonce.stop()
    profile?.writeFunctions()
  }
}

async function countKeys({ pool, tenantId }: BenchDatabase): Promise<number> {
  const { rows } = await pool.query<{ keys: number }>(
    `SELECT count(*)::float8 AS keys FROM idempotency_keys
      WHERE tenant_id = $1 AND resource = 'transfer'`,
    [tenantId],
  )
  return rows[0]?.keys ?? 0
}

/** What Redis has carried out, with what scripts call inside it. */
async function countCommands(redis: Redis): Promise<number> {
  const statistics = await redis.info('commandstats')
  return [...statistics.matchAll(/calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
}

function meanBatches(before: Batches, after: Batches): Measurement {
  const mean = (name: keyof Batches) =>
    (after[name].items - before[name].items) / (after[name].flushes - before[name].flushes)
  return { acceptanceBatch: mean('acceptance'), settlementBatch: mean('settlement') }
}
