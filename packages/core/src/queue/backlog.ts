import type { SettlementQueue } from './queues.ts'

export type Backlog = {
  /** Whether so much is queued that nothing more should be accepted for now. Costs no waiting. */
  isFull(): boolean
}

export type BacklogOptions = {
  queue: Pick<SettlementQueue, 'count'>
  /** The most jobs that may wait and run. */
  limit: number
  /** Told when it becomes full, and when it no longer is. */
  onTurn(turn: { isFull: boolean; count: number }): void
}

/** 1 s: at any rate that this machine can accept, the limit is passed by little within it. */
const lookIntervalMs = 1_000

/**
 * An estimate of the backlog from the length of the queue, looked at once a second while requests
 * come. Where the queue is away the last look holds for as long, then none: refusing payments
 * because the doorbell is broken would be worse than a long queue.
 */
export function createBacklog({ queue, limit, onTurn }: BacklogOptions): Backlog {
  let count = 0
  let lookedAtMs = Number.NEGATIVE_INFINITY

  async function look(): Promise<void> {
    const wasFull = count >= limit
    count = await queue.count().catch(() => 0)
    const isFull = count >= limit
    if (isFull !== wasFull) onTurn({ isFull, count })
  }

  return {
    isFull: () => {
      const nowMs = performance.now()
      if (nowMs - lookedAtMs >= lookIntervalMs) {
        lookedAtMs = nowMs
        void look()
      }
      return count >= limit
    },
  }
}
