import { findSettled } from './find.ts'
import type { Queryable } from '../db/client.ts'
import type { TransferRef } from '../ids.ts'
import type { Transfer } from './transfer.ts'

export type Watcher = {
  /**
   * Resolves with the transfer as soon as it is settled, or is settled and as `until` asks; with
   * undefined when the time is over, the client has gone, or the process is stopping. Never rejects:
   * an outage is waited out.
   */
  wait(
    ref: TransferRef,
    options: { timeoutMs: number; signal?: AbortSignal; until?(transfer: Transfer): boolean },
  ): Promise<Transfer | undefined>
  readonly waiting: number
  /** Answers everybody who waits at once, and everybody who comes later. */
  stop(): void
}

export type WatcherOptions = {
  db: Queryable
  /** At most so many may wait; one more is answered at once. */
  maxWaiting: number
  onError(error: unknown): void
}

/** 4 ms: a settlement takes about as long, and an idle process then looks 250 times a second. */
const shortestPauseMs = 4
/** 100 ms: what has not settled within a second waits for something slower than a worker. */
const longestPauseMs = 100
const fastPhaseMs = 1_000

type Waiting = {
  ref: TransferRef
  since: number
  until(transfer: Transfer): boolean
  end(transfer?: Transfer): void
}

/**
 * Watches for settlements on behalf of everybody in this process who waits: one query per tick,
 * however many they are, and none while nobody waits. It asks the database and no queue, so that it
 * works the same whatever carries the jobs.
 */
export function createWatcher({ db, maxWaiting, onError }: WatcherOptions): Watcher {
  const waiting = new Set<Waiting>()
  let stopped = false
  let looking = false
  let lookedFor = 0
  let endedAt = Number.NEGATIVE_INFINITY
  let failed = false
  let nextLook: NodeJS.Timeout | undefined

  /** Sets the next look anew: whoever has just come does not wait out the pause of those before. */
  function plan(isFast: boolean): void {
    clearTimeout(nextLook)
    if (looking || waiting.size === 0) return
    const delayMs = endedAt + pauseMs(isFast) - performance.now()
    nextLook = setTimeout(() => void tick(), Math.max(0, delayMs))
  }

  /**
   * Never so short that looking is all we do, and long while the database is away. Half of what a look
   * takes: with twice of it, hundreds who wait on a busy machine waited longest for the next look.
   */
  function pauseMs(isFast: boolean): number {
    const shortest = isFast && !failed ? shortestPauseMs : longestPauseMs
    return Math.min(Math.max(shortest, lookedFor / 2), 1_000)
  }

  function isAnybodyNew(): boolean {
    const now = performance.now()
    return [...waiting].some(({ since }) => now - since < fastPhaseMs)
  }

  async function tick(): Promise<void> {
    looking = true
    const startedAt = performance.now()
    await look()
    endedAt = performance.now()
    lookedFor = endedAt - startedAt
    looking = false
    plan(isAnybodyNew())
  }

  async function look(): Promise<void> {
    try {
      const refs = new Map([...waiting].map(({ ref }) => [nameOf(ref), ref]))
      const settled = await findSettled(db, [...refs.values()])
      const found = new Map(
        settled.map((transfer) => [
          nameOf({ tenantId: transfer.tenantId, transferId: transfer.id }),
          transfer,
        ]),
      )
      for (const one of waiting) {
        const transfer = found.get(nameOf(one.ref))
        if (transfer !== undefined && one.until(transfer)) one.end(transfer)
      }
      failed = false
    } catch (error) {
      failed = true
      onError(error)
    }
  }

  return {
    wait: (ref, { timeoutMs, signal, until = () => true }) => {
      if (stopped || waiting.size >= maxWaiting || signal?.aborted)
        return Promise.resolve(undefined)
      return new Promise((resolve) => {
        const giveUp = () => one.end()
        const deadline = setTimeout(giveUp, timeoutMs)
        const one: Waiting = {
          ref,
          since: performance.now(),
          until,
          end: (transfer) => {
            clearTimeout(deadline)
            signal?.removeEventListener('abort', giveUp)
            waiting.delete(one)
            if (waiting.size === 0) clearTimeout(nextLook)
            resolve(transfer)
          },
        }
        signal?.addEventListener('abort', giveUp, { once: true })
        waiting.add(one)
        plan(true)
      })
    },
    get waiting() {
      return waiting.size
    },
    stop: () => {
      stopped = true
      for (const one of waiting) one.end()
    },
  }
}

/** With the tenant in it: whoever waits under another tenant's id is never answered with its transfer. */
function nameOf({ tenantId, transferId }: TransferRef): string {
  return `${tenantId}/${transferId}`
}
