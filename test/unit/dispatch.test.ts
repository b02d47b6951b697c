import { describe, expect, it } from 'vitest'
import { createDispatcher } from '@payonce/core/queue/dispatch'
import type { Ring } from '@payonce/core/queue/queues'

function rings(count: number): Ring[] {
  return Array.from({ length: count }, (_, index) => ({
    ref: {
      tenantId: '0190f0e0-0000-7000-8000-00000000000a',
      transferId: `0190f0e0-0000-7000-8000-00000000000${index}`,
    },
    idempotencyKey: `order-${index}`,
  }))
}

type Adding = { rings: readonly Ring[]; succeed(): void; fail(error: unknown): void }

/** A queue whose answers the test gives by hand, and a dispatcher on it. */
function createParts(maxInFlight: number) {
  const adds: Adding[] = []
  const left: { count: number; error?: unknown }[] = []
  const dispatcher = createDispatcher({
    queue: {
      add: (added) =>
        new Promise((resolve, reject) => {
          adds.push({ rings: added, succeed: resolve, fail: reject })
        }),
    },
    maxInFlight,
    onLeft: (count, error) => left.push(error === undefined ? { count } : { count, error }),
  })
  return { dispatcher, adds, left }
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
}

describe('the dispatcher', () => {
  it('rings at once and makes nobody wait', () => {
    const { dispatcher, adds, left } = createParts(10)
    expect(dispatcher.ring(rings(3))).toBeUndefined()
    expect(adds.map((one) => one.rings)).toEqual([rings(3)])
    expect(left).toEqual([])
  })

  it('asks the queue for nothing where nothing was accepted', () => {
    const { dispatcher, adds, left } = createParts(10)
    dispatcher.ring([])
    expect(adds).toEqual([])
    expect(left).toEqual([])
  })

  it('leaves to the sweep what would pass its bound, and says so', () => {
    const { dispatcher, adds, left } = createParts(4)
    dispatcher.ring(rings(3))
    dispatcher.ring(rings(2))
    dispatcher.ring(rings(1))
    dispatcher.ring(rings(1))
    expect(adds.map((one) => one.rings.length)).toEqual([3, 1])
    expect(left).toEqual([{ count: 2 }, { count: 1 }])
  })

  it('has room again when the queue has answered, with yes or with no', async () => {
    const { dispatcher, adds, left } = createParts(2)
    dispatcher.ring(rings(2))
    adds[0]?.succeed()
    await turns()
    dispatcher.ring(rings(2))
    adds[1]?.fail(new Error('away'))
    await turns()
    dispatcher.ring(rings(2))
    expect(adds).toHaveLength(3)
    expect(left.map(({ count }) => count)).toEqual([2])
  })

  it('never rejects: what the queue refuses is left to the sweep, with the reason', async () => {
    const { dispatcher, adds, left } = createParts(10)
    const away = new Error('Connection is closed.')
    dispatcher.ring(rings(3))
    adds[0]?.fail(away)
    await dispatcher.drained()
    expect(left).toEqual([{ count: 3, error: away }])
  })

  it('is drained when nothing is in flight any more', async () => {
    const { dispatcher, adds } = createParts(10)
    await dispatcher.drained()
    dispatcher.ring(rings(1))
    dispatcher.ring(rings(1))
    let isDrained = false
    const drained = dispatcher.drained().then(() => (isDrained = true))
    adds[0]?.succeed()
    await turns()
    expect(isDrained).toBe(false)
    adds[1]?.fail(new Error('away'))
    await drained
    expect(isDrained).toBe(true)
  })
})
