import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpAnswer, HttpClient, HttpRequest } from './http.ts'
import { readProblem } from './problem.ts'
import { messageOf } from './stop.ts'

/**
 * Sends a request until it has an answer that a further try would not change, always with the
 * same idempotency key, so that a try whose answer was lost does no harm. It has no limit of its
 * own: `signal` ends it, when the whole run makes no progress any more.
 *
 * This is a few lines instead of p-retry because the limit is the run's and not the request's,
 * and because an answer's own `Retry-After` and `retryable` decide.
 */
export async function sendUntilAnswered(
  http: HttpClient,
  request: HttpRequest,
  { signal, onTrouble }: RetryOptions,
): Promise<{ answer: HttpAnswer; attempts: number }> {
  for (let attempts = 1; ; attempts += 1) {
    signal.throwIfAborted()
    const outcome = await tryOnce(http, request)
    signal.throwIfAborted()
    if (outcome.trouble === undefined) return { answer: outcome.answer, attempts }
    onTrouble(outcome.trouble)
    await sleep(pauseMs(attempts, outcome.answer), undefined, { signal }).catch(() => {})
  }
}

export type RetryOptions = { signal: AbortSignal; onTrouble: (trouble: string) => void }

/** Seconds or a date, as RFC 9110 (10.2.3) has it, in milliseconds from now; 0 where there is none. */
function retryAfterMs(answer: HttpAnswer): number {
  const value = answer.headers['retry-after']
  if (value === undefined) return 0
  const ms = /^[0-9]+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  // An hour at most: what is longer than a timer can count would be no pause at all.
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), 3_600_000) : 0
}

type Outcome = { answer: HttpAnswer; trouble?: never } | { answer?: HttpAnswer; trouble: string }

async function tryOnce(http: HttpClient, request: HttpRequest): Promise<Outcome> {
  try {
    const answer = await http.send(request)
    const trouble = passingTrouble(answer)
    return trouble === undefined ? { answer } : { answer, trouble }
  } catch (error) {
    return { trouble: messageOf(error) }
  }
}

/**
 * What may be over in a moment: too many requests, any kind of outage of the server or of a proxy
 * before it, a twin of this request in flight, and whatever the problem itself calls retryable.
 */
function passingTrouble(answer: HttpAnswer): string | undefined {
  if (answer.status < 400) return undefined
  const problem = readProblem(answer)
  const isPassing =
    answer.status === 408 || answer.status === 429 || answer.status >= 500 || problem?.retryable
  if (isPassing !== true) return undefined
  return `${answer.status} ${problem?.code ?? ''}`.trim()
}

/** Doubles from 100 ms to 5 s, less a random part, so that many senders do not return at once. */
function pauseMs(attempts: number, answer: HttpAnswer | undefined): number {
  const backoff = Math.min(5_000, 100 * 2 ** Math.min(attempts - 1, 10))
  const jittered = backoff * (0.5 + Math.random() / 2)
  const asked = answer === undefined ? 0 : retryAfterMs(answer)
  return asked > jittered ? asked + Math.random() * 250 : jittered
}
