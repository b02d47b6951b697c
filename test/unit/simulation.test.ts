import { describe, expect, it } from 'vitest'
import { check } from '../../storm/checker/check.ts'
import { recordSchedule, runSchedule } from './models/simulation/schedule.ts'
import type { Mistake } from './models/simulation/protocol.ts'

/*
 * Thousands of seeded schedules of acceptance, settlement, cancels and expiries, interleaved between
 * any two statements, while processes die and answers get lost. A schedule is its seed: with
 * SIMULATION_SEED=N the one of a failure runs again, and only that one. SIMULATION_RUNS=N runs more.
 */

const onlySeed = process.env.SIMULATION_SEED
const runs = Number(process.env.SIMULATION_RUNS ?? 2_000)
/** Half of them are the same in every run, half are new. */
const newSeeds = Date.now() % 2 ** 31
const seeds =
  onlySeed === undefined
    ? Array.from({ length: runs }, (_, index) => (index < runs / 2 ? index + 1 : newSeeds + index))
    : [Number(onlySeed)]

function hasBreach(seed: number, mistake: Mistake): boolean {
  return runSchedule(seed, mistake).breaches.length > 0
}

describe('a schedule', () => {
  it(
    'keeps every promise, whatever happens between any two steps',
    () => {
      const startedAt = performance.now()
      let faults = 0
      let settled = 0
      for (const seed of seeds) {
        const result = runSchedule(seed)
        faults += result.faults
        settled += result.settled
        const failure = `SIMULATION_SEED=${seed} npx vitest run --project unit test/unit/simulation.test.ts`
        expect(result.breaches, failure).toEqual([])
      }
      const perSecond = Math.round((seeds.length * 1_000) / (performance.now() - startedAt))
      console.info(
        `simulation: ${perSecond} schedules per second, ${faults} faults, ${settled} settled`,
      )
      if (onlySeed !== undefined) return
      expect(faults).toBeGreaterThan(seeds.length)
      expect(settled).toBeGreaterThan(seeds.length)
    },
    60_000 + runs * 10,
  )

  it('is its seed: the same one runs the same way, step by step', () => {
    for (const seed of [1, 2, 3, 4, 5]) expect(runSchedule(seed)).toEqual(runSchedule(seed))
    const steps = new Set([1, 2, 3, 4, 5].map((seed) => runSchedule(seed).steps))
    expect(steps.size).toBeGreaterThan(1)
  })
})

describe('a planted mistake is found:', () => {
  /** Each with how many schedules it may take. */
  const mistakes: [mistake: Mistake, within: number][] = [
    ['no unique key', 300],
    ['on conflict do nothing', 1_000],
    ['settled read before the locks, on conflict do nothing', 300],
    ['accounts read before the locks', 300],
    ['parents read before the locks', 1_000],
    ['no locks', 300],
    ['unordered locks', 300],
    ['no sweep', 300],
    ['what waits for funds is not rung again', 300],
    ['watermark passes open acceptances', 300],
    ['answer before the commit', 300],
    ['fingerprint not compared', 300],
  ]

  it.each(mistakes)('%s', (mistake, within) => {
    const candidates = Array.from({ length: within }, (_, index) => index + 1)
    const seed = candidates.find((candidate) => hasBreach(candidate, mistake))
    expect(seed, `no schedule of ${within} found it`).toBeDefined()
  })
})

/*
 * The checker of storms judges the same schedules by what their clients saw and what the books say,
 * and knows nothing of how they came about.
 */
describe('the checker of storms', () => {
  const judge = (seed: number, mistake?: Mistake) => {
    const { history, books } = recordSchedule(seed, mistake)
    return check(history, books)
  }

  it('finds good schedules good, and has work for all but webhooks and tenants', () => {
    const facts = new Map<number, number>()
    for (let seed = 1; seed <= 150; seed += 1) {
      for (const { invariant, facts: seen, violations } of judge(seed).findings) {
        expect(violations, `seed ${seed}`).toEqual([])
        facts.set(invariant, (facts.get(invariant) ?? 0) + seen)
      }
    }
    const idle = [...facts].flatMap(([invariant, seen]) => (seen === 0 ? [invariant] : []))
    expect(idle).toEqual([13, 15])
  })

  it('is not misled by its watching: a schedule goes the same way unwatched', () => {
    for (const seed of [1, 2, 3]) {
      const { breaches, faults, steps, settled } = recordSchedule(seed)
      expect({ breaches, faults, steps, settled }).toEqual(runSchedule(seed))
    }
  })

  /** The invariant that tells of each, and within how many schedules. */
  const mistakes: [mistake: Mistake, invariant: number, within: number][] = [
    ['no unique key', 4, 300],
    ['on conflict do nothing', 2, 300],
    ['settled read before the locks, on conflict do nothing', 2, 100],
    ['accounts read before the locks', 6, 1_000],
    ['parents read before the locks', 10, 1_000],
    ['no locks', 10, 300],
    ['no sweep', 3, 100],
    ['what waits for funds is not rung again', 3, 300],
    ['watermark passes open acceptances', 3, 300],
    ['answer before the commit', 3, 100],
    ['fingerprint not compared', 5, 100],
  ]

  it.each(mistakes)('finds "%s" by invariant %i', (mistake, invariant, within) => {
    const broken = (seed: number) =>
      judge(seed, mistake).findings.flatMap((one) => (one.count > 0 ? [one.invariant] : []))
    const candidates = Array.from({ length: within }, (_, index) => index + 1)
    const found = candidates.find((seed) => broken(seed).includes(invariant))
    expect(found, `no schedule of ${within} shows it`).toBeDefined()
  })
})
