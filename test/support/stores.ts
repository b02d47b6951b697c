import { migrateQueue } from '@payonce/core/queue/queues'
import { Redis } from 'ioredis'
import pg from 'pg'
import { inject } from 'vitest'
import { createDatabase } from './database.ts'
import './provided-context.ts'
import { createRedisDatabase } from './redis.ts'

/** Where the books are and where the queue is: what every process of one installation shares. */
export type Stores = {
  databaseUrl: string
  redisUrl?: string
  namespace: string
}

const namespace = 'payonce_queue'

/** Empty stores for the calling test file alone, with the queue on the backend of this run. */
export async function createStores(
  backend: 'postgres' | 'redis' = inject('queueBackend'),
): Promise<Stores> {
  const databaseUrl = await createDatabase()
  if (backend === 'redis') {
    return { databaseUrl, redisUrl: await createRedisDatabase(), namespace }
  }
  await migrateQueue({ databaseUrl, namespace })
  return { databaseUrl, namespace }
}

/** The environment in which a process finds these stores. */
export function environmentOf(stores: Stores): Record<string, string> {
  return {
    DATABASE_URL: stores.databaseUrl,
    QUEUE_NAMESPACE: stores.namespace,
    ...(stores.redisUrl === undefined ? {} : { REDIS_URL: stores.redisUrl }),
  }
}

/** Makes the queue forget everything, as the loss of its store does. */
export async function emptyQueue(stores: Stores): Promise<void> {
  if (stores.redisUrl !== undefined) {
    const redis = new Redis(stores.redisUrl)
    await redis.flushdb()
    redis.disconnect()
    return
  }
  const client = new pg.Client(stores.databaseUrl)
  await client.connect()
  try {
    const { rows } = await client.query<{ tables: string }>(
      `SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') AS tables
         FROM pg_tables WHERE schemaname = $1 AND tablename <> 'migration'`,
      [stores.namespace],
    )
    await truncate(client, rows[0]?.tables ?? '')
  } finally {
    await client.end()
  }
}

/** A worker that uses the tables in another order meanwhile makes it a deadlock: then once more. */
async function truncate(client: pg.Client, tables: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await client.query(`TRUNCATE ${tables}`)
      return
    } catch (error) {
      const isDeadlock = error instanceof pg.DatabaseError && error.code === '40P01'
      if (!isDeadlock || tries === 10) throw error
    }
  }
}
