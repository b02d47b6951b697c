/**
 * When requests of many clients become due who know nothing of each other (a Poisson process): each
 * call is the next moment, by `performance.now()`. `random` draws from 0 up to 1, without it.
 */
export function createArrivals(
  { perSecond, fromMs }: { perSecond: number; fromMs: number },
  random: () => number = Math.random,
): () => number {
  let dueAtMs = fromMs
  return function nextArrival() {
    dueAtMs -= (Math.log(1 - random()) * 1_000) / perSecond
    return dueAtMs
  }
}
