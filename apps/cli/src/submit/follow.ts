import { setTimeout as sleep } from 'node:timers/promises'
import type { Payonce, PostedTransfer, TransferState } from './payonce.ts'

/**
 * Follows any number of transfers until they settle, with one request at a time. In turns it asks
 * for the transfer that it has not looked at for longest, which the server answers as soon as that
 * one settles, and then for a page of those accepted around the same time, which tells of up to a
 * hundred more. While the workers keep up, that is two requests for a hundred transfers; while they
 * do not, it is one held-back request that waits for all.
 */
export function createFollower({ payonce, signal, waitS = WAIT_S }: FollowerOptions): Follower {
  // In the order in which they are to be looked at: a map keeps the order of insertion.
  const pending = new Map<string, Followed>()
  let isLooking = false

  async function lookAtAll(): Promise<void> {
    isLooking = true
    try {
      for (let vain = 0; pending.size > 0;) {
        const startedAt = performance.now()
        const found = await lookOnce()
        vain = found === 0 ? vain + 1 : 0
        if (found < PAGE / 2) await rest(vain, startedAt)
      }
    } catch (error) {
      for (const { reject } of pending.values()) reject(error)
      pending.clear()
    }
    isLooking = false
  }

  /** How many were found to have settled. */
  async function lookOnce(): Promise<number> {
    const batch = [...firstOf(pending, PAGE)]
    let settled = 0
    const [oldest] = batch
    if (oldest !== undefined) {
      settled += settle(await payonce.readTransfer(oldest[0], { waitS }))
    }
    if (batch.length > 1) {
      const times = batch.map(([, { acceptedAtMs }]) => acceptedAtMs)
      const range = { fromMs: Math.min(...times), toMs: Math.max(...times), limit: PAGE }
      for (const state of await payonce.listTransfers(range)) settled += settle(state)
    }
    // To the end of the line with the rest, so that one that is long in settling is not in the way
    // of the others; each will be the oldest one day, so none depends on the page.
    for (const [id, followed] of batch) if (pending.delete(id)) pending.set(id, followed)
    return settled
  }

  /** 1 if that settles a transfer that is being followed. */
  function settle(state: TransferState): number {
    if (!isSettled(state.status)) return 0
    pending.get(state.id)?.resolve(state)
    return pending.delete(state.id) ? 1 : 0
  }

  /**
   * Lets some more settle before the next look: where few do, two requests for each would be many.
   * Where none did, because the server does not hold its answers back, it is asked less and less.
   */
  async function rest(vain: number, startedAt: number): Promise<void> {
    const pauseMs = Math.min(SHORT_REST_MS * 2 ** Math.min(vain, 10), waitS * 1000)
    const restMs = pauseMs - (performance.now() - startedAt)
    if (restMs > 0) await sleep(restMs, undefined, { signal }).catch(() => {})
  }

  return {
    follow: ({ id, acceptedAtMs }) =>
      new Promise((resolve, reject) => {
        pending.set(id, { acceptedAtMs, resolve, reject })
        if (!isLooking) void lookAtAll()
      }),
  }
}

export type Follower = {
  /** The transfer as it has settled. Rejects when the run is stopped. */
  follow(transfer: Pick<PostedTransfer, 'id' | 'acceptedAtMs'>): Promise<TransferState>
}

export type FollowerOptions = {
  payonce: Pick<Payonce, 'readTransfer' | 'listTransfers'>
  signal: AbortSignal
  /** How long the server is asked to hold an answer back until the transfer has settled. */
  waitS?: number
}

type Followed = {
  acceptedAtMs: number
  resolve: (state: TransferState) => void
  reject: (error: unknown) => void
}

function* firstOf<T>(items: Iterable<T>, count: number): Generator<T> {
  let left = count
  for (const item of items) {
    if (left === 0) return
    left -= 1
    yield item
  }
}

function isSettled(status: string): boolean {
  return status !== 'queued' && status !== 'scheduled'
}

// The most that Payonce puts on one page.
const PAGE = 100

// 40 requests a second at most, unless they tell of thousands of transfers.
const SHORT_REST_MS = 50

// Two requests in two seconds while nothing settles at all, and one that never settles holds the
// others up by no more.
const WAIT_S = 2
