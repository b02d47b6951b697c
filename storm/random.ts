import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64'
import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'

/** Chance that can be repeated: the same seed makes the same choices. */
export type Random = {
  /** From 0 up to 1, without 1. */
  fraction(): number
  /** A whole number, both bounds included. */
  integer(min: number, max: number): number
  pick<T>(from: readonly T[]): T
  /** One of the names, each as often as its weight says. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name
  shuffled<T>(items: readonly T[]): T[]
  /** Another source of chance, which does not depend on how much is taken from this one later on. */
  fork(): Random
}

export function createRandom(seed: number): Random {
  const generator = xoroshiro128plus(seed)
  const integer = (min: number, max: number) => uniformInt(generator, min, max)
  const fraction = () => uniformFloat64(generator)

  function pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new Error('there is nothing to pick from')
    return from[integer(0, from.length - 1)] as T
  }

  function weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const entries = Object.entries<number>(weights) as [Name, number][]
    let left = fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    const [name] = entries.find(([, weight]) => (left -= weight) < 0) ?? entries.at(-1) ?? []
    if (name === undefined) throw new Error('there is nothing to choose from')
    return name
  }

  function shuffled<T>(items: readonly T[]): T[] {
    const result = [...items]
    for (let last = result.length - 1; last > 0; last--) {
      const other = integer(0, last)
      ;[result[last], result[other]] = [result[other] as T, result[last] as T]
    }
    return result
  }

  return {
    fraction,
    integer,
    pick,
    weighted,
    shuffled,
    fork: () => createRandom(integer(0, 0x7fff_ffff)),
  }
}
