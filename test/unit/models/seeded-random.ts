/** Chance that comes again: the same seed gives the same numbers, on every machine. */
export type Random = {
  /** At least 0, and less than 1. */
  next(): number
  /** A whole number from 0 to `end - 1`. */
  below(end: number): number
  /** Whether something of this probability happens now. */
  happens(probability: number): boolean
  pick<T>(items: readonly [T, ...T[]]): T
}

/** Mulberry32: small, fast, and random enough for schedules. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (end: number) => Math.floor(next() * end)
  return {
    next,
    below,
    happens: (probability) => next() < probability,
    pick: (items) => items[below(items.length)] ?? items[0],
  }
}
