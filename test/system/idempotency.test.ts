import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPool } from '@payonce/core/db/client'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { createSettlementQueue, migrateQueue } from '@payonce/core/queue/queues'
import { verify } from '@payonce/core/verify/verify'
import { startEmbeddedPostgres } from '@payonce/local/embedded-postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { rows } from '../../apps/cli/src/conformance/rows.ts'
import { assertBooksHold } from '../support/books.ts'
import { createClient, newKey, type TransferRequest } from '../support/client.ts'
import { createConformanceKeys, runConformanceRow } from '../support/conformance.ts'
import { openAccounts } from '../support/first-tenant.ts'
import { closeGate } from '../support/gate.ts'
import { startPayonce, transferIdOf, uuidOf, type Payonce } from '../support/payonce.ts'
import { startApi, startProgram, startWorker, type Environment } from '../support/processes.ts'
import { hasRedis, startRedis } from '../support/redis.ts'
import { environmentOf } from '../support/stores.ts'
import { until } from '../support/until.ts'

/*
 * Rows of table I in which real processes are needed, mostly to be killed. Each test has an
 * installation of its own, whose API in this process stays alive and tells what became of it.
 */

describe('two API processes', () => {
  for (const row of rows.filter((one) => one.row === 'I21' || one.row === 'I22')) {
    it(`${row.row}: ${row.situation}, over both processes`, async () => {
      const payonce = await startPayonce()
      const keys = await createConformanceKeys(payonce)
      const [first, second] = await Promise.all([
        startApi(environmentOf(payonce.stores)),
        startApi(environmentOf(payonce.stores)),
      ])
      for (let round = 1; round <= 5; round++) {
        const urls = { url: first.url, secondUrl: second.url }
        const result = await runConformanceRow(row, { keys, ...urls })
        expect([round, result.seen]).toEqual([round, undefined])
      }
      await payonce.untilAllSettled()
      await assertBooksHold(payonce.db)
    })
  }
})

describe('an API that is killed', () => {
  it('I24: after the commit and before its answer: the next try replays', async () => {
    const payonce = await startPayonce({ worker: false })
    const [doomed, request, key] = [await startDoomedApi(payonce), fromWorld(payonce), newKey()]
    const gate = await closeGate(payonce.db, { table: 'idempotency_keys', at: 'commit' })
    const lost = expect(doomed.client.send(request, { key })).rejects.toThrow()
    await gate.untilReached()
    doomed.kill('SIGKILL')
    await lost
    await gate.open()
    const id = await until('the request is committed', () => acceptedUnder(payonce, key))

    const retry = await payonce.client.send(request, { key })
    expect([retry.status, retry.body.id]).toEqual([202, id])
    expect(retry.headers.get('idempotent-replayed')).toBe('true')
    await payonce.startWorker()
    await payonce.untilAllSettled()
    expect(await payonce.client.read(id)).toMatchObject({ status: 'succeeded' })
    await assertBooksHold(payonce.db)
  })

  it('I25: right after the 202: the transfer settles without a retry', async () => {
    const payonce = await startPayonce()
    const doomed = await startDoomedApi(payonce)
    // The queue is emptied as well, so that this does not depend on a ring that was just in time.
    const { body } = await doomed.client.send(fromWorld(payonce))
    doomed.kill('SIGKILL')
    await payonce.emptyQueue()
    await payonce.untilAllSettled()
    expect(await payonce.client.read(body.id)).toMatchObject({ status: 'succeeded' })
    await assertBooksHold(payonce.db)
  })

  it('I26: in the middle of acceptance: the next try is 202 at once', async () => {
    const payonce = await startPayonce()
    const [doomed, request, key] = [await startDoomedApi(payonce), fromWorld(payonce), newKey()]
    // The row is written and its key locked, and nothing is committed.
    const gate = await closeGate(payonce.db, { table: 'idempotency_keys', at: 'insert' })
    const lost = expect(doomed.client.send(request, { key })).rejects.toThrow()
    await gate.untilReached()
    doomed.kill('SIGKILL')
    await lost
    await gate.open()

    const retry = await payonce.client.send(request, { key })
    expect(retry.status).toBe(202)
    expect(retry.headers.get('idempotent-replayed')).toBeNull()
    await payonce.untilAllSettled()
    expect(await payonce.client.read(retry.body.id)).toMatchObject({ status: 'succeeded' })
    await assertBooksHold(payonce.db)
  })
})

describe('a store that is away', () => {
  it.skipIf(!hasRedis)('I27: Redis: requests are accepted, and settled later', async () => {
    const redis = await startRedis()
    const environment = { REDIS_URL: redis.url }
    const payonce = await startPayonce({ worker: false, environment })
    const api = await startApi({ ...environmentOf(payonce.stores), ...environment })
    const client = createClient(api.url, payonce.apiKey)
    await redis.kill()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => client.send(fromWorld(payonce))),
    )
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202))
    expect((await client.get('/readyz')).body).toMatchObject({ status: 'ready', queue: 'down' })

    await redis.restart()
    await payonce.startWorker(environment)
    await payonce.untilAllSettled(30_000)
    for (const { body } of answers) {
      expect(await client.read(body.id)).toMatchObject({ status: 'succeeded' })
    }
    await assertBooksHold(payonce.db)
  })

  it('I29: Postgres: 503 with Retry-After, and the same key is accepted later', async () => {
    const postgres = await startOwnPostgres()
    const { db, environment } = await openInstallation(postgres.url)
    const api = await startApi(environment)
    await startWorker(environment)
    const { client, world, merchant } = await openAccounts(db, api.url)
    const [request, key] = [{ source: world, destination: merchant, amount: 1 }, newKey()]
    await postgres.crash()
    for (let n = 0; n < 3; n++) {
      const refused = await client.post('/v1/transfers', { ...request, currency: 'EUR' }, { key })
      expect([refused.status, refused.body.code]).toEqual([503, 'service_unavailable'])
      expect(refused.headers.get('retry-after')).toBe('1')
      expect(refused.headers.get('idempotent-replayed')).toBeNull()
    }
    await postgres.start()
    await until('the database is back', async () => (await client.get('/readyz')).status === 200)
    expect((await client.get(`/v1/idempotency-keys?key=${key}`)).status).toBe(404)

    const accepted = await client.send(request, { key })
    expect(accepted.status).toBe(202)
    expect(accepted.headers.get('idempotent-replayed')).toBeNull()
    await until('it is settled', async () => {
      const { status } = await client.read(accepted.body.id, { wait: 5 })
      return status === 'succeeded'
    })
    await assertBooksHold(db)
  })
})

describe('a worker that is killed', () => {
  const backends = ['postgres', ...(hasRedis ? ['redis'] : [])]
  it.each(backends)(
    'I30: after the commit, before the job is acknowledged: it runs again, with one effect (%s)',
    async (backend) => {
      const environment: Environment =
        backend === 'redis' ? { REDIS_URL: (await startRedis()).url } : {}
      const payonce = await startPayonce({ worker: false, environment })
      const allOfIt = { ...environmentOf(payonce.stores), ...environment }
      const doomed = await startWorker(allOfIt)
      const gate = await closeGate(payonce.db, { table: 'transfers', at: 'commit' })
      const { body } = await payonce.client.send(fromWorld(payonce))
      await gate.untilReached()
      doomed.kill('SIGKILL')
      await doomed.exited
      await gate.open()
      await payonce.untilAllSettled()
      const settled = await payonce.client.read(body.id)
      expect(settled.status).toBe('succeeded')

      // The job is still there, in the hands of the dead. Another worker takes it over.
      const jobs = await watchJobs(payonce, environment)
      expect(await jobs.count()).toBe(1)
      await startWorker(allOfIt)
      await until('the job was run again', async () => (await jobs.count()) === 0, {
        withinMs: 60_000,
        everyMs: 100,
      })
      expect(await payonce.client.read(body.id)).toEqual(settled)
      await assertBooksHold(payonce.db)
    },
  )
})

describe('a command that always throws', () => {
  it('I31: is listed for an operator, who ends it as failed: internal_error', async () => {
    const secret = { LEDGER_SECRET: 'a secret of the ledger' }
    const payonce = await startPayonce({ environment: secret })
    const { client, db, merchant } = payonce
    const source = await payonce.openAccount(10)
    const [request, key] = [{ source, destination: merchant, amount: 10 }, newKey()]
    await payonce.stopWorker()
    const first = await client.send(request, { key })
    const { id } = first.body
    // Without its account, nobody can carry it out.
    const cure = await takeAccountAway(payonce, source)
    await payonce.startWorker()
    const environment = { ...environmentOf(payonce.stores), ...secret }
    const operate = async (...args: string[]) => {
      const tool = await startProgram('apps/cli/src/deferred/main.ts', { args, env: environment })
      return { code: (await tool.exited).code, output: tool.output() }
    }
    const listed = await until('it is listed', async () => {
      const { code, output } = await operate('list')
      expect(code).toBe(0)
      return output !== '' && output
    })
    expect(listed).toMatch(new RegExp(`^${id}\\tpoison\\t1\\tError\\t.+Z$`))
    expect((await operate('fail', transferIdOf(payonce.newId()))).code).toBe(1)
    expect((await operate('fail', 'tr_1')).code).toBe(2)

    const ended = await operate('fail', id)
    expect([ended.code, ended.output]).toEqual([0, `${id} is settled: failed.`])
    expect(await client.read(id)).toMatchObject({
      status: 'failed',
      failure: { code: 'internal_error' },
    })
    const again = await client.send(request, { key })
    expect([again.text, again.headers.get('payonce-status')]).toEqual([first.text, 'failed'])
    expect((await operate('list')).output).toBe('')
    await cure()
    expect(await payonce.balanceOf(source)).toBe(10)
    await assertBooksHold(db)
    const { findings } = await verify({ pool: db, ledgerSecret: secret.LEDGER_SECRET })
    expect(findings.filter(({ faults }) => faults > 0)).toEqual([])
  })
})

/** A transfer of 1 from the world to the merchant. */
function fromWorld({ world, merchant }: Payonce): TransferRequest {
  return { source: world, destination: merchant, amount: 1 }
}

/** Returns what puts it back. */
async function takeAccountAway({ db }: Payonce, account: string): Promise<() => Promise<void>> {
  const { rows } = await db.query<{ account: object }>(
    'DELETE FROM accounts WHERE id = $1 RETURNING to_json(accounts) AS account',
    [uuidOf(account)],
  )
  return async () => {
    await db.query('INSERT INTO accounts SELECT * FROM json_populate_record(NULL::accounts, $1)', [
      JSON.stringify(rows[0]?.account),
    ])
  }
}

async function startDoomedApi(payonce: Payonce) {
  const api = await startApi(environmentOf(payonce.stores))
  return { ...api, client: createClient(api.url, payonce.apiKey) }
}

async function acceptedUnder({ db }: Payonce, key: string): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT resource_id AS id FROM idempotency_keys WHERE idempotency_key = $1',
    [key],
  )
  return rows[0] && transferIdOf(rows[0].id)
}

async function watchJobs({ stores }: Payonce, environment: Environment) {
  const queue = createSettlementQueue({
    databaseUrl: stores.databaseUrl,
    redisUrl: environment['REDIS_URL'],
    namespace: stores.namespace,
    onError: () => undefined,
  })
  onTestFinished(() => queue.close())
  // A producer on Redis does not wait for its connection.
  await until('the queue answers', () =>
    queue
      .count()
      .then(() => true)
      .catch(() => false),
  )
  return queue
}

/** A Postgres for one test alone, which may be crashed. */
async function startOwnPostgres() {
  const dataDir = await mkdtemp(join(tmpdir(), 'payonce-test-'))
  const start = (port: number) => startEmbeddedPostgres({ dataDir, port, log: () => undefined })
  let server = await start(0)
  onTestFinished(async () => {
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  const { url, port } = server
  return {
    url,
    /** An immediate shutdown: nothing is finished and nothing written, as at a loss of power. */
    crash: async () => {
      process.kill(server.pid, 'SIGQUIT')
      await server.exited
    },
    start: async () => {
      server = await start(port)
    },
  }
}

async function openInstallation(databaseUrl: string) {
  const namespace = 'payonce_queue'
  await migrateDatabase({ databaseUrl })
  await migrateQueue({ databaseUrl, namespace })
  const db = createPool({ databaseUrl, name: 'test', maxConnections: 2, onError: () => undefined })
  onTestFinished(() => db.end())
  return { db, environment: { DATABASE_URL: databaseUrl, QUEUE_NAMESPACE: namespace } }
}
