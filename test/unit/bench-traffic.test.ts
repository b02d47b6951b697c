import { describe, expect, it } from 'vitest'
import { createArrivals } from '../../bench/arrivals.ts'
import { describeBound } from '../../bench/bounds.ts'
import { withRepetitions } from '../../bench/traffic.ts'

describe('a storm of repetitions', () => {
  it('sends each request as often as it is told: at once, and later', () => {
    let made = 0
    const next = withRepetitions(() => String(made++), 3)
    const sent = Array.from({ length: 9_000 }, next)
    const counts = new Map<string, number>()
    for (const { text } of sent) counts.set(text, (counts.get(text) ?? 0) + 1)
    const early = [...counts].slice(0, 1_000).map(([, count]) => count)
    expect(new Set(early)).toEqual(new Set([3]))
    expect(sent.slice(0, 4).map(({ text }) => text)).toEqual(['0', '0', '1', '1'])
    expect(sent.filter(({ isRepeated }) => !isRepeated)).toHaveLength(counts.size)
  })

  it('is none where each request is sent once', () => {
    let made = 0
    const next = withRepetitions(() => String(made++), 1)
    const sent = Array.from({ length: 2_000 }, next)
    expect(sent.every(({ isRepeated }) => !isRepeated)).toBe(true)
    expect(made).toBe(2_000)
  })
})

describe('arrivals at random', () => {
  it('come in order, and as many in a second as was asked for', () => {
    const next = createArrivals({ perSecond: 1_000, fromMs: 5, rampMs: 0 })
    const due = Array.from({ length: 100_000 }, next)
    expect(due).toEqual(due.toSorted((a, b) => a - b))
    expect(due.at(-1)).toBeGreaterThan(97_000)
    expect(due.at(-1)).toBeLessThan(103_000)
  })

  it('begin few', () => {
    const next = createArrivals({ perSecond: 1_000, fromMs: 0, rampMs: 2_000 })
    const due = Array.from({ length: 10_000 }, next)
    const inSecond = (second: number) =>
      due.filter((ms) => Math.floor(ms / 1_000) === second).length
    expect(inSecond(0)).toBeLessThan(inSecond(1))
    expect(inSecond(1)).toBeLessThan(inSecond(5))
  })

  it('are drawn from an exponential distribution', () => {
    const next = createArrivals({ perSecond: 1_000, fromMs: 0, rampMs: 0 }, () => 1 - Math.exp(-2))
    expect(next()).toBeCloseTo(2)
    expect(next()).toBeCloseTo(4)
  })
})

describe('what a rate is bound by', () => {
  const idle = { apiCores: 0.1, workerCores: 0.1, postgresCores: 0.1, redisCores: 0.1 }
  const waiting = { machineShare: 50, lockWaits: 1.5, diskWaits: 0.2 }

  it.each([
    [{ ...idle, ...waiting, machineShare: 97 }, 'the cores of the machine, in use to 97 %'],
    [{ ...idle, ...waiting, workerCores: 0.95 }, 'one thread: busiest worker'],
    [{ ...idle, ...waiting, postgresCores: 3 }, 'waiting: for locks 1.50 connections'],
  ])('is told from %o', (measured, expected) => {
    expect(describeBound(measured)).toContain(`bound by ${expected}`)
  })
})
