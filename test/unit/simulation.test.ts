import { describe, expect, it } from 'vitest'
import { runSchedule } from './models/simulation/schedule.ts'
import type { Mistake } from './models/simulation/protocol.ts'

/*
 * Thousands of seeded schedules of acceptance, settlement, cancels and expiries, interleaved between
 * any two statements, while processes die and answers get lost. A schedule is its seed: with
 * SIMULATION_SEED=N the one of a failure runs again, and only that one. SIMULATION_RUNS=N runs more.
 */

const onlySeed = process.env.SIMULATION_SEED
const runs = Number(process.env.SIMULATION_RUNS ?? 3_000)
const seeds =
  onlySeed === undefined
    ? Array.from({ length: runs }, (_, index) => index + 1)
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
