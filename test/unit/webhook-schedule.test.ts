import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { failurePolicies } from '@payonce/core/failure-policies'
import {
  FAILURES_BEFORE_REST,
  attemptGapsMs,
  gapAfter,
  restAfter,
} from '@payonce/core/webhooks/schedule'

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** What `Math.random` can give. */
const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const tries = fc.integer({ min: 1, max: 9 })
const inTheMiddle = () => 0.5

describe('a delivery', () => {
  it('is tried at once, and nine times more at gaps that grow to a day', () => {
    expect(attemptGapsMs).toEqual([
      0,
      5 * second,
      5 * minute,
      30 * minute,
      2 * hour,
      5 * hour,
      10 * hour,
      14 * hour,
      20 * hour,
      24 * hour,
    ])
  })

  it('is tried as often, and at such gaps, as the table of failures tells', () => {
    const { retries, minDelayMs, maxDelayMs } = failurePolicies.failed_delivery.retry
    const [first, ...gaps] = attemptGapsMs
    expect(first).toBe(0)
    expect(gaps).toHaveLength(retries)
    expect(Math.min(...gaps)).toBe(minDelayMs)
    expect(Math.max(...gaps)).toBe(maxDelayMs)
  })

  it.each([
    [1, 5 * second],
    [2, 5 * minute],
    [3, 30 * minute],
    [4, 2 * hour],
    [5, 5 * hour],
    [6, 10 * hour],
    [7, 14 * hour],
    [8, 20 * hour],
    [9, 24 * hour],
  ])('that has failed %i times waits %i ms, give or take', (failed, gapMs) => {
    expect(gapAfter(failed, { random: inTheMiddle })).toBe(gapMs)
  })

  it.each([10, 11, 1_000])('that has failed %i times is not tried again', (failed) => {
    expect(gapAfter(failed)).toBeUndefined()
    expect(gapAfter(failed, { retryAfterMs: hour })).toBeUndefined()
  })

  it('is tried for three and a half days', () => {
    const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)
    const latest = attemptGapsMs.map((_, failed) => gapAfter(failed, { random: () => 1 }) ?? 0)
    expect(sum(attemptGapsMs) / day).toBeCloseTo(3.15, 2)
    expect(sum(latest)).toBeLessThan(4 * day)
  })
})

describe('a gap', () => {
  it('is at most a fifth shorter or longer than planned, and a whole number', () => {
    fc.assert(
      fc.property(tries, randoms, (failed, random) => {
        const planned = attemptGapsMs[failed] ?? NaN
        const gapMs = gapAfter(failed, { random: () => random }) ?? NaN
        expect(gapMs).toBeGreaterThanOrEqual(planned * 0.8)
        expect(gapMs).toBeLessThanOrEqual(planned * 1.2)
        expect(Number.isInteger(gapMs)).toBe(true)
      }),
    )
  })

  it('is spread over the whole of that', () => {
    expect(gapAfter(2, { random: () => 0 })).toBe(4 * minute)
    expect(gapAfter(2, { random: () => 1 })).toBe(6 * minute)
    const drawn = Array.from({ length: 100 }, () => gapAfter(9))
    expect(new Set(drawn).size).toBeGreaterThan(90)
  })

  it('is longer after the next failure, whatever the chance', () => {
    fc.assert(
      fc.property(tries, randoms, randoms, (failed, one, other) => {
        fc.pre(failed < 6)
        const before = gapAfter(failed, { random: () => one }) ?? NaN
        const after = gapAfter(failed + 1, { random: () => other }) ?? NaN
        expect(after).toBeGreaterThan(before)
      }),
    )
  })
})

describe('Retry-After', () => {
  it('makes a gap longer', () => {
    expect(gapAfter(1, { retryAfterMs: 90 * second })).toBe(90 * second)
    expect(gapAfter(3, { retryAfterMs: 6 * hour })).toBe(6 * hour)
  })

  it('makes no gap shorter', () => {
    expect(gapAfter(5, { retryAfterMs: 1, random: inTheMiddle })).toBe(5 * hour)
    expect(gapAfter(5, { retryAfterMs: 0, random: inTheMiddle })).toBe(5 * hour)
  })

  it('of more than a day counts as a day', () => {
    expect(gapAfter(1, { retryAfterMs: day })).toBe(day)
    expect(gapAfter(1, { retryAfterMs: day + 1 })).toBe(day)
    expect(gapAfter(1, { retryAfterMs: 999_999_999 * second })).toBe(day)
  })

  it('keeps a gap between what was planned and the longer of that and a day', () => {
    const asked = fc.integer({ min: 0, max: 100 * day })
    fc.assert(
      fc.property(tries, asked, randoms, (failed, retryAfterMs, random) => {
        const planned = gapAfter(failed, { random: () => random }) ?? NaN
        const gapMs = gapAfter(failed, { retryAfterMs, random: () => random }) ?? NaN
        expect(gapMs).toBe(Math.max(planned, Math.min(retryAfterMs, day)))
      }),
    )
  })
})

describe('an endpoint', () => {
  it.each([0, 1, 4])('is given no rest after %i failures in a row', (failures) => {
    expect(restAfter(failures, 0)).toBe(0)
    expect(restAfter(failures, day)).toBe(0)
  })

  it('rests from the fifth failure on', () => {
    expect(FAILURES_BEFORE_REST).toBe(5)
    expect(restAfter(5, 0)).toBe(30 * second)
    expect(restAfter(1_000, 0)).toBe(30 * second)
  })

  it.each([
    ['half a minute at least', 1 * second, 30 * second],
    ['half a minute, also when the clock went back', -hour, 30 * second],
    ['as long as it has been failing', 75 * second, 75 * second],
    ['ten minutes when it has failed for ten', 10 * minute, 10 * minute],
    ['ten minutes at most', 10 * minute + 1, 10 * minute],
    ['ten minutes after five days', 5 * day, 10 * minute],
  ])('rests for %s', (_, failingForMs, restMs) => {
    expect(restAfter(5, failingForMs)).toBe(restMs)
  })

  it('that keeps failing rests twice as long each time, up to ten minutes', () => {
    const rests: number[] = []
    let failingForMs = 2 * second
    for (let failures = 5; failures < 12; failures++) {
      const restMs = restAfter(failures, failingForMs)
      rests.push(restMs / second)
      failingForMs += restMs
    }
    expect(rests).toEqual([30, 32, 64, 128, 256, 512, 600])
  })

  it('never rests for less than half a minute or more than ten', () => {
    const failing = fc.integer({ min: -day, max: 100 * day })
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 1e6 }), failing, (failures, failingForMs) => {
        const restMs = restAfter(failures, failingForMs)
        expect(restMs).toBeGreaterThanOrEqual(30 * second)
        expect(restMs).toBeLessThanOrEqual(10 * minute)
      }),
    )
  })
})
