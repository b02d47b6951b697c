import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey } from '@payonce/core/tenants/api-key'
import { createClient, newKey } from '../support/client.ts'
import { startPayonce, type Payonce, type Tenant } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import { startReceiver } from '../support/webhook-receiver.ts'
import {
  isVerified,
  moveMoney,
  openEndpoint,
  reachable,
  readEndpoint,
  readFeedUntilNow,
  untilDeliveries,
  verified,
  type EndpointOnWire,
  type EndpointWithSecret,
} from '../support/webhooks.ts'
import type { ListOnWire } from '../support/wire.ts'

let payonce: Payonce
/** A new one for each test, so that its endpoints are told of nothing else. */
let tenant: Tenant

beforeAll(async () => {
  payonce = await startPayonce({ environment: reachable })
})

beforeEach(async ({ task }) => {
  tenant = await payonce.addTenant(task.id)
})

const path = '/v1/webhook-endpoints'
const publicUrl = 'https://shop.example.com/hook'

describe('setting up an endpoint', () => {
  test('tells the secret in that answer alone', async () => {
    const { client } = tenant
    const { status, headers, body } = await client.post<EndpointWithSecret>(path, {
      url: publicUrl,
      description: 'the shop',
      event_types: ['transfer.failed'],
    })
    expect(status).toBe(201)
    expect(headers.get('location')).toBe(`${path}/${body.id}`)
    expect(body).toMatchObject({ status: 'enabled', ed25519: false, public_key: null })
    expect(body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const { secret, ...shown } = body
    expect(await readEndpoint(client, body)).toEqual(shown)
    const list = await client.get<ListOnWire<EndpointOnWire>>(path)
    expect(list.body.data).toEqual([shown])
    expect(list.text).not.toContain(secret)
  })

  test('under a key makes one, and a repetition is answered with the same bytes', async () => {
    const { client } = tenant
    const key = newKey()
    const first = await client.post(path, { url: publicUrl }, { key })
    const again = await client.post(path, { url: publicUrl }, { key })
    expect([again.status, again.text]).toEqual([201, first.text])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    const other = await client.post(path, { url: `${publicUrl}/2` }, { key })
    expect([other.status, other.body.code]).toEqual([422, 'idempotency_key_reused'])
    expect((await client.get<ListOnWire<EndpointOnWire>>(path)).body.data).toHaveLength(1)
  })

  test('is refused for the 51st', async () => {
    const { client } = tenant
    for (let n = 0; n < 50; n++) {
      expect((await client.post(path, { url: `${publicUrl}/${n}` })).status).toBe(201)
    }
    const { status, body } = await client.post(path, { url: publicUrl })
    expect([status, body.code]).toEqual([409, 'too_many_endpoints'])
  })

  test.each([
    ['http://10.0.0.1/', '/url'],
    ['https://169.254.169.254/latest/meta-data', '/url'],
  ])('is refused for a place that is not public: %s (B31)', async (url, param) => {
    const { client } = tenant
    const made = await client.post(path, { url })
    expect([made.status, made.body.code, made.body.param]).toEqual([422, 'url_not_allowed', param])
    const { id } = await openEndpoint(client, publicUrl)
    const changed = await client.patch(`${path}/${id}`, { url })
    expect([changed.status, changed.body.code]).toEqual([422, 'url_not_allowed'])
    expect((await readEndpoint(client, { id })).url).toBe(publicUrl)
  })

  test.each([
    [{ url: publicUrl, event_types: ['transfer.vanished'] }, '/event_types/0'],
    [{ url: publicUrl, event_types: [] }, '/event_types'],
    [{ url: publicUrl, rate_limit: 0 }, '/rate_limit'],
    [{ url: publicUrl, secret: 'mine' }, '/secret'],
    [{}, '/url'],
  ])('is refused where its shape is wrong: %j', async (body, param) => {
    const answer = await tenant.client.post(path, body)
    expect([answer.status, answer.body.param]).toEqual([400, param])
  })
})

describe('an endpoint', () => {
  test('is sent the types that it asked for, and no others', async () => {
    const { client } = tenant
    const [all, some] = [await startReceiver(), await startReceiver()]
    await openEndpoint(client, all.url, { event_types: ['account.created', 'transfer.succeeded'] })
    await openEndpoint(client, some.url, { event_types: ['account.created'] })
    await moveMoney(tenant)
    await client.post('/v1/accounts', { currency: 'EUR' })
    await all.untilReceived(2)
    await some.untilReceived(1)
    const types = some.requests.map(({ body }) => (JSON.parse(body) as { type: string }).type)
    expect(types).toEqual(['account.created'])
  })

  test('that is changed is as it was sent, and nothing else of it', async () => {
    const { client } = tenant
    const { secret: _, ...before } = await openEndpoint(client, publicUrl)
    const change = { description: 'new', rate_limit: 7, event_types: ['transfer.held'] }
    const { body } = await client.patch<EndpointOnWire>(`${path}/${before.id}`, change)
    expect(body).toEqual({ ...before, ...change })
    const disabled = await client.patch<EndpointOnWire>(`${path}/${before.id}`, {
      status: 'disabled',
    })
    expect(disabled.body).toMatchObject({ status: 'disabled', disabled_reason: 'requested' })
    const enabled = await client.patch<EndpointOnWire>(`${path}/${before.id}`, {
      status: 'enabled',
    })
    expect(enabled.body).toEqual({ ...before, ...change })
  })

  test('with another URL is judged by it alone, whatever the old one answers at last', async () => {
    const { client } = tenant
    const [before, after] = [
      await startReceiver({ status: 410, delayMs: 700 }),
      await startReceiver(),
    ]
    const { id } = await openEndpoint(client, before.url, { event_types: ['transfer.succeeded'] })
    await moveMoney(tenant)
    await before.untilReceived(1)
    await client.patch(`${path}/${id}`, { url: after.url })
    const [told] = await after.untilReceived(1)
    expect(told?.headers['webhook-id']).toBe(before.requests[0]?.headers['webhook-id'])
    // The old one has answered 410 by then, which would have disabled it.
    await sleep(1_000)
    expect(await readEndpoint(client, { id })).toMatchObject({
      status: 'enabled',
      health: { state: 'healthy', failures: 0 },
    })
  })

  test('ends an older secret too when it asks for no overlap', async () => {
    const { client } = tenant
    const receiver = await startReceiver()
    const { id, secret } = await openEndpoint(client, receiver.url, {
      event_types: ['transfer.succeeded'],
    })
    for (const overlap of [3_600, 0]) {
      await client.post(`${path}/${id}/rotate-secret`, { overlap_seconds: overlap })
    }
    await moveMoney(tenant)
    const [told] = await receiver.untilReceived(1)
    expect(told?.headers['webhook-signature']?.split(' ')).toHaveLength(1)
    expect(told && isVerified(told, secret)).toBe(false)
  })

  test('that is deleted is gone, and what waited for it is skipped', async () => {
    const { client } = tenant
    const receiver = await startReceiver({ status: 500 })
    const endpoint = await openEndpoint(client, receiver.url, {
      event_types: ['transfer.succeeded'],
    })
    await moveMoney(tenant)
    await receiver.untilReceived(1)
    expect((await client.request('DELETE', `${path}/${endpoint.id}`)).status).toBe(204)
    expect((await client.get(`${path}/${endpoint.id}`)).status).toBe(404)
    expect((await client.request('DELETE', `${path}/${endpoint.id}`)).status).toBe(404)
    await untilDeliveries(client, endpoint, 'skipped', ([one]) => one?.status === 'skipped')
  })

  test('with a new secret is sent both signatures until the old one has ended', async () => {
    const { client } = tenant
    const receiver = await startReceiver()
    const endpoint = await openEndpoint(client, receiver.url, {
      event_types: ['transfer.succeeded'],
    })
    const rotate = (overlap: number) =>
      client.post<EndpointWithSecret>(`${path}/${endpoint.id}/rotate-secret`, {
        overlap_seconds: overlap,
      })
    const second = (await rotate(3_600)).body.secret
    await moveMoney(tenant)
    const [overlapping] = await receiver.untilReceived(1)
    if (overlapping === undefined) throw new Error('nothing came')
    expect(isVerified(overlapping, endpoint.secret)).toBe(true)
    expect(isVerified(overlapping, second)).toBe(true)

    const third = (await rotate(0)).body.secret
    await moveMoney(tenant)
    const [, last] = await receiver.untilReceived(2)
    if (last === undefined) throw new Error('nothing came')
    expect([isVerified(last, second), isVerified(last, third)]).toEqual([false, true])
    const ended = await client.post(path, { url: publicUrl, secret: third })
    expect(ended.status).toBe(400)
  })

  test('is signed by ed25519 besides for as long as it asks for that', async () => {
    const { client } = tenant
    const receiver = await startReceiver()
    const { id, public_key: publicKey } = await openEndpoint(client, receiver.url, {
      ed25519: true,
      event_types: ['transfer.succeeded'],
    })
    expect(publicKey).toMatch(/^whpk_/)
    await moveMoney(tenant)
    await receiver.untilReceived(1)
    await client.patch(`${path}/${id}`, { ed25519: false })
    await moveMoney(tenant)
    const requests = await receiver.untilReceived(2)
    const schemes = requests.map(({ headers }) =>
      headers['webhook-signature']?.split(' ').map((one) => one.split(',')[0]),
    )
    expect(schemes.map((one) => one?.toSorted())).toEqual([['v1', 'v1a'], ['v1']])
    expect((await readEndpoint(client, { id })).public_key).toBeNull()
  })

  test('alone gets the test that was asked for', async () => {
    const { client } = tenant
    const [tested, other] = [await startReceiver(), await startReceiver()]
    const { id, secret } = await openEndpoint(client, tested.url)
    await openEndpoint(client, other.url)
    expect((await client.post(`${path}/${id}/test`)).status).toBe(202)
    const [request] = await tested.untilReceived(1)
    if (request === undefined) throw new Error('nothing came')
    expect(verified(request, secret)).toMatchObject({
      type: 'webhook_endpoint.tested',
      data: { id, url: tested.url },
    })
    await readFeedUntilNow(client)
    const types = other.requests.map(({ body }) => (JSON.parse(body) as { type: string }).type)
    expect(types).not.toContain('webhook_endpoint.tested')
  })

  test('of another tenant is not found, in the same words as one that never was (B25)', async () => {
    const { id } = await openEndpoint(tenant.client, publicUrl)
    const { client } = await payonce.addTenant('a stranger')
    const never = `we_${'0'.repeat(12)}7${'0'.repeat(3)}8${'0'.repeat(15)}`
    const ways = [
      (one: string) => client.get(`${path}/${one}`),
      (one: string) => client.patch(`${path}/${one}`, { description: 'x' }),
      (one: string) => client.request('DELETE', `${path}/${one}`),
      (one: string) => client.post(`${path}/${one}/test`),
      (one: string) => client.post(`${path}/${one}/rotate-secret`),
      (one: string) => client.post(`${path}/${one}/recoveries`, { since: '2026-01-01T00:00:00Z' }),
    ]
    for (const ask of ways) {
      const [theirs, none] = [await ask(id), await ask(never)]
      expect([theirs.status, none.status]).toEqual([404, 404])
      expect({ ...theirs.body, request_id: '' }).toEqual({ ...none.body, request_id: '' })
    }
    expect((await readEndpoint(tenant.client, { id })).description).toBeNull()
  })

  test('is not changed with a key that may only read (B24)', async () => {
    const { id } = await openEndpoint(tenant.client, publicUrl)
    const apiKey = await createApiKey(payonce.db, {
      id: payonce.newId(),
      tenantId: tenant.id,
      mode: 'test',
      scopes: ['read'],
    })
    const reader = createClient(payonce.api.url, apiKey)
    expect((await reader.get(`${path}/${id}`)).status).toBe(200)
    for (const answer of [
      await reader.post(path, { url: publicUrl }),
      await reader.patch(`${path}/${id}`, { description: 'x' }),
      await reader.request('DELETE', `${path}/${id}`),
      await reader.post('/v1/webhook-secret'),
    ]) {
      expect([answer.status, answer.body.code]).toEqual([403, 'insufficient_scope'])
    }
  })
})

describe('a callback_url', () => {
  test('is refused before there is a secret to sign with, and the key is not used up', async () => {
    const receiver = await startReceiver()
    const { client, world, alice } = tenant
    const request = { source: world, destination: alice, amount: 1, callback_url: receiver.url }
    const key = newKey()
    const refused = await client.send(request, { key })
    expect(refused.status).toBe(422)
    expect(refused.body).toMatchObject({
      code: 'callback_secret_missing',
      param: '/callback_url',
    })
    const { body } = await client.post<{ secret: string }>('/v1/webhook-secret')
    expect((await client.send(request, { key })).status).toBe(202)
    const [told] = await receiver.untilReceived(1)
    if (told === undefined) throw new Error('nothing came')
    expect(verified(told, body.secret)).toMatchObject({ type: 'transfer.succeeded' })
  })

  test('leads nowhere private, whatever secret there is (B31)', async () => {
    const { client, world, alice } = tenant
    await client.post('/v1/webhook-secret')
    const request = { source: world, destination: alice, amount: 1 }
    const { status, body } = await client.send({ ...request, callback_url: 'https://10.1.2.3/' })
    expect(status).toBe(422)
    expect(body).toMatchObject({ code: 'url_not_allowed', param: '/callback_url' })
  })

  test('of a batch is told when all of it is settled', async () => {
    const receiver = await startReceiver()
    const { client, world, alice } = tenant
    const { body } = await client.post<{ secret: string }>('/v1/webhook-secret')
    const item = { source: world, destination: alice, amount: 1 }
    const batch = await client.sendBatch({
      transfers: [item, item],
      callback_url: `${receiver.url}/batches?of=today`,
    })
    const [told] = await receiver.untilReceived(1)
    if (told === undefined) throw new Error('nothing came')
    expect(told.path).toBe('/batches?of=today')
    expect(verified(told, body.secret)).toMatchObject({
      type: 'transfer_batch.completed',
      data: { id: batch.body.id, counts: { succeeded: 2 }, total: 2 },
    })
  })

  test('arrives wherever it leads, when there are more places than have a health of their own', async () => {
    const { client } = tenant
    await client.post('/v1/webhook-secret')
    await payonce.db.query(
      `INSERT INTO webhook_endpoints (tenant_id, id, kind, url, rate_limit, status, created_at)
       SELECT $1, gen_random_uuid(), 'callback', 'https://' || n || '.example.com', 100, 'enabled', now()
         FROM generate_series(1, 999) AS n`,
      [tenant.id],
    )
    const receivers = [await startReceiver(), await startReceiver(), await startReceiver()]
    for (const { url } of receivers) {
      await moveMoney(tenant, { callback_url: `${url}/paid` })
    }
    for (const receiver of receivers) expect(await receiver.untilReceived(1)).toHaveLength(1)
    const { rows } = await payonce.db.query<{ url: string }>(
      `SELECT url FROM webhook_endpoints
        WHERE tenant_id = $1 AND url NOT LIKE '%.example.com' ORDER BY url`,
      [tenant.id],
    )
    expect(rows.map(({ url }) => url)).toEqual([receivers[0]?.url, 'https://others.invalid'])
  })

  test('is no endpoint: the list does not show it, and its deliveries name none', async () => {
    const receiver = await startReceiver()
    const { client } = tenant
    await client.post('/v1/webhook-secret')
    await moveMoney(tenant, { callback_url: receiver.url })
    await receiver.untilReceived(1)
    expect((await client.get<ListOnWire<EndpointOnWire>>(path)).body.data).toEqual([])
    await until('the delivery is logged', async () => {
      const { body } =
        await client.get<ListOnWire<{ endpoint: string | null; status: string }>>(
          '/v1/webhook-deliveries',
        )
      return body.data.some(({ endpoint, status }) => endpoint === null && status === 'succeeded')
    })
  })
})
