import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createReplayCounter } from '@payonce/core/idempotency/replay-counter'
import { ScriptedPool } from './doubles/postgres.ts'

const tenantA = '0190f0e0-0000-7000-8000-00000000000a'
const tenantB = '0190f0e0-0000-7000-8000-00000000000b'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

/** Keeps what was written; fails while there is an outage. */
function createParts() {
  const state: { outage: Error | undefined; written: unknown[]; errors: unknown[] } = {
    outage: undefined,
    written: [],
    errors: [],
  }
  const { pool } = new ScriptedPool((_, parameters) => {
    if (state.outage !== undefined) throw state.outage
    state.written.push(parameters)
    return {}
  })
  const counter = createReplayCounter({ pool, onError: (error) => state.errors.push(error) })
  return { state, counter }
}

describe('replays', () => {
  it('I43 are counted per tenant and key, and written together every 5 s', async () => {
    const { state, counter } = createParts()
    for (let replay = 0; replay < 3; replay += 1) counter.count(tenantA, 'order-7')
    counter.count(tenantB, 'order-7')
    await vi.advanceTimersByTimeAsync(4_999)
    expect(state.written).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(state.written).toEqual([
      [
        [tenantA, tenantB],
        ['order-7', 'order-7'],
        [3, 1],
      ],
    ])
    await counter.stop()
  })

  it('are written once, and nothing is written while there are none', async () => {
    const { state, counter } = createParts()
    counter.count(tenantA, 'order-7')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(state.written).toHaveLength(1)
    await counter.stop()
  })

  it('are written when the process stops, and the timer ends', async () => {
    const { state, counter } = createParts()
    counter.count(tenantA, 'order-7')
    await counter.stop()
    expect(state.written).toHaveLength(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('I45 beyond 2,000 keys at a time go uncounted, so that a flood costs no memory', async () => {
    const { state, counter } = createParts()
    for (let key = 0; key < 3_000; key += 1) counter.count(tenantA, `order-${key}`)
    counter.count(tenantA, 'order-0')
    await counter.stop()
    const [, keys, replays] = state.written[0] as [string[], string[], number[]]
    expect(keys).toHaveLength(2_000)
    expect(replays[0]).toBe(2)
  })

  it('are lost in an outage, which is told and keeps nobody from stopping', async () => {
    const { state, counter } = createParts()
    state.outage = new Error('Connection terminated')
    counter.count(tenantA, 'order-7')
    await counter.stop()
    expect(state.errors).toEqual([state.outage])
  })
})
