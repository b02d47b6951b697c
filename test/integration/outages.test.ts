import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { beforeEach, describe, expect, inject, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { createClient, newKey, type Answer } from '../support/client.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { startRedis } from '../support/redis.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import type { TransferOnWire } from '../support/wire.ts'

let payonce: Payonce

beforeEach(async () => {
  payonce = await startPayonce({ worker: false })
  return () => payonce.close()
})

const request = () => ({ source: payonce.world, destination: payonce.merchant, amount: 1 })

describe('a database that is away', () => {
  test('makes an acceptance 503, stores nothing, and leaves the key for later (I29)', async () => {
    const proxy = await startTcpProxy(payonce.stores.databaseUrl)
    const api = await payonce.startApi({ DATABASE_URL: proxy.url })
    const client = createClient(api.url, payonce.apiKey)
    expect((await client.send(request())).status).toBe(202)
    const key = newKey()
    proxy.cut()
    const refused = await client.post('/v1/transfers', { ...request(), currency: 'EUR' }, { key })
    expect([refused.status, refused.body.code, refused.body.retryable]).toEqual([
      503,
      'service_unavailable',
      true,
    ])
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]/)
    const read = await client.get('/v1/accounts')
    expect([read.status, read.body.code]).toEqual([503, 'service_unavailable'])
    const { rows } = await payonce.db.query(
      'SELECT FROM idempotency_keys WHERE idempotency_key = $1',
      [key],
    )
    expect(rows).toEqual([])

    proxy.restore()
    const accepted = await client.send(request(), { key })
    expect(accepted.status).toBe(202)
    expect(accepted.headers.get('idempotent-replayed')).toBeNull()
    await api.close()
  })
})

describe('database sessions that are ended in the midst of their work', () => {
  test('are an outage of a moment: no process ends, no answer is 500, nothing is lost (F11)', async () => {
    const { client, db } = payonce
    await payonce.startWorker()
    const sent: Answer<TransferOnWire>[] = []
    const sending = new AbortController()
    const senders = Array.from({ length: 8 }, async () => {
      while (!sending.signal.aborted) {
        const key = newKey()
        let answer = await client.send(request(), { key })
        while (answer.status === 503) answer = await client.send(request(), { key })
        sent.push(answer)
      }
    })
    let ended = 0
    for (let round = 0; round < 25; round++) {
      await sleep(40)
      const { rowCount } = await db.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name ~ '^payonce-(api|accept|worker)$'`,
      )
      ended += rowCount ?? 0
    }
    sending.abort()
    await Promise.all(senders)
    expect(ended).toBeGreaterThan(10)
    expect(new Set(sent.map(({ status }) => status))).toEqual(new Set([202]))
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(payonce.merchant)).toBe(sent.length)
    await assertBooksHold(db)
  })

  test('by a cut of the network are no more than that', async () => {
    const proxy = await startTcpProxy(payonce.stores.databaseUrl)
    const api = await payonce.startApi({ DATABASE_URL: proxy.url })
    await payonce.startWorker()
    const client = createClient(api.url, payonce.apiKey)
    for (let round = 0; round < 12; round++) {
      const answers = Array.from({ length: 20 }, async () => {
        const key = newKey()
        let answer = await client.send(request(), { key })
        while (answer.status === 503) answer = await client.send(request(), { key })
        return answer.status
      })
      await sleep(4 * round)
      proxy.cut()
      proxy.restore()
      expect(new Set(await Promise.all(answers))).toEqual(new Set([202]))
    }
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(payonce.merchant)).toBe(240)
    await assertBooksHold(payonce.db)
    await payonce.stopWorker()
    await api.close()
  })
})

describe('a queue that is away', () => {
  test('does not keep requests from being accepted, and they settle when it is back (I27)', async () => {
    const queue = await startQueueThatGoesAway()
    const api = await payonce.startApi(queue.environment)
    const client = createClient(api.url, payonce.apiKey)
    const metrics = () => api.metrics.registry.metrics()
    expect((await client.send(request())).status).toBe(202)
    await until('its job is queued', async () => /^payonce_queue_jobs 1$/m.test(await metrics()))
    await queue.goAway()
    const answers = await Promise.all(Array.from({ length: 30 }, () => client.send(request())))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    await until('their rings are given up', async () =>
      /^payonce_rings_left_total 30$/m.test(await metrics()),
    )
    await queue.comeBack()
    await payonce.db.query(
      `UPDATE idempotency_keys SET due_at = due_at - interval '10 s' WHERE due_at IS NOT NULL`,
    )
    await payonce.startWorker(queue.environment)
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(payonce.merchant)).toBe(31)
    await assertBooksHold(payonce.db)
    await payonce.stopWorker()
    await api.close()
  })
})

describe('a start', () => {
  test('while the queue is away succeeds, and the queue is used once it is there', async () => {
    const queue = await startQueueThatGoesAway()
    await queue.goAway()
    const api = await payonce.startApi(queue.environment)
    const worker = await payonce.startWorker(queue.environment)
    const client = createClient(api.url, payonce.apiKey)
    const linesBefore = payonce.log.length
    const accepted = await client.send(request())
    expect(accepted.status).toBe(202)
    // Whatever tries to reach the queue meanwhile leaves the processor to others between its tries.
    await until('the sweep has failed for want of a queue', () =>
      payonce.log.some((line) => line.includes('what is due could not be rung')),
    )
    expect(payonce.log.length - linesBefore).toBeLessThan(100)

    await queue.comeBack()
    await until('a ring is answered by a settlement', async () => {
      const { body } = await client.send(request(), { wait: 1 })
      return body.status === 'succeeded'
    })
    expect(await worker.metrics.registry.metrics()).toMatch(/^payonce_sweep_rescues_total 0$/m)
    await payonce.untilAllSettled()
    await assertBooksHold(payonce.db)
    await payonce.stopWorker()
    await api.close()
  }, 40_000)

  test('that is cut from its stores at any moment leaves no process behind that never works', async () => {
    const proxy = await startTcpProxy(payonce.stores.redisUrl ?? payonce.stores.databaseUrl)
    const environment =
      payonce.stores.redisUrl === undefined ? { DATABASE_URL: proxy.url } : { REDIS_URL: proxy.url }
    for (const cutAfterMs of [0, 2, 4, 8, 16]) {
      const api = await payonce.startApi(environment)
      await payonce.startWorker(environment)
      await sleep(cutAfterMs)
      proxy.cut()
      proxy.restore()
      const client = createClient(api.url, payonce.apiKey)
      await until('a ring is answered by a settlement', async () => {
        const { body } = await client.send(request(), { wait: 1 })
        return body.status === 'succeeded'
      })
      await payonce.stopWorker()
      await api.close()
    }
  }, 60_000)
})

async function startQueueThatGoesAway(): Promise<{
  environment: Record<string, string>
  goAway(): Promise<unknown>
  comeBack(): Promise<unknown>
}> {
  if (inject('queueBackend') === 'redis') {
    const redis = await startRedis()
    return {
      environment: { REDIS_URL: redis.url },
      goAway: () => redis.kill(),
      comeBack: () => redis.restart(),
    }
  }
  const { db, stores } = payonce
  const schema = pg.escapeIdentifier(stores.namespace)
  return {
    environment: {},
    goAway: () => db.query(`ALTER SCHEMA ${schema} RENAME TO away`),
    comeBack: () => db.query(`ALTER SCHEMA away RENAME TO ${schema}`),
  }
}
