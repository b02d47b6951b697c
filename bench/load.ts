import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { TrafficOptions } from './traffic.ts'

export type LoadOptions = {
  traffic: TrafficOptions
  /** The only status that counts as an acceptance. */
  expectedStatus: number
  /** A status that counts as a refusal; without it everything unexpected is a failure. */
  refusedStatus?: number
  /** Clients that each ask, wait for the answer, and ask again. */
  connections: number
  /**
   * Requests that become due in each second, whatever the answers take (an open loop); latencies
   * then count from when a request was due. Without it each client asks again when it has its answer.
   */
  perSecond?: number
  /** Ends the load after so many requests, if the time is not over before. */
  atMost?: number
  warmUpMs: number
  /** How long is measured after the warm-up. */
  measuredMs: number
}

export type LoadResult = {
  /**
   * Transfers with the expected answer, in the warm-up and after it. One that is sent several times
   * counts once.
   */
  accepted: number
  measured: {
    accepted: number
    /** Requests with the expected answer, repetitions among them. */
    answered: number
    refused: number
    refusedP99Ms: number
    /** From the end of the warm-up until the last client stopped. */
    durationMs: number
    p50Ms: number
    p95Ms: number
    p99Ms: number
    p999Ms: number
    /** What the load itself cost, in CPU time. */
    cpuMs: number
  }
  /** Other answers and broken connections, by what they were. */
  failures: Readonly<Record<string, number>>
}

/** What the load's process tells: the end of the warm-up, then the result. */
export type LoadMessage = { type: 'warmed_up' } | { type: 'ended'; result: LoadResult }

/**
 * Puts a closed loop of requests on a server from a process of its own, so that the measuring
 * disturbs the load as little as possible. Calls `onWarmedUp` when the measured part begins.
 */
export async function runLoad(options: LoadOptions, onWarmedUp: () => void): Promise<LoadResult> {
  const child = fork(fileURLToPath(new URL('load-process.ts', import.meta.url)), {
    execArgv: ['--import', 'tsx'],
  })
  try {
    return await new Promise<LoadResult>((resolve, reject) => {
      child.on('message', (message: LoadMessage) => {
        if (message.type === 'ended') resolve(message.result)
        else onWarmedUp()
      })
      child.once('error', reject)
      child.once('exit', (code) => reject(new Error(`the load ended early, with code ${code}`)))
      child.send(options)
    })
  } finally {
    child.kill()
  }
}
