import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { createArrivals } from './arrivals.ts'
import { HttpConnection } from './http-connection.ts'
import { percentile } from './statistics.ts'
import { createTraffic, withRepetitions, type TrafficRequest } from './traffic.ts'
import type { LoadMessage, LoadOptions, LoadResult } from './load.ts'

/** 10 ms after a failure, so that a server that is away is not asked a million times. */
const pauseAfterFailureMs = 10

type Answer = { as: 'accepted' } | { as: 'refused' } | { as: 'failed'; failure: string }

type Counts = { accepted: number; answered: number; refused: number }

/**
 * The clients of one load. What they see is counted from the end of the warm-up on; `accepted` and
 * `failures` are counted from the beginning.
 */
class Load {
  readonly #options: LoadOptions
  readonly #nextRequest: () => TrafficRequest
  readonly #nextDueAtMs: () => number
  readonly #latencies: number[] = []
  readonly #refusedLatencies: number[] = []
  readonly #failures = new Map<string, number>()
  readonly #counts: Counts = { accepted: 0, answered: 0, refused: 0 }
  #sent = 0
  #measuring: { sinceMs: number; before: Counts; cpu: NodeJS.CpuUsage } | undefined
  #stopAtMs = Infinity

  constructor(options: LoadOptions) {
    const { traffic, perSecond, warmUpMs } = options
    this.#options = options
    this.#nextRequest = withRepetitions(createTraffic(traffic), traffic.sentTimes ?? 1)
    this.#nextDueAtMs =
      perSecond === undefined
        ? () => performance.now()
        : createArrivals({ perSecond, fromMs: performance.now(), rampMs: warmUpMs / 2 })
  }

  async run(onWarmedUp: () => void): Promise<LoadResult> {
    setTimeout(() => {
      this.#startMeasuring()
      onWarmedUp()
    }, this.#options.warmUpMs)
    const clients = Array.from({ length: this.#options.connections }, () => this.#runClient())
    await Promise.all(clients)
    return this.#result()
  }

  #startMeasuring(): void {
    const sinceMs = performance.now()
    this.#measuring = { sinceMs, before: { ...this.#counts }, cpu: process.cpuUsage() }
    this.#stopAtMs = sinceMs + this.#options.measuredMs
  }

  async #runClient(): Promise<void> {
    const { traffic, atMost = Infinity } = this.#options
    const connection = new HttpConnection(traffic.url)
    while (this.#sent < atMost) {
      const dueAtMs = this.#nextDueAtMs()
      if (dueAtMs >= this.#stopAtMs) break
      this.#sent += 1
      await untilDue(dueAtMs)
      const request = this.#nextRequest()
      const answer = await this.#ask(connection, request.text)
      const tookMs = performance.now() - dueAtMs
      if (answer.as === 'failed') await this.#noteFailure(answer.failure)
      else this.#note(answer.as, request, tookMs)
    }
    connection.close()
  }

  /** Sends one request, and returns what became of it. */
  async #ask(connection: HttpConnection, request: string): Promise<Answer> {
    const { expectedStatus, refusedStatus } = this.#options
    try {
      const { status, body } = await connection.ask(request)
      if (status === expectedStatus) return { as: 'accepted' }
      if (status === refusedStatus) return { as: 'refused' }
      return { as: 'failed', failure: `${status} ${body.slice(0, 200)}` }
    } catch (error) {
      return { as: 'failed', failure: error instanceof Error ? error.message : String(error) }
    }
  }

  #note(as: 'accepted' | 'refused', { isRepeated }: TrafficRequest, tookMs: number): void {
    if (as === 'refused') this.#counts.refused += 1
    else this.#counts.answered += 1
    if (as === 'accepted' && !isRepeated) {
      this.#counts.accepted += this.#options.traffic.batchSize ?? 1
    }
    if (this.#measuring === undefined) return
    const latencies = as === 'refused' ? this.#refusedLatencies : this.#latencies
    latencies.push(tookMs)
  }

  async #noteFailure(failure: string): Promise<void> {
    this.#failures.set(failure, (this.#failures.get(failure) ?? 0) + 1)
    await sleep(pauseAfterFailureMs)
  }

  #result(): LoadResult {
    const measuring = this.#measuring
    if (measuring === undefined) throw new Error('the load ended within its warm-up')
    const sorted = Float64Array.from(this.#latencies).toSorted()
    const cpu = process.cpuUsage(measuring.cpu)
    const { accepted, answered, refused } = this.#counts
    return {
      accepted,
      measured: {
        accepted: accepted - measuring.before.accepted,
        answered: answered - measuring.before.answered,
        refused: refused - measuring.before.refused,
        durationMs: performance.now() - measuring.sinceMs,
        p50Ms: percentile(sorted, 0.5),
        p95Ms: percentile(sorted, 0.95),
        p99Ms: percentile(sorted, 0.99),
        p999Ms: percentile(sorted, 0.999),
        refusedP99Ms: percentile(Float64Array.from(this.#refusedLatencies).toSorted(), 0.99),
        cpuMs: (cpu.user + cpu.system) / 1_000,
      },
      failures: Object.fromEntries(this.#failures),
    }
  }
}

async function untilDue(dueAtMs: number): Promise<void> {
  const waitMs = dueAtMs - performance.now()
  if (waitMs > 0) await sleep(waitMs)
}

function tell(message: LoadMessage): void {
  process.send?.(message)
}

// The process behind `runLoad`: its options come as a message, and it ends with whoever started it.
process.once('disconnect', () => process.exit())
const [options] = (await once(process, 'message')) as [LoadOptions]
tell({ type: 'ended', result: await new Load(options).run(() => tell({ type: 'warmed_up' })) })
