import { Cluster, Redis } from 'ioredis'

/** One Redis, or a cluster of them. */
export type RedisConnection = Redis | Cluster

/** 1 s: an API never waits longer for a doorbell that the sweep can ring as well. */
const commandTimeoutMs = 1_000

/**
 * A connection for producers: it rejects at once where Redis is away, instead of gathering commands
 * for later, and connects again by itself.
 */
export function connectProducer(
  redisUrl: string,
  onError: (error: Error) => void,
): RedisConnection {
  return connect(redisUrl, onError, {
    connectionName: 'payonce-producer',
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: commandTimeoutMs,
    connectTimeout: commandTimeoutMs,
  })
}

/** A connection for workers, which wait for jobs for as long as it takes. */
export function connectConsumer(
  redisUrl: string,
  onError: (error: Error) => void,
): RedisConnection {
  return connect(redisUrl, onError, {
    connectionName: 'payonce-worker',
    maxRetriesPerRequest: null,
    connectTimeout: 3_000,
  })
}

type ConnectionOptions = {
  connectionName: string
  enableOfflineQueue?: boolean
  maxRetriesPerRequest: number | null
  commandTimeout?: number
  connectTimeout: number
}

/** Several URLs, separated by commas, are nodes of one cluster, from which the others are found. */
function connect(
  redisUrl: string,
  onError: (error: Error) => void,
  { enableOfflineQueue = true, ...options }: ConnectionOptions,
): RedisConnection {
  const [first = '', ...others] = redisUrl.split(',')
  if (others.length === 0) {
    const single = new Redis(first, { ...options, enableOfflineQueue, retryStrategy })
    return single.on('error', onError)
  }
  const nodes = [first, ...others].map((text) => new URL(text))
  const { username, password, protocol } = new URL(first)
  const cluster = new Cluster(
    nodes.map(({ hostname, port }) => ({ host: hostname, port: Number(port || 6379) })),
    {
      clusterRetryStrategy: retryStrategy,
      enableOfflineQueue,
      // A node that comes back without having lost its slots is connected to again.
      clusterNodeRetryStrategy: retryStrategy,
      slotsRefreshInterval: slotsRefreshMs,
      redisOptions: {
        ...options,
        ...(username === '' ? {} : { username: decodeURIComponent(username) }),
        ...(password === '' ? {} : { password: decodeURIComponent(password) }),
        ...(protocol === 'rediss:' ? { tls: {} } : {}),
      },
    },
  )
  return cluster.on('error', onError)
}

/** 2 s: which replica was promoted is known by then, also where no command was answered MOVED. */
const slotsRefreshMs = 2_000

/** Redis is set up in a way that can drop jobs while it looks healthy. */
export class UnsafeRedisError extends Error {
  override name = 'UnsafeRedisError'
}

/**
 * Looks at how a reachable Redis is set up, each master of it. Throws `UnsafeRedisError` for an eviction policy, which
 * drops jobs at random; warns where nothing is written to disk, since then a restart loses the queue
 * and the sweep has to ring everything again.
 */
export async function inspectRedis(redis: RedisConnection): Promise<string[]> {
  const masters = redis instanceof Cluster ? redis.nodes('master') : [redis]
  const warnings = await Promise.all(masters.map(inspectOne))
  return [...new Set(warnings.flat())]
}

async function inspectOne(redis: Redis): Promise<string[]> {
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
