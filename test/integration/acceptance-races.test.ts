import { fingerprint } from '@payonce/core/idempotency/fingerprint'
import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { createClient, newKey, type Answer, type Client } from '../support/client.ts'
import { startPayonce, transferIdOf, uuidOf, type Payonce } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import type { ProblemOnWire, TransferOnWire } from '../support/wire.ts'

let payonce: Payonce
/** Two programs of the tenant, each at an API of its own. */
let clients: [Client, Client]

beforeAll(async () => {
  payonce = await startPayonce()
  const second = await payonce.startApi()
  clients = [payonce.client, createClient(second.url, payonce.apiKey)]
})

const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n))

describe('one key by 50 at once at two APIs', () => {
  test('makes one transfer, and all get its 202 with the same bytes (I21)', async () => {
    const destination = await payonce.openAccount()
    for (let round = 1; round <= 10; round++) {
      const key = newKey()
      const request = { source: payonce.world, destination, amount: 1 }
      const answers = await Promise.all(
        times(50, (n) => (clients[n % 2] ?? payonce.client).send(request, { key })),
      )
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
      expect(new Set(answers.map(({ headers }) => headers.get('location'))).size).toBe(1)
      const first = answers.filter(({ headers }) => headers.get('idempotent-replayed') === null)
      expect(first).toHaveLength(1)
    }
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(destination)).toBe(10)
    await assertBooksHold(payonce.db)
  })

  test('with two bodies carries one of them out, and the others are all 422 (I22)', async () => {
    const destination = await payonce.openAccount()
    let moved = 0
    for (let round = 0; round < 10; round++) {
      const key = newKey()
      const answers = await Promise.all(
        times(50, async (n) => {
          const amount = n % 3 === 0 ? 100 : 1
          const client = clients[n % 2] ?? payonce.client
          const answer = await client.send({ source: payonce.world, destination, amount }, { key })
          return { amount, answer }
        }),
      )
      const winners = answers.filter(({ answer }) => answer.status === 202)
      const losers = answers.filter(({ answer }) => answer.status !== 202)
      const won = winners[0]?.amount ?? 0
      expect(new Set(winners.map(({ answer }) => answer.text)).size).toBe(1)
      expect(new Set(winners.map(({ amount }) => amount))).toEqual(new Set([won]))
      expect(new Set(losers.map(({ answer }) => answer.status))).toEqual(new Set([422]))
      expect(winners.length).toBe(answers.filter(({ amount }) => amount === won).length)
      moved += won
    }
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(destination)).toBe(moved)
    await assertBooksHold(payonce.db)
  })
})

describe('the same keys at two APIs in opposite orders', () => {
  test('are accepted once each without a deadlock (F14)', async () => {
    const destination = await payonce.openAccount()
    const deadlocksBefore = await countDeadlocks()
    const request = { source: payonce.world, destination, amount: 1 }
    const keys = times(150, () => newKey())
    const answers = await Promise.all([
      ...keys.map((key) => clients[0].send(request, { key })),
      ...keys.toReversed().map((key) => clients[1].send(request, { key })),
    ])
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(150)
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(destination)).toBe(150)
    // Sessions tell their statistics within a second or so while they are idle.
    expect(await countDeadlocks()).toBe(deadlocksBefore)
  })
})

async function countDeadlocks(): Promise<bigint | undefined> {
  const { rows } = await payonce.db.query<{ deadlocks: bigint }>(
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  )
  return rows[0]?.deadlocks
}

describe('a key whose row somebody else has inserted and not committed', () => {
  test('is 409 after two seconds, while its neighbours are served, and then replays (I23)', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 6, currency: 'EUR' }
    const stranger = await insertUncommitted(key, request)
    try {
      let answer: Answer<TransferOnWire | ProblemOnWire> | undefined
      const contended = client.send(request, { key }).then((one) => (answer = one))
      await until('the request waits for the lock', () => isAnybodyBlockedBy(stranger.pid))
      const neighbours = await Promise.all(
        times(40, (n) =>
          (clients[n % 2] ?? client).send({ source: world, destination: merchant, amount: 1 }),
        ),
      )
      // The lock is still held and its request still unanswered: nobody has waited for it.
      expect(answer).toBeUndefined()
      expect(new Set(neighbours.map(({ status }) => status))).toEqual(new Set([202]))

      const refused = await contended
      expect(refused.status).toBe(409)
      expect(refused.body).toMatchObject({ code: 'idempotency_in_flight', retryable: true })
      expect(refused.headers.get('retry-after')).toMatch(/^[1-9]/)
    } finally {
      await stranger.commit()
    }
    const again = await client.send(request, { key })
    expect(again.status).toBe(202)
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(again.body.id).toBe(transferIdOf(stranger.transferId))
    await clearAccepted(stranger.transferId)
  })

  test('is accepted at once when the other one rolls back', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 6, currency: 'EUR' }
    const stranger = await insertUncommitted(key, request)
    const waiting = client.send(request, { key })
    await until('the request waits for the lock', () => isAnybodyBlockedBy(stranger.pid))
    await stranger.rollBack()
    const accepted = await waiting
    expect(accepted.status).toBe(202)
    expect(accepted.headers.get('idempotent-replayed')).toBeNull()
    expect(await payonce.untilSettled(accepted.body.id)).toMatchObject({ status: 'succeeded' })
  })

  test('keeps several of its own waiting together, and replays them all when it commits', async () => {
    const { client, world, merchant } = payonce
    const key = newKey()
    const request = { source: world, destination: merchant, amount: 6, currency: 'EUR' }
    const stranger = await insertUncommitted(key, request)
    const waiting = times(12, (n) => (clients[n % 2] ?? client).send(request, { key }))
    await until('the requests wait for the lock', () => isAnybodyBlockedBy(stranger.pid))
    await stranger.commit()
    const answers = await Promise.all(waiting)
    expect(answers.map(({ status, body }) => [status, body.id])).toEqual(
      answers.map(() => [202, transferIdOf(stranger.transferId)]),
    )
    await clearAccepted(stranger.transferId)
  })
})

/** An acceptance of this very request that hangs between its insert and its commit. */
async function insertUncommitted(
  key: string,
  request: { source: string; destination: string; amount: number; currency: string },
) {
  const { db, id: tenantId, newId } = payonce
  const transferId = newId()
  const connection = await db.connect()
  await connection.query('BEGIN')
  await connection.query(
    `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                   accepted_at, due_at)
     VALUES ($1, $2, $3, 'transfer', $4, now(), now())`,
    [
      tenantId,
      key,
      fingerprint({ method: 'POST', route: '/v1/transfers', body: request }),
      transferId,
    ],
  )
  await connection.query(
    `INSERT INTO commands (tenant_id, id, idempotency_key, accepted_at, due_at, command)
     VALUES ($1, $2, $3, now(), now(), $4)`,
    [
      tenantId,
      transferId,
      key,
      JSON.stringify({
        v: 1,
        kind: 'transfer',
        ...request,
        source: uuidOf(request.source),
        destination: uuidOf(request.destination),
      }),
    ],
  )
  const { rows } = await connection.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  const end = async (statement: string) => {
    await connection.query(statement)
    connection.release()
  }
  return {
    transferId,
    pid: rows[0]?.pid ?? 0,
    commit: () => end('COMMIT'),
    rollBack: () => end('ROLLBACK'),
  }
}

async function isAnybodyBlockedBy(pid: number): Promise<boolean> {
  const { rows } = await payonce.db.query<{ blocked: bigint }>(
    `SELECT count(*) AS blocked FROM pg_stat_activity
      WHERE $1 = ANY(pg_blocking_pids(pid))`,
    [pid],
  )
  return (rows[0]?.blocked ?? 0n) > 0n
}

/** Nobody rang for it; it is settled by the sweep, which a cancel spares the test. */
async function clearAccepted(transferId: string): Promise<void> {
  await payonce.client.post(`/v1/transfers/${transferIdOf(transferId)}/cancel`)
  await assertBooksHold(payonce.db)
}
