import { execFile } from 'node:child_process'
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createPool } from '@payonce/core/db/client'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { migrateQueue } from '@payonce/core/queue/queues'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@payonce/local/embedded-postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { newKey, type Client } from '../support/client.ts'
import { openAccounts } from '../support/first-tenant.ts'
import { startApi, startWorker } from '../support/processes.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'

/*
 * The loss of the primary (F13), with a real standby: a copy of the stopped data folder that follows
 * the primary's log. Processes reach whichever is the primary under one address, as they do behind a
 * load balancer or a name that moves.
 */

const namespace = 'payonce_queue'

const run = promisify(execFile)

/** A primary and its standby. `isSynchronous` says whether a commit waits for both. */
async function startPair({ isSynchronous }: { isSynchronous: boolean }) {
  const folder = await mkdtemp(join(tmpdir(), 'payonce-standby-'))
  const servers: EmbeddedPostgres[] = []
  onTestFinished(async () => {
    for (const server of servers) await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const start = async (name: string, settings: Record<string, string>) => {
    const dataDir = join(folder, name)
    const server = await startEmbeddedPostgres({ dataDir, port: 0, settings, log: () => undefined })
    servers.push(server)
    return server
  }
  await (await start('primary', {})).stop()
  await run('cp', ['-a', join(folder, 'primary'), join(folder, 'standby')])
  const primary = await start('primary', {
    synchronous_standby_names: isSynchronous ? '*' : '',
  })
  const { username, password } = new URL(primary.url)
  const primaryInfo = `host=127.0.0.1 port=${primary.port} user=${username} password=${password}`
  const data = join(folder, 'standby', 'postgres', 'data')
  await writeFile(join(data, 'standby.signal'), '')
  await appendFile(join(data, 'postgresql.auto.conf'), `primary_conninfo = '${primaryInfo}'\n`)
  const standby = await start('standby', {})
  return { primary, standby }
}

/** An installation on a pair, reached by way of one address, with transfers that come in. */
async function startInstallation(options: { isSynchronous: boolean }) {
  const { primary, standby } = await startPair(options)
  const proxy = await startTcpProxy(primary.url)
  await migrateDatabase({ databaseUrl: proxy.url })
  await migrateQueue({ databaseUrl: proxy.url, namespace })
  const db = createPool({
    databaseUrl: proxy.url,
    name: 'test',
    maxConnections: 2,
    onError: () => undefined,
  })
  onTestFinished(() => db.end())
  const environment = { DATABASE_URL: proxy.url, QUEUE_NAMESPACE: namespace }
  const api = await startApi(environment)
  await startWorker(environment)
  const { client, world, merchant } = await openAccounts(db, api.url)
  const request = { source: world, destination: merchant, amount: 1 }

  async function failOver(): Promise<void> {
    proxy.cut()
    process.kill(primary.pid, 'SIGKILL')
    await primary.exited
    const admin = createPool({
      databaseUrl: standby.url,
      name: 'test',
      maxConnections: 2,
      onError: () => undefined,
    })
    await admin.query('SELECT pg_promote()')
    await admin.end()
    proxy.restore(standby.url)
  }

  return { db, client, request, primary, standby, failOver }
}

type Request = { source: string; destination: string; amount: number }
type Seen = { key: string; status: number; id: string }

/** Sends under new keys, several at a time, until it is told to end. Zero stands for no answer. */
function startLoad(client: Client, request: Request) {
  const seen: Seen[] = []
  const over = new AbortController()
  const lane = async () => {
    while (!over.signal.aborted) {
      const key = newKey()
      const answer = await client.send(request, { key }).catch(() => undefined)
      seen.push({ key, status: answer?.status ?? 0, id: answer?.body.id ?? '' })
      await sleep(5)
    }
  }
  onTestFinished(() => over.abort())
  const lanes = Array.from({ length: 8 }, lane)
  return {
    seen,
    end: async () => {
      over.abort()
      await Promise.all(lanes)
    },
  }
}

const accepted = (seen: readonly Seen[]) => seen.filter(({ status }) => status === 202)

/** What an outage of the database may look like to a client. */
function expectHonest(seen: readonly Seen[]): void {
  const others = seen.filter(({ status }) => ![0, 202, 503].includes(status))
  expect(others).toEqual([])
}

async function untilSettled(client: Client, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    await until(
      `${id} is settled`,
      async () => (await client.read(id, { wait: 5 })).status === 'succeeded',
      { withinMs: 30_000 },
    )
  }
}

describe('the loss of the primary', () => {
  it('F13: loses nothing where a synchronous standby is promoted', async () => {
    const { db, client, request, failOver } = await startInstallation({ isSynchronous: true })
    const load = startLoad(client, request)
    await until('some are accepted', async () => accepted(load.seen).length > 100)
    await failOver()
    const before = accepted(load.seen).length
    await until('more are accepted', async () => accepted(load.seen).length > before + 100, {
      withinMs: 30_000,
    })
    await load.end()
    expectHonest(load.seen)
    await untilSettled(
      client,
      accepted(load.seen).map(({ id }) => id),
    )
    await assertBooksHold(db)
  })

  it('F13: with an asynchronous one loses what had not reached it, and can be told so', async () => {
    const { db, client, request, standby, failOver } = await startInstallation({
      isSynchronous: false,
    })
    const kept = startLoad(client, request)
    await until('some are accepted', async () => accepted(kept.seen).length > 100)
    await kept.end()
    await untilSettled(
      client,
      accepted(kept.seen).map(({ id }) => id),
    )
    await until('the standby has them', () => hasAll(standby, accepted(kept.seen).length))

    await pauseReceiving(standby)
    const lost = startLoad(client, request)
    await until('some more are accepted', async () => accepted(lost.seen).length > 50)
    await lost.end()
    await failOver()
    await until('it serves again', async () => (await client.get('/readyz')).status === 200, {
      withinMs: 30_000,
    })
    for (const { id } of accepted(kept.seen)) {
      expect((await client.get(`/v1/transfers/${id}`)).status).toBe(200)
    }
    // Each that is lost is lost as a whole, and its key is free again.
    const gone: Seen[] = []
    for (const one of accepted(lost.seen)) {
      const { status } = await client.get(`/v1/transfers/${one.id}`)
      if (status === 404) gone.push(one)
    }
    expect(gone.length).toBeGreaterThan(0)
    for (const { key } of gone) {
      const again = await client.send(request, { key })
      expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([202, null])
      await untilSettled(client, [again.body.id])
    }
    await assertBooksHold(db)
  })
})

async function hasAll(standby: EmbeddedPostgres, count: number): Promise<boolean> {
  const reader = createPool({
    databaseUrl: standby.url,
    name: 'test',
    maxConnections: 2,
    onError: () => undefined,
  })
  try {
    const { rows } = await reader.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM transfers WHERE status = 'succeeded'`,
    )
    return (rows[0]?.count ?? 0) >= count
  } finally {
    await reader.end()
  }
}

/** From now on nothing reaches the standby: it looks for a primary where there is none. */
async function pauseReceiving(standby: EmbeddedPostgres): Promise<void> {
  const admin = createPool({
    databaseUrl: standby.url,
    name: 'test',
    maxConnections: 2,
    onError: () => undefined,
  })
  await admin.query(`ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'`)
  await admin.query('SELECT pg_reload_conf()')
  await until('the standby is cut off', async () => {
    const { rows } = await admin.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM pg_stat_wal_receiver',
    )
    return rows[0]?.count === 0
  })
  await admin.end()
}
