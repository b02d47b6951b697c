import { describe, expect, it } from 'vitest'
import { UnsafeDatabaseError, requireDurability } from '@payonce/core/db/durability'
import { UnsafeRedisError, inspectRedis } from '@payonce/core/queue/redis'
import { ScriptedPool } from './doubles/postgres.ts'

const safe = { version: 150_018, synchronous_commit: 'on', fsync: 'on', full_page_writes: 'on' }

/** What start-up says of a database with these settings; undefined where it takes it. */
async function refusalOf(settings: Partial<typeof safe>): Promise<string | undefined> {
  const { pool } = new ScriptedPool(() => ({ rows: [{ ...safe, ...settings }] }))
  try {
    await requireDurability(pool)
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(UnsafeDatabaseError)
    return (error as Error).message
  }
}

describe('F8 a database that may lose what it committed is refused', () => {
  it.each(['synchronous_commit', 'fsync', 'full_page_writes'])(
    'by name: %s is off',
    async (name) => {
      expect(await refusalOf({ [name]: 'off' })).toContain(`${name} = off`)
    },
  )

  it('with every setting at fault named', async () => {
    const message = await refusalOf({ fsync: 'off', full_page_writes: 'off' })
    expect(message).toContain('fsync = off')
    expect(message).toContain('full_page_writes = off')
  })

  it('where it is older than the oldest that is promised', async () => {
    expect(await refusalOf({ version: 149_999 })).toContain('too old')
    expect(await refusalOf({ version: 150_000 })).toBeUndefined()
  })

  it.each(['on', 'local', 'remote_write', 'remote_apply'])(
    'but not where synchronous_commit is %s, since every transaction sets its own',
    async (setting) => {
      expect(await refusalOf({ synchronous_commit: setting })).toBeUndefined()
    },
  )
})

type RedisSettings = { policy?: string; appendOnly?: boolean }

function inspect({ policy = 'noeviction', appendOnly = true }: RedisSettings): Promise<string[]> {
  const answers: Readonly<Record<string, string>> = {
    memory: `# Memory\r\nused_memory:1\r\nmaxmemory_policy:${policy}\r\nmem_fragmentation:1\r\n`,
    persistence: `# Persistence\r\nloading:0\r\naof_enabled:${appendOnly ? 1 : 0}\r\naof_rewrites:0\r\n`,
  }
  const redis = { info: async (section: string) => answers[section] ?? '' }
  return inspectRedis(redis as unknown as Parameters<typeof inspectRedis>[0])
}

describe('F8 a Redis that evicts keys, and so drops jobs', () => {
  it.each(['allkeys-lru', 'allkeys-random', 'volatile-lru', 'volatile-ttl'])(
    'is refused, naming its policy: %s',
    async (policy) => {
      const error: unknown = await inspect({ policy }).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(UnsafeRedisError)
      expect((error as Error).message).toContain(policy)
    },
  )

  it('is no Redis that only forgets at a restart: that is warned about', async () => {
    expect(await inspect({ appendOnly: false })).toEqual([
      expect.stringContaining('append-only') as unknown,
    ])
  })

  it('is no Redis that is set up well: nothing is said about it', async () => {
    expect(await inspect({})).toEqual([])
  })
})
