import { setTimeout as sleep } from 'node:timers/promises'
import { encodeId } from '@payonce/core/ids'
import { findFaultsInBooks } from '../books.ts'
import { currency, openAccounts } from '../history.ts'
import { sendAtPace } from '../pace.ts'
import { startPayonce } from '../service.ts'
import { percentile } from '../statistics.ts'
import { createTraffic } from '../traffic.ts'
import { refuseFailures, refuseFaults } from './checks.ts'
import type { BenchDatabase } from '../database.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench } from '../scenario.ts'

export type ReplayFloodOptions = {
  database: BenchDatabase
  accounts: number
  /** First requests, each of a new transfer. */
  firstPerSecond: number
  /** Requests that were accepted before and are sent again; 0 for none. */
  replaysPerSecond: number
}

/** The first requests that are sent again are taken from the last so many. */
const repeatable = 10_000

/** Counts what settles while first requests come at a steady pace, with a flood of replays or not. */
export async function measureReplayFlood(
  { options, stack }: Bench,
  { database, accounts, firstPerSecond, replaysPerSecond }: ReplayFloodOptions,
): Promise<Measurement> {
  const ids = await openAccounts(database, accounts)
  const payonce = await startPayonce({
    database,
    redisUrl: stack.redis.url,
    nodeFlags: options.nodeFlags,
  })
  try {
    await database.pool.query('CHECKPOINT')
    const { url } = payonce
    const { apiKey } = database
    const measuringFromMs = performance.now() + options.warmUpMs
    const untilMs = measuringFromMs + options.measuredMs
    const failures: Record<string, number> = {}
    const accepted: string[] = []
    const lateMs: number[] = []
    let acceptances = 0
    const note = (failure: string) => {
      failures[failure] = (failures[failure] ?? 0) + 1
    }

    const first = sendAtPace({
      url,
      perSecond: firstPerSecond,
      connections: options.connections,
      untilMs,
      nextRequest: createTraffic({
        kind: 'uniform',
        url,
        path: '/v1/transfers',
        apiKey,
        accounts: ids.map((id) => encodeId('account', id)),
        currency,
      }),
      onAnswer: (answer) => {
        if (answer.status !== 202) return note(`${answer.status} ${answer.body.slice(0, 200)}`)
        acceptances += 1
        accepted[acceptances % repeatable] = answer.request
        if (performance.now() >= measuringFromMs) lateMs.push(answer.lateMs)
      },
    })
    const flood =
      replaysPerSecond === 0
        ? undefined
        : untilAny(accepted).then(() =>
            sendAtPace({
              url,
              perSecond: replaysPerSecond,
              connections: options.connections,
              untilMs,
              nextRequest: () => pick(accepted),
              onAnswer: ({ status, body }) => {
                if (status !== 202) note(`${status} ${body.slice(0, 200)}`)
              },
            }),
          )

    await sleep(measuringFromMs - performance.now())
    const before = { settled: await countSettled(database), atMs: performance.now() }
    await Promise.all([first, flood])
    const after = { settled: await countSettled(database), atMs: performance.now() }
    await untilSettled(database, acceptances)
    refuseFailures(failures)
    refuseFaults(await findFaultsInBooks(database, { accepted: acceptances }))
    const sorted = Float64Array.from(lateMs).toSorted()
    return {
      settledPerSecond: ((after.settled - before.settled) / (after.atMs - before.atMs)) * 1_000,
      drainMs: performance.now() - after.atMs,
      p50Ms: percentile(sorted, 0.5),
      p95Ms: percentile(sorted, 0.95),
      p99Ms: percentile(sorted, 0.99),
    }
  } finally {
    await payonce.stop()
  }
}

async function untilAny(accepted: readonly string[]): Promise<void> {
  while (Object.keys(accepted).length === 0) await sleep(5)
}

function pick(requests: readonly string[]): string {
  for (;;) {
    // The list may still have holes at its beginning.
    const request = requests[Math.floor(Math.random() * requests.length)]
    if (request !== undefined) return request
  }
}

async function countSettled({ pool, tenantId }: BenchDatabase): Promise<number> {
  const { rows } = await pool.query<{ settled: number }>(
    'SELECT (sum(entry_count) / 2)::float8 AS settled FROM accounts WHERE tenant_id = $1',
    [tenantId],
  )
  return rows[0]?.settled ?? 0
}

/** A minute: what has not settled by then was lost, or never will be in time. */
const drainTimeoutMs = 60_000

async function untilSettled(database: BenchDatabase, expected: number): Promise<void> {
  const deadline = performance.now() + drainTimeoutMs
  while ((await countSettled(database)) < expected) {
    if (performance.now() > deadline) throw new Error('accepted transfers were not settled')
    await sleep(20)
  }
}
