import { describe, expect, it } from 'vitest'
import { createClock } from '@payonce/core/clock'

describe('F17 the clock that ids are made from', () => {
  it('follows the database, however wrong the machine is', () => {
    let localMs = 1_000_000
    const clock = createClock(() => localMs)
    expect(clock.nowMs()).toBe(1_000_000)
    clock.observe(new Date(4_600_000))
    expect(clock.nowMs()).toBe(4_600_000)
    localMs += 500
    expect(clock.nowMs()).toBe(4_600_500)
  })

  it('goes back with the database as well', () => {
    const clock = createClock(() => 4_600_000)
    clock.observe(new Date(1_000_000))
    expect(clock.nowMs()).toBe(1_000_000)
  })

  it('follows what it was told last', () => {
    let localMs = 0
    const clock = createClock(() => localMs)
    clock.observe(new Date(100))
    localMs = 50
    clock.observe(new Date(120))
    expect(clock.nowMs()).toBe(120)
  })
})
