import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createWatcher, type Watcher } from '@payonce/core/transfers/watch'
import { ScriptedPool } from './doubles/postgres.ts'
import type { TransferRef } from '@payonce/core/ids'

const tenantA = '0190f0e0-0000-7000-8000-00000000000a'
const tenantB = '0190f0e0-0000-7000-8000-00000000000b'

function ref(number: number, tenantId = tenantA): TransferRef {
  return { tenantId, transferId: `0190f0e0-0000-7000-8000-${String(number).padStart(12, '0')}` }
}

/** A database in which the test settles transfers, and a watcher that looks at it. */
class Parts {
  readonly settled: TransferRef[] = []
  readonly errors: unknown[] = []
  /** What each query asked for. */
  readonly asked: TransferRef[][] = []
  outage: Error | undefined
  readonly watcher: Watcher

  constructor(maxWaiting = 100) {
    const { pool } = new ScriptedPool((_, parameters) => this.#answer(parameters))
    const onError = (error: unknown) => this.errors.push(error)
    this.watcher = createWatcher({ db: pool, maxWaiting, onError })
  }

  #answer([tenantIds, ids]: readonly unknown[]) {
    const wanted = (ids as string[]).map((transferId, index) => ({
      tenantId: (tenantIds as string[])[index] ?? '',
      transferId,
    }))
    this.asked.push(wanted)
    if (this.outage !== undefined) throw this.outage
    const found = wanted.filter((one) => this.settled.some((other) => isSame(one, other)))
    return { rows: found.map(toRow) }
  }
}

function isSame(one: TransferRef, other: TransferRef): boolean {
  return one.tenantId === other.tenantId && one.transferId === other.transferId
}

/** A row of `transfers`, with what the watcher looks at. */
function toRow({ tenantId, transferId }: TransferRef) {
  return { tenant_id: tenantId, id: transferId, status: 'succeeded', failure_code: null }
}

/** Waits, and notes what the wait ended with, if it has. */
function startWait(
  { watcher }: Parts,
  wanted: TransferRef,
  options: { timeoutMs?: number; signal?: AbortSignal } = {},
) {
  const state: { ended: boolean; id?: string | undefined; tenantId?: string | undefined } = {
    ended: false,
  }
  const { signal, timeoutMs = 30_000 } = options
  void watcher
    .wait(wanted, { timeoutMs, ...(signal === undefined ? {} : { signal }) })
    .then((transfer) => {
      Object.assign(state, { ended: true, id: transfer?.id, tenantId: transfer?.tenantId })
    })
  return state
}

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  const left = vi.getTimerCount()
  vi.useRealTimers()
  expect(left).toBe(0)
})

/** Lets everything end, so that no timer is left behind: see `afterEach`. */
async function end({ watcher }: Parts): Promise<void> {
  watcher.stop()
  await vi.advanceTimersByTimeAsync(2_000)
}

describe('who waits for a settlement', () => {
  it('is answered with the transfer as soon as it is seen settled', async () => {
    const parts = new Parts()
    const wait = startWait(parts, ref(1))
    await vi.advanceTimersByTimeAsync(20)
    expect(wait.ended).toBe(false)
    parts.settled.push(ref(1))
    await vi.advanceTimersByTimeAsync(20)
    expect(wait).toEqual({ ended: true, id: ref(1).transferId, tenantId: tenantA })
    expect(parts.watcher.waiting).toBe(0)
    await end(parts)
  })

  it('is answered at the first look where it is settled already', async () => {
    const parts = new Parts()
    parts.settled.push(ref(1))
    const wait = startWait(parts, ref(1))
    await vi.advanceTimersByTimeAsync(0)
    expect(wait.id).toBe(ref(1).transferId)
    await end(parts)
  })

  it('is answered with nothing when the time is over, to the millisecond', async () => {
    const parts = new Parts()
    const wait = startWait(parts, ref(1), { timeoutMs: 500 })
    await vi.advanceTimersByTimeAsync(499)
    expect(wait.ended).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(wait).toEqual({ ended: true })
    await end(parts)
  })

  it('is answered with its own transfer, among many', async () => {
    const parts = new Parts()
    const waits = Array.from({ length: 50 }, (_, index) => startWait(parts, ref(index)))
    for (let index = 0; index < 50; index += 2) parts.settled.push(ref(index))
    await vi.advanceTimersByTimeAsync(20)
    expect(waits.map(({ id }) => id)).toEqual(
      waits.map((_, index) => (index % 2 === 0 ? ref(index).transferId : undefined)),
    )
    expect(parts.watcher.waiting).toBe(25)
    await end(parts)
  })

  it('shares the answer with others who wait for the same', async () => {
    const parts = new Parts()
    const waits = [startWait(parts, ref(1)), startWait(parts, ref(1)), startWait(parts, ref(1))]
    parts.settled.push(ref(1))
    await vi.advanceTimersByTimeAsync(20)
    expect(waits.map(({ id }) => id)).toEqual(Array(3).fill(ref(1).transferId))
    expect(parts.asked.every((wanted) => wanted.length === 1)).toBe(true)
    await end(parts)
  })

  it.each([
    ['before', [tenantB, tenantA]],
    ['after', [tenantA, tenantB]],
  ])('is never answered with a transfer of another tenant who waits %s', async (_, tenants) => {
    const parts = new Parts()
    parts.settled.push(ref(1, tenantA))
    const waits = tenants.map((tenantId) => startWait(parts, ref(1, tenantId)))
    await vi.advanceTimersByTimeAsync(20)
    expect(waits.map(({ tenantId }) => tenantId)).toEqual(
      tenants.map((tenantId) => (tenantId === tenantA ? tenantA : undefined)),
    )
    await end(parts)
  })

  it('is answered with nothing when the client has gone', async () => {
    const parts = new Parts()
    const client = new AbortController()
    const wait = startWait(parts, ref(1), { signal: client.signal })
    await vi.advanceTimersByTimeAsync(10)
    client.abort()
    await vi.advanceTimersByTimeAsync(0)
    expect(wait).toEqual({ ended: true })
    expect(parts.watcher.waiting).toBe(0)
    await end(parts)
  })

  it('is answered with nothing at once where the client has gone before', async () => {
    const parts = new Parts()
    const wait = startWait(parts, ref(1), { signal: AbortSignal.abort() })
    await vi.advanceTimersByTimeAsync(0)
    expect(wait.ended).toBe(true)
    expect(parts.asked).toEqual([])
    await end(parts)
  })

  it('leaves no listener on the signal of its client', async () => {
    const parts = new Parts()
    const client = new AbortController()
    const added = vi.spyOn(client.signal, 'addEventListener')
    const removed = vi.spyOn(client.signal, 'removeEventListener')
    parts.settled.push(ref(1))
    startWait(parts, ref(1), { signal: client.signal })
    await vi.advanceTimersByTimeAsync(20)
    expect(removed.mock.calls.map(([event, listener]) => [event, listener])).toEqual(
      added.mock.calls.map(([event, listener]) => [event, listener]),
    )
    expect(added).toHaveBeenCalledOnce()
    await end(parts)
  })

  it('beyond the limit is answered with nothing at once, and costs no query', async () => {
    const parts = new Parts(2)
    startWait(parts, ref(1))
    startWait(parts, ref(2))
    const third = startWait(parts, ref(3))
    await vi.advanceTimersByTimeAsync(0)
    expect(third.ended).toBe(true)
    expect(parts.watcher.waiting).toBe(2)
    await vi.advanceTimersByTimeAsync(20)
    expect(parts.asked.flat()).not.toContainEqual(ref(3))
    await end(parts)
  })

  it('waits an outage out: it is told, and the answer comes after it', async () => {
    const parts = new Parts()
    parts.outage = new Error('Connection terminated unexpectedly')
    const wait = startWait(parts, ref(1))
    parts.settled.push(ref(1))
    await vi.advanceTimersByTimeAsync(50)
    expect(wait.ended).toBe(false)
    expect(parts.errors[0]).toBe(parts.outage)
    parts.outage = undefined
    await vi.advanceTimersByTimeAsync(50)
    expect(wait.id).toBe(ref(1).transferId)
    await end(parts)
  })
})

describe('the database is asked', () => {
  it('once per look, however many wait', async () => {
    const parts = new Parts()
    for (let index = 0; index < 100; index += 1) startWait(parts, ref(index))
    const alone = new Parts()
    startWait(alone, ref(1))
    await vi.advanceTimersByTimeAsync(100)
    expect(parts.asked.length).toBe(alone.asked.length)
    expect(parts.asked.at(-1)).toHaveLength(100)
    await end(parts)
    await end(alone)
  })

  it('not at all while nobody waits', async () => {
    const parts = new Parts()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(parts.asked).toEqual([])
    startWait(parts, ref(1), { timeoutMs: 100 })
    await vi.advanceTimersByTimeAsync(1_000)
    const asked = parts.asked.length
    expect(asked).toBeGreaterThan(0)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(parts.asked.length).toBe(asked)
    await end(parts)
  })

  it('again when somebody waits after a quiet time', async () => {
    const parts = new Parts()
    startWait(parts, ref(1), { timeoutMs: 10 })
    await vi.advanceTimersByTimeAsync(1_000)
    const asked = parts.asked.length
    parts.settled.push(ref(2))
    const wait = startWait(parts, ref(2))
    await vi.advanceTimersByTimeAsync(20)
    expect(wait.id).toBe(ref(2).transferId)
    expect(parts.asked.length).toBeGreaterThan(asked)
    await end(parts)
  })

  it('every 4 ms in the first second of a wait, then ten times a second', async () => {
    const parts = new Parts()
    startWait(parts, ref(1))
    await vi.advanceTimersByTimeAsync(1_000)
    const fast = parts.asked.length
    expect(fast).toBeGreaterThan(200)
    expect(fast).toBeLessThan(270)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(parts.asked.length - fast).toBeGreaterThan(95)
    expect(parts.asked.length - fast).toBeLessThan(105)
    await end(parts)
  })
})

describe('whoever comes while others have waited for long', () => {
  it('is looked for at once, and so is one who comes right after another was answered', async () => {
    const parts = new Parts()
    startWait(parts, ref(1))
    await vi.advanceTimersByTimeAsync(5_000)
    for (const number of [2, 3, 4]) {
      const wait = startWait(parts, ref(number))
      await vi.advanceTimersByTimeAsync(1)
      parts.settled.push(ref(number))
      await vi.advanceTimersByTimeAsync(6)
      expect(wait.ended).toBe(true)
    }
    await end(parts)
    const alone = new Parts()
    for (const number of [5, 6, 7]) {
      const wait = startWait(alone, ref(number))
      await vi.advanceTimersByTimeAsync(1)
      alone.settled.push(ref(number))
      await vi.advanceTimersByTimeAsync(6)
      expect(wait.ended).toBe(true)
    }
    await end(alone)
  })
})

describe('a process that stops', () => {
  it('answers everybody who waits at once, and everybody who comes later', async () => {
    const parts = new Parts()
    const waits = [startWait(parts, ref(1)), startWait(parts, ref(2))]
    await vi.advanceTimersByTimeAsync(10)
    parts.watcher.stop()
    await vi.advanceTimersByTimeAsync(0)
    expect(waits).toEqual([{ ended: true }, { ended: true }])
    const late = startWait(parts, ref(3))
    await vi.advanceTimersByTimeAsync(0)
    expect(late.ended).toBe(true)
    const asked = parts.asked.length
    await vi.advanceTimersByTimeAsync(5_000)
    expect(parts.asked.length).toBe(asked)
    await end(parts)
  })
})
