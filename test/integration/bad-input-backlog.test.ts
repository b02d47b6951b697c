import { beforeAll, describe, expect, it } from 'vitest'
import { createClient, newKey, type Client } from '../support/client.ts'
import { takeFootprint } from '../support/footprint.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import type { TransferOnWire } from '../support/wire.ts'

/* Table B of CONFORMANCE.md: more than can be settled. */

let payonce: Payonce
/** A client of an API that turns requests away at three jobs. */
let client: Client
/** A transfer that was accepted before it was too much. */
let first: { key: string; id: string; text: string }

const body = () => ({
  source: payonce.world,
  destination: payonce.merchant,
  amount: 1,
  currency: 'EUR',
})

const send = (change: object = {}, key = newKey()) =>
  client.post('/v1/transfers', { ...body(), ...change }, { key })

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
  const limited = await payonce.startApi({ BACKLOG_LIMIT: '3' })
  client = createClient(limited.url, payonce.apiKey)
  const key = newKey()
  const accepted = await client.post<TransferOnWire>('/v1/transfers', body(), { key })
  first = { key, id: accepted.body.id, text: accepted.text }
  await until('the backlog is full', async () => (await send()).status === 503)
})

describe('a backlog that is full', () => {
  it('B30: turns new requests away before anything of them is stored', async () => {
    const before = await takeFootprint(payonce)
    const key = newKey()
    for (const _ of [1, 2, 3]) {
      const refused = await send({}, key)
      expect(refused.status).toBe(503)
      expect(refused.headers.get('content-type')).toBe('application/problem+json')
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(refused.body).toMatchObject({ code: 'backlog_full', retryable: true })
    }
    expect(await takeFootprint(payonce)).toEqual(before)
    // The key was not used up: at an API without that limit it is a new one.
    const elsewhere = await payonce.client.post('/v1/transfers', body(), { key })
    expect(elsewhere.status).toBe(202)
    expect(elsewhere.headers.get('idempotent-replayed')).toBeNull()
  })

  it('B30: answers replays, and other requests under a known key, as ever', async () => {
    const before = await takeFootprint(payonce)
    const replay = await send({}, first.key)
    expect([replay.status, replay.text]).toEqual([202, first.text])
    expect(replay.headers.get('idempotent-replayed')).toBe('true')
    expect(replay.headers.get('payonce-status')).toBe('queued')
    const mismatch = await send({ amount: 2 }, first.key)
    expect([mismatch.status, mismatch.body.code]).toEqual([422, 'idempotency_key_reused'])
    expect(await takeFootprint(payonce)).toEqual(before)
  })

  it('B30: comes in its turn: behind the shape and the key, before what has to be looked up', async () => {
    const before = await takeFootprint(payonce)
    const unknown = payonce.merchant.replace(/.{12}$/, '0123456789ab')
    const cases: [what: string, status: number, code: string, change: object, key?: string][] = [
      ['shape', 400, 'invalid_amount', { amount: 0 }],
      ['key', 400, 'idempotency_key_invalid', {}, 'a,b'],
      ['account', 503, 'backlog_full', { source: unknown }],
      ['currency', 503, 'backlog_full', { currency: 'USD' }],
    ]
    for (const [what, status, code, change, key] of cases) {
      const refused = await send(change, key)
      expect([what, refused.status, refused.body.code]).toEqual([what, status, code])
    }
    expect(await takeFootprint(payonce)).toEqual(before)
  })

  it('B30: hinders nobody from reading, canceling and opening accounts', async () => {
    expect((await client.get(`/v1/transfers/${first.id}`)).status).toBe(200)
    expect((await client.get('/readyz')).status).toBe(200)
    expect((await client.post('/v1/accounts', { currency: 'EUR' })).status).toBe(201)
    expect((await client.post(`/v1/transfers/${first.id}/cancel`)).status).toBe(200)
  })

  it('B30: takes requests again when a worker has been at it', async () => {
    await payonce.startWorker()
    await payonce.untilAllSettled()
    await until('a request is accepted', async () => (await send()).status === 202)
    await payonce.untilAllSettled()
  })
})
