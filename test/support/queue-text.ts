import { Redis } from 'ioredis'
import type { Payonce } from './payonce.ts'

/** All that the queue's store holds, as text: every key and value, whatever they are for. */
export async function queueText({ stores, db }: Pick<Payonce, 'stores' | 'db'>): Promise<string> {
  if (stores.redisUrl !== undefined) return redisText(stores.redisUrl)
  const { rows } = await db.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = $1`,
    [stores.namespace],
  )
  const texts: string[] = []
  for (const { name } of rows) {
    const table = await db.query<{ text: string }>(
      `SELECT coalesce(string_agg(kept::text, E'\\n'), '') AS text FROM ${name} AS kept`,
    )
    texts.push(name, table.rows[0]?.text ?? '')
  }
  return texts.join('\n')
}

async function redisText(url: string): Promise<string> {
  const redis = new Redis(url)
  try {
    const texts: string[] = []
    for (const key of await redis.keys('*')) {
      texts.push(key, JSON.stringify(await readKey(redis, key)))
    }
    return texts.join('\n')
  } finally {
    redis.disconnect()
  }
}

async function readKey(redis: Redis, key: string): Promise<unknown> {
  const type = await redis.type(key)
  switch (type) {
    case 'string':
      return redis.get(key)
    case 'hash':
      return redis.hgetall(key)
    case 'list':
      return redis.lrange(key, 0, -1)
    case 'set':
      return redis.smembers(key)
    case 'zset':
      return redis.zrange(key, 0, '-1')
    case 'stream':
      return redis.xrange(key, '-', '+')
    default:
      throw new Error(`${key} is a ${type}, which nobody has looked into`)
  }
}
