import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBacklog } from '@payonce/core/queue/backlog'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

/** A queue whose length the test sets; undefined while it is away. */
function createParts(limit: number) {
  const state: { length: number | undefined; looks: number } = { length: 0, looks: 0 }
  const queue = {
    count: async () => {
      state.looks += 1
      if (state.length === undefined) throw new Error('Connection is closed.')
      return state.length
    },
  }
  const turns: boolean[] = []
  const onTurn = ({ isFull }: { isFull: boolean }) => turns.push(isFull)
  return { state, turns, backlog: createBacklog({ queue, limit, onTurn }) }
}

/** A second later, with a request that makes the backlog look, and one that is told what it saw. */
async function nextLook({ backlog }: ReturnType<typeof createParts>): Promise<boolean> {
  vi.advanceTimersByTime(1_000)
  backlog.isFull()
  await vi.advanceTimersByTimeAsync(0)
  return backlog.isFull()
}

describe('the backlog', () => {
  it('is full from its limit on', async () => {
    const parts = createParts(3)
    parts.state.length = 2
    expect(await nextLook(parts)).toBe(false)
    parts.state.length = 3
    expect(await nextLook(parts)).toBe(true)
    parts.state.length = 2
    expect(await nextLook(parts)).toBe(false)
  })

  it('B30 is asked for by many requests and looked at once a second', async () => {
    const { state, backlog } = createParts(3)
    for (let request = 0; request < 1_000; request += 1) backlog.isFull()
    await vi.advanceTimersByTimeAsync(999)
    for (let request = 0; request < 1_000; request += 1) backlog.isFull()
    expect(state.looks).toBe(1)
  })

  it('tells when it becomes full and when it no longer is, once each', async () => {
    const parts = createParts(3)
    for (const length of [2, 3, 4, 5, 2, 1]) {
      parts.state.length = length
      await nextLook(parts)
    }
    expect(parts.turns).toEqual([true, false])
  })

  it('is never full because the queue is away', async () => {
    const parts = createParts(3)
    parts.state.length = 5
    expect(await nextLook(parts)).toBe(true)
    parts.state.length = undefined
    expect(await nextLook(parts)).toBe(false)
  })
})
