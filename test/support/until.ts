import { setTimeout as sleep } from 'node:timers/promises'

/** The clock as it is, also in a test that plays with `performance.now`. */
const now = performance.now.bind(performance)

/**
 * Looks again and again until there is something to see, and returns it. Throws when `withinMs` is
 * over, with what it was waiting for. The condition is awaited, never a guess of how long it takes.
 */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  { withinMs = 10_000, everyMs = 10 }: { withinMs?: number; everyMs?: number } = {},
): Promise<T> {
  const deadline = now() + withinMs
  for (;;) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    if (now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await sleep(everyMs)
  }
}
