import { setTimeout as sleep } from 'node:timers/promises'
import { encodeId } from '@payonce/core/ids'
import { findFaultsInBooks } from '../books.ts'
import { currency, openAccounts } from '../history.ts'
import { sendAtPace, type PacedAnswer } from '../pace.ts'
import { startPayonce } from '../service.ts'
import { countSettled, untilSettled } from '../settled.ts'
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

/** Counts what settles while first requests come at a steady pace, with a flood of replays or not. */
export async function measureReplayFlood(
  { options, stack }: Bench,
  { database, accounts, firstPerSecond, replaysPerSecond }: ReplayFloodOptions,
): Promise<Measurement> {
  const ids = await openAccounts(database, accounts)
  const { nodeFlags, connections, warmUpMs, measuredMs } = options
  const payonce = await startPayonce({ database, redisUrl: stack.redis.url, nodeFlags })
  try {
    await database.pool.query('CHECKPOINT')
    const fromMs = performance.now() + warmUpMs
    const flood = new ReplayFlood({
      pace: { url: payonce.url, connections, untilMs: fromMs + measuredMs },
      fromMs,
      nextFirst: createTraffic({
        kind: 'uniform',
        url: payonce.url,
        path: '/v1/transfers',
        apiKey: database.apiKey,
        accounts: ids.map((id) => encodeId('account', id)),
        currency,
      }),
    })
    const sent = Promise.all([flood.sendFirst(firstPerSecond), flood.sendReplays(replaysPerSecond)])
    await Promise.race([sleep(fromMs - performance.now()), sent])
    const before = await takeSnapshot(database)
    await sent
    const after = await takeSnapshot(database)
    await untilSettled(() => countSettled(database), flood.accepted)
    refuseFailures(flood.failures)
    refuseFaults(await findFaultsInBooks(database, { accepted: flood.accepted }))
    return {
      settledPerSecond: ((after.settled - before.settled) / (after.atMs - before.atMs)) * 1_000,
      drainMs: performance.now() - after.atMs,
      ...flood.latencies(),
    }
  } finally {
    await payonce.stop()
  }
}

/** What is sent again is taken from the last so many first requests. */
const repeatable = 10_000

type FloodOptions = {
  pace: { url: string; connections: number; untilMs: number }
  /** When the measuring begins. */
  fromMs: number
  nextFirst(): string
}

/** First requests and their repetitions, side by side. */
class ReplayFlood {
  readonly failures: Record<string, number> = {}
  accepted = 0
  readonly #options: FloodOptions
  readonly #repeatable: string[] = []
  readonly #lateMs: number[] = []

  constructor(options: FloodOptions) {
    this.#options = options
  }

  sendFirst(perSecond: number): Promise<void> {
    const { pace, fromMs, nextFirst } = this.#options
    return sendAtPace({
      ...pace,
      perSecond,
      nextRequest: nextFirst,
      onAnswer: (answer) => {
        if (!this.#isExpected(answer)) return
        this.#repeatable[this.accepted % repeatable] = answer.request
        this.accepted += 1
        if (performance.now() >= fromMs) this.#lateMs.push(answer.lateMs)
      },
    })
  }

  async sendReplays(perSecond: number): Promise<void> {
    if (perSecond === 0) return
    while (this.accepted === 0) await sleep(5)
    await sendAtPace({
      ...this.#options.pace,
      perSecond,
      nextRequest: () => this.#pickAccepted(),
      onAnswer: (answer) => void this.#isExpected(answer),
    })
  }

  /** Of the first requests alone, from when each was due. */
  latencies(): Measurement {
    const sorted = Float64Array.from(this.#lateMs).toSorted()
    return {
      p50Ms: percentile(sorted, 0.5),
      p95Ms: percentile(sorted, 0.95),
      p99Ms: percentile(sorted, 0.99),
    }
  }

  #pickAccepted(): string {
    const request = this.#repeatable[Math.floor(Math.random() * this.#repeatable.length)]
    if (request === undefined) throw new Error('nothing was accepted that could be repeated')
    return request
  }

  #isExpected({ status, body }: PacedAnswer): boolean {
    if (status === 202) return true
    const failure = `${status} ${body.slice(0, 200)}`
    this.failures[failure] = (this.failures[failure] ?? 0) + 1
    return false
  }
}

async function takeSnapshot(database: BenchDatabase): Promise<{ settled: number; atMs: number }> {
  return { settled: await countSettled(database), atMs: performance.now() }
}
