import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newKey } from '../support/client.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { until } from '../support/until.ts'

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

/** With the worker stopped, nothing settles before a test says so. */
beforeEach(() => payonce.stopWorker())

const request = () => ({ source: payonce.world, destination: payonce.merchant, amount: 1 })

/** Resolves when a client is held back by the API. */
const untilSomebodyWaits = () =>
  until('somebody waits', async () => {
    const metrics = await payonce.api.metrics.registry.metrics()
    return /^payonce_waiting_clients [1-9]/m.test(metrics)
  })

describe('Prefer: wait on POST', () => {
  test('holds the answer back until the transfer is settled, and gives it with 200', async () => {
    const answer = payonce.client.send(request(), { wait: 20 })
    await untilSomebodyWaits()
    await payonce.startWorker()
    const { status, headers, body } = await answer
    expect(status).toBe(200)
    expect(body.status).toBe('succeeded')
    expect(body.settled_at).not.toBeNull()
    expect(headers.get('preference-applied')).toBe('wait=20')
    expect(headers.get('location')).toBe(`/v1/transfers/${body.id}`)
    expect(headers.get('retry-after')).toBeNull()
  })

  test('gives the 202 of the acceptance when the time is over', async () => {
    const key = newKey()
    const answer = await payonce.client.send(request(), { key, wait: 1 })
    expect(answer.status).toBe(202)
    expect(answer.body.status).toBe('queued')
    expect(answer.headers.get('preference-applied')).toBe('wait=1')
    expect(answer.headers.get('retry-after')).toBe('1')
    expect((await payonce.client.send(request(), { key })).text).toBe(answer.text)
  })

  test('of a replay waits too, and gives what the first one became', async () => {
    const key = newKey()
    const first = await payonce.client.send(request(), { key })
    const again = payonce.client.send(request(), { key, wait: 20 })
    await untilSomebodyWaits()
    await payonce.startWorker()
    const { status, headers, body } = await again
    expect([status, body.status, body.id]).toEqual([200, 'succeeded', first.body.id])
    expect(headers.get('idempotent-replayed')).toBe('true')
  })

  test('ends with the refusal of a transfer that fails', async () => {
    const source = await payonce.openAccount()
    await payonce.startWorker()
    const { status, body } = await payonce.client.send({ ...request(), source }, { wait: 20 })
    expect([status, body.status, body.failure?.code]).toEqual([200, 'failed', 'insufficient_funds'])
  })

  test('of more than 30 seconds is cut to 30, and says so', async () => {
    await payonce.startWorker()
    const { headers } = await payonce.client.send(request(), { wait: 3_600 })
    expect(headers.get('preference-applied')).toBe('wait=30')
  })

  test('is no part of the request that a key stands for', async () => {
    await payonce.startWorker()
    const key = newKey()
    const waited = await payonce.client.send(request(), { key, wait: 20 })
    const replayed = await payonce.client.send(request(), { key })
    expect([replayed.status, replayed.body.id]).toEqual([202, waited.body.id])
  })

  test.each(['wait=', 'wait=soon', 'wait=-1', 'wait=1.5'])(
    'of %s is refused before anything is accepted',
    async (prefer) => {
      const key = newKey()
      const refused = await payonce.client.send(request(), { key, headers: { prefer } })
      expect(refused.body).toMatchObject({ status: 400, code: 'invalid_parameter' })
      const accepted = await payonce.client.send(request(), { key })
      expect(accepted.headers.get('idempotent-replayed')).toBeNull()
    },
  )

  test.each(['respond-async', 'return=minimal, handling=lenient'])(
    'that asks for other things (%s) is ignored, as RFC 7240 wants it',
    async (prefer) => {
      const answer = await payonce.client.send(request(), { headers: { prefer } })
      expect(answer.status).toBe(202)
      expect(answer.headers.get('preference-applied')).toBeNull()
    },
  )
})

describe('Prefer: wait on GET', () => {
  test('holds the answer back until the transfer is settled', async () => {
    const { body: queued } = await payonce.client.send(request())
    const answer = payonce.client.get(`/v1/transfers/${queued.id}`, { wait: 20 })
    await untilSomebodyWaits()
    await payonce.startWorker()
    const { status, headers, body } = await answer
    expect(status).toBe(200)
    expect(body).toMatchObject({ id: queued.id, status: 'succeeded' })
    expect(headers.get('preference-applied')).toBe('wait=20')
    expect(headers.get('retry-after')).toBeNull()
  })

  test('gives the queued transfer with 200 when the time is over', async () => {
    const { body: queued } = await payonce.client.send(request())
    const answer = await payonce.client.get(`/v1/transfers/${queued.id}`, { wait: 1 })
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual(queued)
    expect(answer.headers.get('preference-applied')).toBe('wait=1')
    expect(answer.headers.get('retry-after')).toBe('1')
  })

  test('ends with a cancel as well', async () => {
    const { body: queued } = await payonce.client.send(request())
    const answer = payonce.client.get(`/v1/transfers/${queued.id}`, { wait: 20 })
    await untilSomebodyWaits()
    await payonce.client.post(`/v1/transfers/${queued.id}/cancel`)
    expect((await answer).body).toMatchObject({ status: 'canceled' })
  })

  test('of an unknown transfer is 404 at once', async () => {
    const { status } = await payonce.client.get(`/v1/transfers/tr_${'0'.repeat(32)}`, { wait: 20 })
    expect(status).toBe(404)
  })
})

describe('GET of a transfer', () => {
  test('carries a strong ETag that changes when it settles, and answers 304 while it is the same', async () => {
    const { client } = payonce
    const { body } = await client.send(request())
    const path = `/v1/transfers/${body.id}`
    const queued = await client.get(path)
    const queuedTag = queued.headers.get('etag') ?? ''
    expect(queuedTag).toMatch(/^"[\w-]+"$/)
    expect(queued.headers.get('retry-after')).toBe('1')
    const unchanged = await client.get(path, { headers: { 'if-none-match': queuedTag } })
    expect([unchanged.status, unchanged.text]).toEqual([304, ''])
    expect(unchanged.headers.get('etag')).toBe(queuedTag)

    await payonce.startWorker()
    await payonce.untilSettled(body.id)
    const settled = await client.get(path, { headers: { 'if-none-match': queuedTag } })
    expect(settled.status).toBe(200)
    const settledTag = settled.headers.get('etag') ?? ''
    expect(settledTag).not.toBe(queuedTag)
    for (const header of [settledTag, `W/${settledTag}`, `"other", ${settledTag}`, '*']) {
      const same = await client.get(path, { headers: { 'if-none-match': header } })
      expect(same.status).toBe(304)
    }
  })

  test.each(['?wait=1', '?expand=events'])('refuses %s', async (query) => {
    const { body } = await payonce.client.send(request())
    const refused = await payonce.client.get(`/v1/transfers/${body.id}${query}`)
    expect([refused.status, refused.body.code]).toEqual([400, 'invalid_parameter'])
  })
})
