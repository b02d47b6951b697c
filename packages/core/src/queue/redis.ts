import { Redis } from 'ioredis'

/** 1 s: an API never waits longer for a doorbell that the sweep can ring as well. */
const commandTimeoutMs = 1_000

/**
 * A connection for producers: it rejects at once where Redis is away, instead of gathering commands
 * for later, and connects again by itself.
 */
export function connectProducer(redisUrl: string, onError: (error: Error) => void): Redis {
  return withErrors(
    new Redis(redisUrl, {
      connectionName: 'payonce-producer',
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      commandTimeout: commandTimeoutMs,
      connectTimeout: commandTimeoutMs,
      retryStrategy,
    }),
    onError,
  )
}

/** A connection for workers, which wait for jobs for as long as it takes. */
export function connectConsumer(redisUrl: string, onError: (error: Error) => void): Redis {
  return withErrors(
    new Redis(redisUrl, {
      connectionName: 'payonce-worker',
      maxRetriesPerRequest: null,
      connectTimeout: 3_000,
      retryStrategy,
    }),
    onError,
  )
}

/** Redis is set up in a way that can drop jobs while it looks healthy. */
export class UnsafeRedisError extends Error {
  override name = 'UnsafeRedisError'
}

/**
 * Looks at how a reachable Redis is set up. Throws `UnsafeRedisError` for an eviction policy, which
 * drops jobs at random; warns where nothing is written to disk, since then a restart loses the queue
 * and the sweep has to ring everything again.
 */
export async function inspectRedis(redis: Redis): Promise<string[]> {
  const memory = await redis.info('memory')
  const policy = /^maxmemory_policy:(.+)$/m.exec(memory)?.[1]?.trim()
  if (policy !== undefined && policy !== 'noeviction') {
    throw new UnsafeRedisError(
      `Redis evicts keys (maxmemory-policy ${policy}) and so drops jobs: set it to noeviction.`,
    )
  }
  const persistence = await redis.info('persistence')
  const appendOnly = /^aof_enabled:1/m.test(persistence)
  return appendOnly
    ? []
    : ['Redis keeps no append-only file: after its loss the sweep rings every job again.']
}

/** From 50 ms up to 2 s, so that a short outage is over soon and a long one costs little. */
function retryStrategy(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 6), 2_000)
}

function withErrors(redis: Redis, onError: (error: Error) => void): Redis {
  return redis.on('error', onError)
}
