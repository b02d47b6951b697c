import { Redis } from 'ioredis'
import { afterAll, inject } from 'vitest'
import './provided-context.ts'
import { redisMissingLine } from './redis-program.ts'
import { startRedisServer, type RedisServer } from './redis-server.ts'

/** Whether this run has a Redis: for `describe.skipIf(!hasRedis)` outside integration-redis. */
export const hasRedis = inject('redisUrl') !== null

/** An empty numbered database on the shared Redis, for the calling test file alone. Returns its URL. */
export async function createRedisDatabase(): Promise<string> {
  const serverUrl = inject('redisUrl')
  if (serverUrl === null) throw new Error(redisMissingLine)
  const counter = new Redis(serverUrl)
  try {
    // Test files run in several processes, so Redis itself counts. A number comes round again
    // only after all others, when its file has long ended.
    const databases = Number((await counter.config('GET', 'databases'))[1])
    const turn = await counter.incr('payonce:test:databases')
    const number = 1 + (turn % (databases - 1))
    await counter.select(number)
    await counter.flushdb()
    return Object.assign(new URL(serverUrl), { pathname: `/${number}` }).href
  } finally {
    counter.disconnect()
  }
}

/** A Redis of its own, which a test may kill, freeze and empty. It ends with the test file. */
export async function startRedis(): Promise<PrivateRedis> {
  const redis = new PrivateRedis(await startRedisServer())
  started.push(redis)
  return redis
}

export class PrivateRedis {
  #server: RedisServer

  constructor(server: RedisServer) {
    this.#server = server
  }

  /** Stays the same over kill and restart. */
  get url(): string {
    return this.#server.url
  }

  get pid(): number {
    return this.#server.pid
  }

  /** kill -9: what it held is gone, since it keeps nothing on disk. */
  async kill(): Promise<void> {
    process.kill(this.pid, 'SIGKILL')
    await this.#server.exited
  }

  /** Starts again, empty, on the same port. Only after kill(). */
  async restart(): Promise<void> {
    this.#server = await startRedisServer(this.#server.port)
  }

  /** Connections stay open, but nothing is answered. */
  freeze(): void {
    process.kill(this.pid, 'SIGSTOP')
  }

  thaw(): void {
    process.kill(this.pid, 'SIGCONT')
  }

  async flushAll(): Promise<void> {
    const client = new Redis(this.url)
    await client.flushall()
    client.disconnect()
  }

  async stop(): Promise<void> {
    if (this.#server.isRunning()) await this.kill()
  }
}

const started: PrivateRedis[] = []

afterAll(async function stopStartedRedis() {
  await Promise.all(started.splice(0).map((redis) => redis.stop()))
})
