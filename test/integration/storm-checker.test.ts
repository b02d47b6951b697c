import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readBooks } from '../../storm/books.ts'
import { check } from '../../storm/checker/check.ts'
import { newKey, type Answer } from '../support/client.ts'
import { startPayonce, type Payonce, type Tenant } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import { startReceiver } from '../support/webhook-receiver.ts'
import { isVerified, openEndpoint, reachable, type EventOnWire } from '../support/webhooks.ts'
import { createRandom, type Random } from '../unit/models/seeded-random.ts'
import type { Answered, HistoryRecord, Operation } from '../../storm/history.ts'
import type { ProblemOnWire, TransferOnWire } from '../support/wire.ts'

/*
 * What the checker takes for granted of the product — fingerprints, versions, ids and bytes of events —
 * is as it says: a small storm without faults over the real thing is found good.
 */

let payonce: Payonce
let tenants: Tenant[]
const history: HistoryRecord[] = []
const startedAt = performance.now()
const now = () => Math.round(performance.now() - startedAt)
let calls = 0

beforeAll(async () => {
  payonce = await startPayonce({ environment: reachable })
  tenants = [payonce, await payonce.addTenant('another')]
})

afterAll(() => payonce.close())

type Body = Partial<TransferOnWire & ProblemOnWire>

/** Sends one request and writes down what was asked and answered. */
async function perform(client: string, tenant: Tenant, operation: Operation): Promise<Body> {
  calls += 1
  const call = calls
  history.push({ type: 'invoked', at: now(), call, client, tenant: tenant.id, operation })
  const { status, headers, text, body } = await send(tenant, operation)
  const bodyHash = createHash('sha256').update(text).digest('hex')
  const payonceStatus = headers.get('payonce-status')
  const answered: Answered = {
    type: 'answered',
    at: now(),
    call,
    status,
    bodyHash,
    isReplay: headers.get('idempotent-replayed') === 'true',
    ...(body.id === undefined ? {} : { id: body.id }),
    ...(status < 300 && body.status !== undefined ? { transferStatus: String(body.status) } : {}),
    ...(body.code === undefined ? {} : { code: body.code }),
    ...(payonceStatus === null ? {} : { payonceStatus }),
  }
  history.push(answered)
  return body
}

function send({ client }: Tenant, operation: Operation): Promise<Answer<Body>> {
  if (operation.kind === 'read') return client.get<Body>(`/v1/transfers/${operation.target}`)
  if (operation.kind === 'cancel') {
    return client.post<Body>(`/v1/transfers/${operation.target}/cancel`)
  }
  const { key, body, route } = operation
  const path = route === '/v1/transfers' ? route : route.replace(':id', operation.target)
  return client.post<Body>(path, body, { key })
}

/** One client of one tenant: it sends, repeats, reads, cancels and builds on what it sent before. */
async function act(name: string, tenant: Tenant, random: Random): Promise<void> {
  const sent: { id: string; operation: Operation }[] = []
  const accounts = [tenant.world, tenant.alice, tenant.merchant]
  for (let turn = 0; turn < 25; turn += 1) {
    const known = sent[random.below(sent.length)]
    const roll = random.next()
    if (known === undefined || roll < 0.4) {
      const from = random.below(3)
      const source = accounts[from] ?? ''
      const destination = accounts[(from + 1 + random.below(2)) % 3] ?? ''
      const amount = 1 + random.below(100)
      const hold = random.happens(0.4) ? { hold: true } : {}
      const body = { source, destination, amount, currency: 'EUR', ...hold }
      const operation = { kind: 'post', route: '/v1/transfers', key: newKey(), body } as const
      const { id } = await perform(name, tenant, operation)
      if (id !== undefined) sent.push({ id, operation })
    } else if (roll < 0.5) await perform(name, tenant, known.operation)
    else if (roll < 0.55 && known.operation.kind === 'post') {
      const body = { ...known.operation.body, amount: 4_711 }
      await perform(name, tenant, { ...known.operation, body } as Operation)
    } else if (roll < 0.6) await perform(name, tenant, { kind: 'cancel', target: known.id })
    else if (roll < 0.8) {
      const what = random.pick(['capture', 'capture', 'release', 'refund'] as const)
      const amount =
        random.happens(0.5) && what !== 'release' ? { amount: 1 + random.below(50) } : {}
      const route = `/v1/transfers/:id/${what}` as const
      const key = newKey()
      await perform(name, tenant, { kind: 'post', route, target: known.id, key, body: amount })
    } else if (roll < 0.84) {
      const other = tenants.find(({ id }) => id !== tenant.id) ?? tenant
      await perform(name, other, { kind: 'read', target: known.id })
    } else await perform(name, tenant, { kind: 'read', target: known.id })
  }
}

async function takeSnapshot(): Promise<void> {
  const { rows } = await payonce.db.query<{ tenant: string; currency: string; balance: string }>(
    `SELECT tenant_id AS tenant, currency, sum(balance)::text AS balance FROM accounts
      GROUP BY tenant_id, currency`,
  )
  history.push({ type: 'snapshot', at: now(), sums: rows })
}

test('a storm without faults is found good, in the books of the real product', async () => {
  const receiver = await startReceiver()
  const endpoints = await Promise.all(
    tenants.map(({ client, id }) => openEndpoint(client, `${receiver.url}/${id}`)),
  )
  for (const tenant of tenants) {
    await tenant.client.send({ source: tenant.world, destination: tenant.alice, amount: 1_000 })
  }
  const clients = tenants.flatMap((tenant, index) =>
    [1, 2, 3].map((number) =>
      act(`client-${index}-${number}`, tenant, createRandom(index * 3 + number)),
    ),
  )
  await takeSnapshot()
  await Promise.all(clients)
  await payonce.untilAllSettled()
  await takeSnapshot()
  await until('every delivery has ended', async () => {
    const { rows } = await payonce.db.query<{ isDone: boolean }>(
      `SELECT (SELECT fanned_out FROM event_feed) >= (SELECT max(position) FROM events)
              AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE status = 'pending') AS "isDone"`,
    )
    return rows[0]?.isDone === true
  })
  for (const request of receiver.requests) {
    const endpoint = endpoints.find(({ url }) => url.endsWith(request.path))
    const event = JSON.parse(request.body) as EventOnWire
    history.push({
      type: 'webhook',
      at: now(),
      endpoint: endpoint?.id ?? '',
      mode: 'healthy',
      eventId: event.id,
      eventType: event.type,
      bodyHash: createHash('sha256').update(request.body).digest('hex'),
      isSignatureValid: isVerified(request, endpoint?.secret ?? ''),
      objectId: event.data.id,
      objectStatus: String(event.data['status']),
      answered: 200,
    })
  }
  const books = await readBooks(payonce.db)
  const { findings, notExercised, counts } = check(history, books)
  expect(findings.flatMap(({ violations }) => violations)).toEqual([])
  expect(notExercised).toEqual([])
  expect(counts.calls).toBe(calls)
})
