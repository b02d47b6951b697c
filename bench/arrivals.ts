/**
 * When requests of many clients become due who know nothing of each other (a Poisson process): each
 * call is the next moment, by `performance.now()`. They begin few and are as many as they are to be
 * after `rampMs`: a server that has just started would else be in debt before it is measured.
 * `random` draws from 0 up to 1, without it.
 */
export function createArrivals(
  { perSecond, fromMs, rampMs }: { perSecond: number; fromMs: number; rampMs: number },
  random: () => number = Math.random,
): () => number {
  let dueAtMs = fromMs
  return function nextArrival() {
    const isRamp = dueAtMs - fromMs < rampMs
    const share = isRamp ? Math.max(firstShare, (dueAtMs - fromMs) / rampMs) : 1
    dueAtMs -= (Math.log(1 - random()) * 1_000) / (perSecond * share)
    return dueAtMs
  }
}

const firstShare = 0.1
