import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { HttpConnection } from './http-connection.ts'
import { percentile } from './statistics.ts'
import { createTraffic } from './traffic.ts'
import type { LoadMessage, LoadOptions, LoadResult } from './load.ts'

/** 10 ms after a failure, so that a server that is away is not asked a million times. */
const pauseAfterFailureMs = 10

/**
 * The clients of one load. What they see is counted from the end of the warm-up on; `accepted` and
 * `failures` are counted from the beginning.
 */
class Load {
  readonly #options: LoadOptions
  readonly #nextRequest: () => string
  readonly #latencies: number[] = []
  readonly #failures = new Map<string, number>()
  #accepted = 0
  #measuring: { sinceMs: number; acceptedBefore: number; cpu: NodeJS.CpuUsage } | undefined
  #stopAtMs = Infinity

  constructor(options: LoadOptions) {
    this.#options = options
    this.#nextRequest = createTraffic(options.traffic)
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
    this.#measuring = { sinceMs, acceptedBefore: this.#accepted, cpu: process.cpuUsage() }
    this.#stopAtMs = sinceMs + this.#options.measuredMs
  }

  async #runClient(): Promise<void> {
    const connection = new HttpConnection(this.#options.traffic.url)
    while (performance.now() < this.#stopAtMs) {
      const askedAtMs = performance.now()
      const failure = await this.#ask(connection)
      if (failure === undefined) this.#accepted += this.#options.traffic.batchSize ?? 1
      else await this.#noteFailure(failure)
      if (this.#measuring !== undefined) this.#latencies.push(performance.now() - askedAtMs)
    }
    connection.close()
  }

  /** Sends one transfer, and returns what went wrong, if anything did. */
  async #ask(connection: HttpConnection): Promise<string | undefined> {
    try {
      const { status, body } = await connection.ask(this.#nextRequest())
      return status === this.#options.expectedStatus ? undefined : `${status} ${body.slice(0, 200)}`
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
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
    return {
      accepted: this.#accepted,
      measured: {
        accepted: this.#accepted - measuring.acceptedBefore,
        durationMs: performance.now() - measuring.sinceMs,
        p50Ms: percentile(sorted, 0.5),
        p95Ms: percentile(sorted, 0.95),
        p99Ms: percentile(sorted, 0.99),
        cpuMs: (cpu.user + cpu.system) / 1_000,
      },
      failures: Object.fromEntries(this.#failures),
    }
  }
}

function tell(message: LoadMessage): void {
  process.send?.(message)
}

// The process behind `runLoad`: its options come as a message, and it ends with whoever started it.
process.once('disconnect', () => process.exit())
const [options] = (await once(process, 'message')) as [LoadOptions]
tell({ type: 'ended', result: await new Load(options).run(() => tell({ type: 'warmed_up' })) })
