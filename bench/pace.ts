import { setTimeout as sleep } from 'node:timers/promises'
import { HttpConnection } from './http-connection.ts'

export type PaceOptions = {
  url: string
  /** Requests that become due in each second. A server that is slower than that falls behind. */
  perSecond: number
  connections: number
  /** No request becomes due from then on, by `performance.now()`. */
  untilMs: number
  /** The next request, as it goes on the wire. */
  nextRequest(): string
  /** Told of every answer, with the milliseconds from when its request was due. */
  onAnswer(answer: PacedAnswer): void
}

export type PacedAnswer = { request: string; status: number; body: string; lateMs: number }

/**
 * Sends requests at a steady pace, whatever the answers take (an open loop): so a load can be the
 * same beside another load and without it. Latencies count from when a request was due.
 */
export async function sendAtPace(options: PaceOptions): Promise<void> {
  const { url, perSecond, connections, untilMs, nextRequest, onAnswer } = options
  const startedAtMs = performance.now()
  let turn = 0

  async function runConnection(): Promise<void> {
    const connection = new HttpConnection(url)
    try {
      for (;;) {
        const dueAtMs = startedAtMs + (turn++ * 1_000) / perSecond
        if (dueAtMs >= untilMs) return
        await sleep(Math.max(0, dueAtMs - performance.now()))
        const request = nextRequest()
        const { status, body } = await connection.ask(request)
        onAnswer({ request, status, body, lateMs: performance.now() - dueAtMs })
      }
    } finally {
      connection.close()
    }
  }

  await Promise.all(Array.from({ length: connections }, runConnection))
}
