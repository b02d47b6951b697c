import { describe, expect, it } from 'vitest'
import { createFollower } from '../../apps/cli/src/submit/follow.ts'
import type { TransferState } from '../../apps/cli/src/submit/payonce.ts'

describe('a follower', () => {
  it('learns of a thousand settled transfers by two requests for a hundred', async () => {
    const server = createServer()
    const follower = createFollower({ payonce: server, signal: new AbortController().signal })
    const followed = ids(1000).map((id, index) => follower.follow({ id, acceptedAtMs: index }))
    expect((await Promise.all(followed)).map(({ id }) => id)).toEqual(ids(1000))
    expect(server.requests).toBeLessThanOrEqual(22)
    expect(server.mostOpen).toBe(1)
  })

  it('finds every transfer itself where the pages are full of others', async () => {
    const server = createServer({ page: [settled('tr_of_somebody_else')] })
    const signal = new AbortController().signal
    const follower = createFollower({ payonce: server, signal, waitS: 0.01 })
    const followed = ids(20).map((id) => follower.follow({ id, acceptedAtMs: 0 }))
    expect(await Promise.all(followed)).toHaveLength(20)
  })

  it('starts again for what comes after it had nothing left to do', async () => {
    const server = createServer()
    const follower = createFollower({ payonce: server, signal: new AbortController().signal })
    for (const id of ids(3)) {
      expect(await follower.follow({ id, acceptedAtMs: 0 })).toMatchObject({ id })
    }
  })

  it('lets go of everything when the run is stopped', async () => {
    const stop = new AbortController()
    const payonce = {
      readTransfer: () => Promise.reject(stop.signal.reason as Error),
      listTransfers: () => Promise.resolve([]),
    }
    const follower = createFollower({ payonce, signal: stop.signal })
    stop.abort(new Error('stopped'))
    const followed = ids(3).map((id) => follower.follow({ id, acceptedAtMs: 0 }))
    const ends = await Promise.allSettled(followed)
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  })
})

/** Every transfer has settled, and its id ends in the millisecond of its acceptance. */
function createServer({ page }: { page?: TransferState[] } = {}) {
  const server = {
    requests: 0,
    open: 0,
    mostOpen: 0,
    readTransfer: (id: string) => answer(settled(id)),
    listTransfers: ({ fromMs, toMs }: { fromMs: number; toMs: number }) =>
      answer(page ?? ids(toMs - fromMs + 1, fromMs).map(settled)),
  }

  async function answer<T>(value: T): Promise<T> {
    server.requests += 1
    server.open += 1
    server.mostOpen = Math.max(server.mostOpen, server.open)
    await Promise.resolve()
    server.open -= 1
    return value
  }

  return server
}

function ids(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => `tr_${from + index}`)
}

function settled(id: string): TransferState {
  return { id, status: 'succeeded', failureCode: undefined, failureMessage: '' }
}
