import { afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { createClient, newKey } from '../support/client.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { startRedis } from '../support/redis.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'

const backend = inject('queueBackend')
let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

afterEach(() => payonce.stopWorker())

const request = () => ({ source: payonce.world, destination: payonce.merchant, amount: 1 })

type Readiness = { status: string; database: string; queue: string; queue_backend: string }

const readiness = (url: string) => createClient(url, 'none').get<Readiness>('/readyz')

function valueOf(text: string, name: string): number | undefined {
  const match = new RegExp(`^${name.replaceAll(/[{}"]/g, '\\$&')} (.*)$`, 'm').exec(text)
  return match === null ? undefined : Number(match[1])
}

describe('the probes', () => {
  test('need no key', async () => {
    const stranger = createClient(payonce.api.url, 'none')
    const health = await stranger.get('/healthz')
    expect([health.status, health.text]).toEqual([200, '{"status":"ok"}'])
    const ready = await readiness(payonce.api.url)
    expect(ready.status).toBe(200)
    expect(ready.body).toEqual({
      status: 'ready',
      database: 'up',
      queue: 'up',
      queue_backend: backend,
    })
  })

  test('call an API unready while its database is away, and ready when it is back', async () => {
    const proxy = await startTcpProxy(payonce.stores.databaseUrl)
    const api = await payonce.startApi({ DATABASE_URL: proxy.url })
    const client = createClient(api.url, payonce.apiKey)
    expect((await readiness(api.url)).status).toBe(200)
    proxy.cut()
    const away = await readiness(api.url)
    expect(away.status).toBe(503)
    expect(away.body).toMatchObject({ status: 'not_ready', database: 'down' })
    expect((await client.get('/healthz')).status).toBe(200)

    proxy.restore()
    expect(await readiness(api.url)).toMatchObject({ status: 200, body: { database: 'up' } })
    await api.close()
  })

  if (backend === 'redis') {
    test('call an API ready while its queue is away, and say so', async () => {
      const redis = await startRedis()
      const api = await payonce.startApi({ REDIS_URL: redis.url })
      for (const [goAway, comeBack] of [
        [() => redis.freeze(), async () => redis.thaw()],
        [() => redis.kill(), () => redis.restart()],
      ] as const) {
        await until('the queue is up', async () => (await readiness(api.url)).body.queue === 'up')
        await goAway()
        const away = await readiness(api.url)
        expect(away.status).toBe(200)
        expect(away.body).toMatchObject({ status: 'ready', database: 'up', queue: 'down' })
        await comeBack()
      }
      await api.close()
    })
  }
})

describe('/metrics', () => {
  test('opens with any key of a tenant, and with nothing else', async () => {
    expect((await payonce.client.get('/metrics')).status).toBe(200)
    const stranger = await createClient(payonce.api.url, 'none').get('/metrics')
    expect([stranger.status, stranger.body.code]).toEqual([401, 'unauthorized'])
  })

  test('opens with METRICS_TOKEN alone, where one is set', async () => {
    const token = 'a token for the operator'.replaceAll(' ', '-')
    const api = await payonce.startApi({ METRICS_TOKEN: token })
    const ask = (apiKey: string) => createClient(api.url, apiKey).get('/metrics')
    expect((await ask(token)).status).toBe(200)
    for (const other of [payonce.apiKey, `${token}x`, token.slice(1)]) {
      const refused = await ask(other)
      expect([refused.status, refused.body.code]).toEqual([401, 'unauthorized'])
    }
    expect((await createClient(api.url, token).get('/v1/accounts')).status).toBe(401)
    await api.close()
  })

  test('tells what was accepted, replayed and settled', async () => {
    const { client, db } = payonce
    const poor = await payonce.openAccount()
    const before = (await client.get('/metrics')).text
    const key = newKey()
    const first = await client.send(request(), { key })
    await client.send(request(), { key })
    await client.send(request())
    const third = await client.send({ ...request(), source: poor })
    const canceled = await client.send(request())
    await client.post(`/v1/transfers/${canceled.body.id}/cancel`)
    const after = (await client.get('/metrics')).text
    const rise = (name: string) => (valueOf(after, name) ?? 0) - (valueOf(before, name) ?? 0)
    expect(rise('payonce_transfers_accepted_total')).toBe(4)
    expect(rise('payonce_requests_replayed_total')).toBe(1)
    expect(rise('payonce_acceptance_batch_size_sum')).toBeGreaterThanOrEqual(4)
    expect(
      rise(
        'payonce_http_request_duration_seconds_count{method="POST",route="/v1/transfers",status="202"}',
      ),
    ).toBe(5)

    const worker = await payonce.startWorker()
    await payonce.untilSettled(first.body.id)
    await payonce.untilSettled(third.body.id)
    await payonce.untilAllSettled()
    const ofWorker = await worker.metrics.registry.metrics()
    expect(
      valueOf(ofWorker, 'payonce_transfers_settled_total{status="succeeded"}'),
    ).toBeGreaterThanOrEqual(2)
    expect(valueOf(ofWorker, 'payonce_transfers_settled_total{status="failed"}')).toBe(1)
    expect(valueOf(ofWorker, 'payonce_transfers_parked_total')).toBe(0)
    expect(valueOf(ofWorker, 'payonce_settlement_batch_size_sum')).toBeGreaterThan(2)
    await assertBooksHold(db)
  })

  test('tells how the whole system is, from what the last sweep noted', async () => {
    const { client, db } = payonce
    await db.query(
      `UPDATE sweeps SET oldest_unsettled_at = clock_timestamp() - interval '100 s',
              swept_at = clock_timestamp() - interval '50 s', deferred_count = 7, audit_finds = 3`,
    )
    const { text } = await client.get('/metrics')
    const oldest = valueOf(text, 'payonce_oldest_unsettled_seconds')
    expect(oldest).toBeGreaterThanOrEqual(99)
    expect(oldest).toBeLessThan(130)
    expect(valueOf(text, 'payonce_last_sweep_seconds')).toBeGreaterThanOrEqual(49)
    expect(valueOf(text, 'payonce_deferred_transfers')).toBe(7)
    expect(valueOf(text, 'payonce_sweep_audit_finds')).toBe(3)
    expect(valueOf(text, 'payonce_waiting_clients')).toBe(0)
    expect(valueOf(text, 'payonce_pool_connections{pool="accept",state="waiting"}')).toBe(0)

    await payonce.startWorker()
    await until('a sweep has noted better', async () => {
      const now = (await client.get('/metrics')).text
      const isFresh = (valueOf(now, 'payonce_last_sweep_seconds') ?? 99) < 20
      return isFresh && valueOf(now, 'payonce_oldest_unsettled_seconds') === 0
    })
  })

  test('tells the jobs in the queue', async () => {
    const sent = await Promise.all(Array.from({ length: 3 }, () => payonce.client.send(request())))
    await until('all three are queued', async () => {
      const { text } = await payonce.client.get('/metrics')
      return valueOf(text, 'payonce_queue_jobs') === 3
    })
    await payonce.startWorker()
    await Promise.all(sent.map(({ body }) => payonce.untilSettled(body.id)))
    await until('the queue is empty', async () => {
      const { text } = await payonce.client.get('/metrics')
      return valueOf(text, 'payonce_queue_jobs') === 0
    })
  })

  test('is told without a look at any table that grows', async () => {
    const proxy = await startTcpProxy(payonce.stores.databaseUrl)
    const api = await payonce.startApi({ DATABASE_URL: proxy.url })
    const client = createClient(api.url, payonce.apiKey)
    const touchesBooks =
      /\b(from|join|into|update)\s+(transfers|entries|idempotency_keys|commands|accounts|deferred)\b/i
    const before = proxy.sent().length
    for (let n = 0; n < 3; n++) expect((await client.get('/metrics')).status).toBe(200)
    const statements = proxy.sent().slice(before)
    expect(statements).toMatch(/from sweeps/i)
    expect(statements).not.toMatch(touchesBooks)
    // The proxy does see statements that look at the books.
    await client.get('/v1/transfers')
    expect(proxy.sent().slice(before)).toMatch(touchesBooks)
    await api.close()
  })
})
