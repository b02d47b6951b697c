import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { catalogue } from '../../storm/faults/catalogue.ts'
import { UnknownFaultError, makePlan, nameOf, type FaultShape } from '../../storm/plan.ts'
import { plants } from '../../storm/plants/catalogue.ts'

const shape = (row: string, name: string, more: Partial<FaultShape> = {}): FaultShape => ({
  row,
  name,
  targets: ['worker-1', 'worker-2', 'worker-3'],
  durationMs: 1_000,
  recoveryMs: 5_000,
  ...more,
})

const shapes = [
  shape('F1', 'kill'),
  shape('F3', 'kill'),
  shape('F3', 'after-locks'),
  shape('F7', 'FLUSHALL', { queue: 'redis' }),
]

const options = { seed: 1, durationMs: 60_000, queue: 'redis', shapes, wanted: [] } as const

describe('the plan of a storm', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(makePlan(options)).toEqual(makePlan(options))
    const others = [2, 3, 4, 5].map((seed) => makePlan({ ...options, seed }).faults)
    expect(new Set(others.map((faults) => JSON.stringify(faults))).size).toBe(4)
  })

  it('keeps every fault within the time of the load, one after the other', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 10_000, max: 600_000 }), (seed, durationMs) => {
        const { faults } = makePlan({ ...options, seed, durationMs })
        expect(faults.length).toBeGreaterThan(0)
        faults.forEach((fault, index) => {
          expect(fault.number).toBe(index + 1)
          expect(fault.atMs + fault.durationMs).toBeLessThanOrEqual(durationMs)
          const before = faults[index - 1]
          if (before !== undefined) {
            expect(fault.atMs).toBeGreaterThan(before.atMs + before.durationMs)
          }
        })
      }),
    )
  })

  it('has every fault once before any comes again', () => {
    const { faults } = makePlan({ ...options, durationMs: 600_000 })
    const names = faults.slice(0, shapes.length).map(({ name }) => name)
    expect(names.toSorted()).toEqual(shapes.map(nameOf).toSorted())
  })

  it('has a fault even where the time is too short for one', () => {
    expect(makePlan({ ...options, durationMs: 1 }).faults).toHaveLength(1)
  })

  it('takes whole rows and single faults', () => {
    const namesFor = (wanted: string[]) =>
      new Set(makePlan({ ...options, wanted, durationMs: 600_000 }).faults.map(({ name }) => name))
    expect(namesFor(['F3'])).toEqual(new Set(['F3 kill', 'F3 after-locks']))
    expect(namesFor(['F3 kill', 'F1'])).toEqual(new Set(['F3 kill', 'F1 kill']))
  })

  it('has a special fault only where it is named, and once', () => {
    const special = shape('F13', 'standby promoted', { isSpecial: true })
    const namesFor = (wanted: string[]) =>
      makePlan({
        ...options,
        shapes: [...shapes, special],
        wanted,
        durationMs: 600_000,
      }).faults.map(({ name }) => name)
    expect(namesFor([])).not.toContain('F13 standby promoted')
    expect(namesFor(['F13'])).toEqual(['F13 standby promoted'])
    const among = namesFor(['F13', 'F1']).filter((name) => name === 'F13 standby promoted')
    expect(among).toHaveLength(1)
  })

  it('refuses what it does not know, and what the backend of the queue does not have', () => {
    expect(() => makePlan({ ...options, wanted: ['F99'] })).toThrow(UnknownFaultError)
    expect(() => makePlan({ ...options, wanted: ['F7'], queue: 'postgres' })).toThrow(
      UnknownFaultError,
    )
    const { faults } = makePlan({ ...options, queue: 'postgres', durationMs: 600_000 })
    expect(faults.some(({ name }) => name.startsWith('F7'))).toBe(false)
  })
})

describe('the faults that there are', () => {
  it('have names of their own, and someone to hit', () => {
    const names = catalogue.map(nameOf)
    expect(new Set(names).size).toBe(names.length)
    for (const { targets } of catalogue) expect(targets.length).toBeGreaterThan(0)
  })

  it('are the ones under which planted bugs show', () => {
    const names = catalogue.map(nameOf)
    for (const { faults } of plants) expect(names).toEqual(expect.arrayContaining([...faults]))
  })
})
