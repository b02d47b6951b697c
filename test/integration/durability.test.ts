import { startApi } from '@payonce/api/main'
import { readApiConfig, readWorkerConfig } from '@payonce/core/config'
import { createLog } from '@payonce/core/log'
import { startWorker } from '@payonce/worker/main'
import { Redis } from 'ioredis'
import pg from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce } from '../support/payonce.ts'
import { startRedis } from '../support/redis.ts'
import { createStores, environmentOf } from '../support/stores.ts'
import { until } from '../support/until.ts'

const backend = inject('queueBackend')
const log = createLog({ name: 'test', level: 'silent' })

const processes: [
  name: string,
  start: (environment: Record<string, string>) => Promise<{ close(): Promise<unknown> }>,
][] = [
  [
    'an API',
    (environment) =>
      startApi(readApiConfig({ ...environment, PORT: '0', HOST: '127.0.0.1' }), { log }),
  ],
  ['a worker', (environment) => startWorker(readWorkerConfig(environment), { log })],
]

describe.each(processes)('%s', (_name, start) => {
  test('refuses a database that commits without waiting for the disk, and names the setting (F8)', async () => {
    const stores = await createStores()
    await inDatabase(stores.databaseUrl, async (client, name) => {
      await client.query(`ALTER DATABASE ${name} SET synchronous_commit = off`)
    })
    await expect(start(environmentOf(stores))).rejects.toThrow(
      /synchronous_commit = off .*set synchronous_commit = on/,
    )
  })

  test('refuses a ledger that is sealed with a secret which it does not have', async () => {
    const secret = { LEDGER_SECRET: 'a secret of the ledger' }
    const payonce = await startPayonce({ environment: secret })
    await payonce.openAccount(1)
    const environment = environmentOf(payonce.stores)
    await expect(start(environment)).rejects.toThrow('set it to the secret of the other processes')
    const started = await start({ ...environment, ...secret })
    await started.close()
  })

  if (backend === 'redis') {
    test.each(['allkeys-lru', 'volatile-ttl'])(
      'refuses a Redis that evicts keys by %s, and names the policy (F8)',
      async (policy) => {
        const redis = await startRedis()
        const client = new Redis(redis.url)
        await client.config('SET', 'maxmemory-policy', policy)
        client.disconnect()
        const stores = { ...(await createStores()), redisUrl: redis.url }
        await expect(start(environmentOf(stores))).rejects.toThrow(policy)
      },
    )
  }
})

async function inDatabase(
  databaseUrl: string,
  use: (client: pg.Client, name: string) => Promise<void>,
): Promise<void> {
  const client = new pg.Client(databaseUrl)
  await client.connect()
  try {
    await use(client, pg.escapeIdentifier(new URL(databaseUrl).pathname.slice(1)))
  } finally {
    await client.end()
  }
}

describe('acceptance, settlement and cancel', () => {
  test('commit durably even where the database has come to say otherwise since the start', async () => {
    const payonce = await startPayonce()
    const { client, db, world, merchant } = payonce
    for (const table of ['idempotency_keys', 'transfers', 'entries', 'accounts']) {
      await db.query(
        `CREATE TABLE IF NOT EXISTS noted (written text, synchronous_commit text);
         CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
             INSERT INTO noted VALUES (TG_TABLE_NAME, current_setting('synchronous_commit'));
             RETURN NULL;
           END $$;
         CREATE TRIGGER note AFTER INSERT OR UPDATE ON ${table} EXECUTE FUNCTION note()`,
      )
    }
    await inDatabase(payonce.stores.databaseUrl, async (admin, name) => {
      await admin.query(`ALTER DATABASE ${name} SET synchronous_commit = off`)
      // Sessions know the old setting until they end.
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()`,
      )
    })
    const request = { source: world, destination: merchant, amount: 1 }
    const sent = await until('a request is accepted on new sessions', async () => {
      const answer = await client.send(request, { wait: 15 })
      return answer.status === 200 && answer
    })
    expect(sent.body.status).toBe('succeeded')
    await payonce.stopWorker()
    const canceled = await client.send(request)
    await client.post(`/v1/transfers/${canceled.body.id}/cancel`)
    await client.post('/v1/accounts', { currency: 'EUR' }, { key: 'an-account' })
    await client.patch(`/v1/accounts/${merchant}`, { overdraft_limit: 5 })

    const { rows } = await db.query<{ written: string; synchronous_commit: string }>(
      'SELECT DISTINCT written, synchronous_commit FROM noted ORDER BY written, synchronous_commit',
    )
    const isOn = (written: string) => ({ written, synchronous_commit: 'on' })
    expect(rows).toEqual(['accounts', 'entries', 'idempotency_keys', 'transfers'].map(isOn))
    const { rows: settings } = await db.query('SHOW synchronous_commit')
    expect(settings).toEqual([{ synchronous_commit: 'off' }])
    await payonce.startWorker().catch(() => undefined)
    await payonce.untilAllSettled().catch(() => undefined)
    await assertBooksHold(db, {
      unsettled: [],
    })
  })
})

if (backend === 'redis') {
  describe('a Redis that keeps nothing on disk', () => {
    test('is used, with a warning (F8)', async () => {
      const payonce = await startPayonce()
      const warnings = payonce.log.filter((line) => line.includes('append-only'))
      expect(warnings.length).toBeGreaterThanOrEqual(2)
      expect(warnings.every((line) => line.includes('"level":"warn"'))).toBe(true)
    })
  })
}
