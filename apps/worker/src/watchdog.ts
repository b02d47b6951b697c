import { setTimeout as sleep } from 'node:timers/promises'
import type { JobQueue } from '@payonce/core/queue/queues'

/**
 * Notices that jobs wait and this worker neither takes nor ends any: a connection that looks alive
 * and is not, or a fault of the queue's library. A worker that is started anew takes them; one that
 * goes on looks healthy for ever.
 */
export type Watchdog = {
  /** The same processor, whose jobs the watchdog sees. */
  watching<Ref>(process: (ref: Ref) => Promise<void>): (ref: Ref) => Promise<void>
  start(): void
  stop(): void
}

export type WatchdogOptions = {
  queue: Pick<JobQueue<never>, 'countWaiting'>
  lookEveryMs?: number
  /** Looks in a row at which jobs wait and nothing has moved. */
  patience?: number
  /** Called once, with how many jobs waited at the last look. */
  onStuck(waiting: number): void
}

/** 5 s: a look asks the queue for one number. */
const usualLookEveryMs = 5_000
/**
 * 12 looks, a minute: longer than any single job of a healthy worker takes, of which a delivery takes
 * up to half a minute. Looks are counted, and not time: a process that was frozen has not looked.
 */
const usualPatience = 12

export function createWatchdog(options: WatchdogOptions): Watchdog {
  const { queue, onStuck, lookEveryMs = usualLookEveryMs, patience = usualPatience } = options
  const stopping = new AbortController()
  const { signal } = stopping
  let moves = 0
  let running: Promise<void> | undefined

  async function run(): Promise<void> {
    let movesSeen = moves
    let idleLooks = 0
    while (!signal.aborted) {
      await sleep(lookEveryMs, undefined, { signal }).catch(() => undefined)
      const waiting = await countWaiting()
      // A queue that is away shows no waiting jobs, and another start would not bring it back.
      const isIdle = waiting > 0 && moves === movesSeen
      idleLooks = isIdle ? idleLooks + 1 : 0
      movesSeen = moves
      if (idleLooks < patience || signal.aborted) continue
      stopping.abort()
      onStuck(waiting)
    }
  }

  async function countWaiting(): Promise<number> {
    return signal.aborted ? 0 : queue.countWaiting().catch(() => 0)
  }

  return {
    watching: (process) =>
      async function watched(ref) {
        moves += 1
        try {
          await process(ref)
        } finally {
          moves += 1
        }
      },
    start: () => {
      running ??= run()
    },
    stop: () => {
      stopping.abort()
    },
  }
}
