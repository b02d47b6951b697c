import { UnsafeRedisError } from './redis.ts'
import type { Log } from '../log.ts'
import type { SettlementQueue } from './queues.ts'

/**
 * Refuses a queue that may drop jobs while it looks healthy. A queue that is away is no reason not
 * to start: what is accepted meanwhile is rung by the sweep.
 */
export async function inspectQueue(queue: SettlementQueue, log: Log): Promise<void> {
  try {
    for (const warning of await queue.inspect()) log.warn(warning)
  } catch (error) {
    if (error instanceof UnsafeRedisError) throw error
    log.warn({ error }, 'the queue is away')
  }
}
