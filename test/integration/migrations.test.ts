import { randomBytes, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createPool, type Pool } from '@payonce/core/db/client'
import { createCommandPartitions, pruneCommands } from '@payonce/core/db/command-partitions'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { migrateQueue } from '@payonce/core/queue/queues'
import { readHorizon } from '@payonce/core/transfers/unsettled'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { createEmptyDatabase } from '../support/database.ts'
import { newKey } from '../support/client.ts'
import { startPayonce } from '../support/payonce.ts'
import { createRedisDatabase } from '../support/redis.ts'
import { until } from '../support/until.ts'
import type { Stores } from '../support/stores.ts'

describe('migrating', () => {
  test('by several processes at once succeeds in each, and changes nothing the second time', async () => {
    const databaseUrl = await createEmptyDatabase()
    await Promise.all([1, 2, 3, 4].map(() => migrateDatabase({ databaseUrl })))
    const before = await dump(databaseUrl)
    expect(before.length).toBeGreaterThan(50)
    await migrateDatabase({ databaseUrl })
    expect(await dump(databaseUrl)).toEqual(before)
  })

  test('from before events gives a batch that is not complete its event all the same', async () => {
    const databaseUrl = await createEmptyDatabase()
    await migrateDatabase({ databaseUrl })
    const client = new pg.Client(databaseUrl)
    await client.connect()
    try {
      const [open, done] = [randomUUID(), randomUUID()]
      await client.query(
        `INSERT INTO transfer_batches (tenant_id, id, idempotency_key, is_atomic, item_count, created_at)
         SELECT id, id, id::text, false, 1, now() FROM unnest($1::uuid[]) AS id`,
        [[open, done]],
      )
      // Of the other one nothing is left that is not settled.
      await client.query(`INSERT INTO batch_items VALUES ($1, $1, 0, $1, false)`, [open])
      const text = await readFile('drizzle/0002_feed_of_a_type.sql', 'utf8')
      await client.query(text.slice(text.indexOf('UPDATE')))
      const { rows } = await client.query<{ id: string }>(
        'SELECT id FROM transfer_batches WHERE next_check_at <= now()',
      )
      expect(rows).toEqual([{ id: open }])
    } finally {
      await client.end()
    }
  })

  test('the queue by several processes at once succeeds in each', async () => {
    const databaseUrl = await createEmptyDatabase()
    const namespace = 'payonce_queue'
    await Promise.all([1, 2, 3].map(() => migrateQueue({ databaseUrl, namespace })))
    await migrateQueue({ databaseUrl, namespace })
  })

  test('and pruning make and drop no month while somebody reads the table, and say so', async () => {
    const databaseUrl = await createEmptyDatabase()
    await migrateDatabase({ databaseUrl })
    const [client, reader] = [new pg.Client(databaseUrl), new pg.Client(databaseUrl)]
    await Promise.all([client.connect(), reader.connect()])
    try {
      const { rows } = await client.query<{ name: string }>(
        `SELECT inhrelid::regclass::text AS name FROM pg_inherits
          WHERE inhparent = 'commands'::regclass AND inhrelid::regclass::text ~ '\\d$'
          ORDER BY name`,
      )
      const last = rows.at(-1)?.name
      await client.query(`DROP TABLE ${last}`)
      await client.query(`ALTER TABLE ${rows[0]?.name} RENAME TO commands_2020_01`)
      await reader.query('BEGIN')
      await reader.query('SELECT FROM commands')
      const busy = await createCommandPartitions(client)
      expect(busy).toContain(last)
      const old = { dropped: [], kept: [], busy: ['commands_2020_01'] }
      expect(await pruneCommands(client, { retentionDays: 90 })).toEqual(old)

      await reader.query('ROLLBACK')
      const done = { dropped: ['commands_2020_01'], kept: [], busy: [] }
      expect(await pruneCommands(client, { retentionDays: 90 })).toEqual(done)
      expect(await createCommandPartitions(client)).toEqual([])
    } finally {
      await Promise.all([client.end(), reader.end()])
    }
  })

  test('waits for the one that is at it', async () => {
    const databaseUrl = await createEmptyDatabase()
    const client = new pg.Client(databaseUrl)
    await client.connect()
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1)', [0x7061796f6e])
    let isDone = false
    const migrated = migrateDatabase({ databaseUrl }).then(() => (isDone = true))
    await until('it waits for the lock', async () => {
      const { rows } = await client.query<{ waiting: boolean }>(
        `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) AS waiting`,
      )
      return rows[0]?.waiting
    })
    expect(isDone).toBe(false)
    await client.query('COMMIT')
    await migrated
    await client.end()
  })
})

/** Every object and column of a database, by name and type. */
async function dump(databaseUrl: string): Promise<unknown[]> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  try {
    const { rows } = await client.query<Record<string, unknown>>(
      `SELECT relname, relkind, attname, format_type(atttypid, atttypmod) AS type
         FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0
        ORDER BY relname, attnum`,
    )
    const { rows: migrations } = await client.query<Record<string, unknown>>(
      'SELECT * FROM drizzle.__drizzle_migrations',
    )
    return [...rows, ...migrations]
  } finally {
    await client.end()
  }
}

describe('a role that owns nothing', () => {
  const role = `payonce_app_${randomBytes(4).toString('hex')}`
  let owner: Pool
  let app: Pool
  let stores: Stores
  let appUrl: string

  beforeAll(async () => {
    const databaseUrl = await createEmptyDatabase()
    owner = createPool({ databaseUrl, name: 'test', maxConnections: 4, onError: () => undefined })
    await owner.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
    await owner.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC')
    await migrateDatabase({ databaseUrl, grantTo: role })
    stores = { databaseUrl, namespace: 'payonce_queue' }
    if (inject('queueBackend') === 'redis') stores.redisUrl = await createRedisDatabase()
    else await migrateQueue({ databaseUrl, namespace: stores.namespace, grantTo: role })
    const url = new URL(databaseUrl)
    url.username = role
    url.password = 'secret'
    appUrl = url.href
    app = createPool({
      databaseUrl: appUrl,
      name: 'app',
      maxConnections: 4,
      onError: () => undefined,
    })
  })

  afterAll(async () => {
    await app.end()
    await owner.query(`DROP OWNED BY ${role}`)
    await owner.query(`DROP ROLE ${role}`)
    await owner.end()
  })

  test('is all that api and worker need, for everything that they do', async () => {
    const payonce = await startPayonce({ stores, environment: { DATABASE_URL: appUrl } })
    const { client, world, merchant } = payonce
    const [poor, rich] = [await payonce.openAccount(), await payonce.openAccount(100)]
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 1 }
    expect((await client.send(request, { key, wait: 15 })).body.status).toBe('succeeded')
    expect((await client.send(request, { key })).headers.get('idempotent-replayed')).toBe('true')
    const failed = await client.send({ ...request, source: poor }, { wait: 15 })
    expect(failed.body.status).toBe('failed')
    expect((await client.patch(`/v1/accounts/${rich}`, { overdraft_limit: 9 })).status).toBe(200)
    expect((await client.post('/v1/accounts', { currency: 'EUR' }, { key: newKey() })).status).toBe(
      201,
    )
    expect((await client.get('/v1/transfers')).status).toBe(200)
    expect((await client.get('/v1/trial-balance')).status).toBe(200)
    expect((await client.get('/metrics')).status).toBe(200)
    expect((await client.get('/readyz')).body).toMatchObject({ database: 'up', queue: 'up' })

    // What is put aside, swept, canceled and counted as well.
    await payonce.stopWorker()
    const queued = await client.send(request)
    expect((await client.post(`/v1/transfers/${queued.body.id}/cancel`)).status).toBe(200)
    await owner.query('ALTER TABLE entries ADD CONSTRAINT poison CHECK (amount <> 77) NOT VALID')
    const poison = await client.send({ ...request, amount: 77 })
    const worker = await payonce.startWorker()
    await until('it is put aside', async () => {
      const { rows } = await owner.query<{ count: number }>('SELECT count(*)::int FROM deferred')
      return rows[0]?.count === 1
    })
    await owner.query('ALTER TABLE entries DROP CONSTRAINT poison')
    await owner.query(`UPDATE deferred SET next_due_at = now()`)
    expect(await payonce.untilSettled(poison.body.id)).toMatchObject({ status: 'succeeded' })
    expect(await worker.metrics.registry.metrics()).toMatch(
      /^payonce_sweep_duration_seconds_count [1-9]/m,
    )
    await payonce.close()
    expect(payonce.log.filter((line) => /denied/.test(line))).toEqual([])
    await assertBooksHold(owner)
  })

  test('sees how old the transactions of its own kind are, which the watermark stands on', async () => {
    const acceptance = await app.connect()
    await acceptance.query('BEGIN')
    const { rows } = await acceptance.query<{ now: Date }>(`SELECT now() - interval '1 ms' AS now`)
    await acceptance.query('SELECT pg_sleep(1.2)')
    const { horizon, now } = await readHorizon(app)
    expect(now.getTime() - (rows[0]?.now.getTime() ?? 0)).toBeGreaterThan(1_100)
    expect(horizon.getTime()).toBeLessThanOrEqual((rows[0]?.now.getTime() ?? 0) + 1)
    await acceptance.query('ROLLBACK')
    acceptance.release()
  })

  test('may only add to the books: it changes and removes nothing that is written', async () => {
    const forbidden: Record<string, string[]> = {
      entries: ['UPDATE', 'DELETE', 'TRUNCATE'],
      transfers: ['UPDATE', 'DELETE', 'TRUNCATE'],
      idempotency_keys: ['UPDATE', 'DELETE', 'TRUNCATE'],
      commands: ['UPDATE', 'DELETE', 'TRUNCATE'],
      account_limits: ['UPDATE', 'DELETE', 'TRUNCATE'],
      accounts: ['DELETE', 'TRUNCATE'],
      sweeps: ['INSERT', 'DELETE', 'TRUNCATE'],
      tenants: ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'],
      api_keys: ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'],
      deferred: ['TRUNCATE'],
    }
    const statements: Record<string, (table: string) => string> = {
      UPDATE: (table) => `UPDATE ${table} SET ${firstColumn[table] ?? 'tenant_id = tenant_id'}`,
      DELETE: (table) => `DELETE FROM ${table}`,
      TRUNCATE: (table) => `TRUNCATE ${table}`,
      INSERT: (table) => `INSERT INTO ${table} SELECT * FROM ${table}`,
    }
    const firstColumn: Record<string, string> = { tenants: 'name = name' }
    for (const [table, verbs] of Object.entries(forbidden)) {
      for (const verb of verbs) {
        await expect(app.query(statements[verb]?.(table) ?? '')).rejects.toThrow(
          `permission denied for table ${table}`,
        )
      }
    }
    await expect(app.query('DROP TABLE entries')).rejects.toThrow('must be owner')
    await expect(app.query('ALTER TABLE entries DISABLE TRIGGER ALL')).rejects.toThrow(
      'must be owner',
    )
    await expect(app.query('CREATE TABLE mine ()')).rejects.toThrow('permission denied')
  })

  test('has no right on any table that the migration did not mean to give', async () => {
    const { rows } = await owner.query<{ table: string; privileges: string }>(
      `SELECT table_name AS table,
              string_agg(privilege_type, ' ' ORDER BY privilege_type) AS privileges
         FROM information_schema.table_privileges
        WHERE grantee = $1 AND table_schema = 'public' AND is_grantable = 'NO'
        GROUP BY table_name ORDER BY table_name`,
      [role],
    )
    const given = Object.fromEntries(rows.map(({ table, privileges }) => [table, privileges]))
    expect(given).toMatchObject({
      account_limits: 'INSERT SELECT',
      accounts: 'INSERT SELECT UPDATE',
      api_keys: 'SELECT',
      commands: 'INSERT SELECT',
      deferred: 'DELETE INSERT SELECT UPDATE',
      entries: 'INSERT SELECT',
      idempotency_keys: 'INSERT SELECT',
      sweeps: 'SELECT UPDATE',
      tenants: 'SELECT',
      transfers: 'INSERT SELECT',
    })
    const removing = rows.filter(({ privileges }) =>
      /DELETE|TRUNCATE|TRIGGER|REFER/.test(privileges),
    )
    expect(removing.map(({ table }) => table)).toEqual(['deferred'])
  })

  test('keeps what it has at every moment in which the migration is run again', async () => {
    const tables = 'account_limits, accounts, commands, deferred, entries, settlements, transfers'
    const over = new AbortController()
    const migrated = migrateDatabase({ databaseUrl: stores.databaseUrl, grantTo: role }).finally(
      () => over.abort(),
    )
    while (!over.signal.aborted) await app.query(`SELECT FROM ${tables} LIMIT 0`)
    await migrated
  })

  test('is not the one that migrates, whose rights would be taken away', async () => {
    const { rows } = await owner.query<{ user: string }>('SELECT current_user AS user')
    const grantTo = rows[0]?.user
    await expect(migrateDatabase({ databaseUrl: stores.databaseUrl, grantTo })).rejects.toThrow(
      'the role that migrates',
    )
  })

  test('gets no more than that when the migration is run again', async () => {
    await owner.query(`GRANT ALL ON entries TO ${role}`)
    await migrateDatabase({ databaseUrl: stores.databaseUrl, grantTo: role })
    await expect(app.query('DELETE FROM entries')).rejects.toThrow('permission denied')
  })
})
