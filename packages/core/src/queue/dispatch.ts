import { asSideEffect } from '../failure-policies.ts'
import type { Ring, SettlementQueue } from './queues.ts'

export type Dispatcher = {
  /**
   * Rings for accepted commands without making anybody wait: what cannot be rung now, because the
   * queue is away or too much is in flight already, is left to the sweep.
   */
  ring(rings: readonly Ring[]): void
  /** Resolves when nothing is in flight any more. */
  drained(): Promise<void>
}

export type DispatcherOptions = {
  queue: Pick<SettlementQueue, 'add'>
  /** At most so many rings in flight; one more is left to the sweep. */
  maxInFlight: number
  onLeft(count: number, error?: unknown): void
}

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { queue, maxInFlight, onLeft } = options
  const running = new Set<Promise<void>>()
  let inFlight = 0

  function ring(rings: readonly Ring[]): void {
    if (rings.length === 0) return
    if (inFlight + rings.length > maxInFlight) {
      onLeft(rings.length)
      return
    }
    inFlight += rings.length
    const added: Promise<void> = asSideEffect('lost_ring', queue.add(rings), (error) =>
      onLeft(rings.length, error),
    ).finally(() => {
      inFlight -= rings.length
      running.delete(added)
    })
    running.add(added)
  }

  return {
    ring,
    drained: async () => {
      await Promise.allSettled(running)
    },
  }
}
