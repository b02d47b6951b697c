import { request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createWatcher, type Watcher } from '@payonce/core/transfers/watch'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { newKey } from '../support/client.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { acceptUnrung, startSettlers, type LoneSettler } from '../support/settlers.ts'
import { until } from '../support/until.ts'
import type { TransferRef } from '@payonce/core/ids'

let payonce: Payonce
let watcher: Watcher
/** What the watcher has asked the database, and how much of it at a time at most. */
let asked: { queries: number; atATime: number; mostAtATime: number }

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

beforeEach(() => {
  asked = { queries: 0, atATime: 0, mostAtATime: 0 }
  watcher = createWatcher({ db: countingPool(), maxWaiting: 150, onError: () => undefined })
  return () => watcher.stop()
})

function countingPool(): Payonce['db'] {
  const { db } = payonce
  const query = async (...parameters: Parameters<typeof db.query>): Promise<unknown> => {
    asked.queries += 1
    asked.atATime += 1
    asked.mostAtATime = Math.max(asked.mostAtATime, asked.atATime)
    try {
      return await Promise.resolve(db.query(...parameters))
    } finally {
      asked.atATime -= 1
    }
  }
  return { query } as unknown as Payonce['db']
}

const accept = (count: number): Promise<TransferRef[]> =>
  acceptUnrung(
    payonce,
    Array.from({ length: count }, () => ({
      source: payonce.world,
      destination: payonce.merchant,
      amount: 1,
    })),
  )

describe('a watcher of settlements', () => {
  test('asks one question at a time for a hundred who wait, and answers each with its own', async () => {
    const [settler] = startSettlers(1, payonce.stores.databaseUrl) as [LoneSettler]
    const refs = await accept(100)
    const startedAt = performance.now()
    const waiting = refs.map((ref) => watcher.wait(ref, { timeoutMs: 20_000 }))
    await until('it has looked a few times', () => asked.queries >= 5)
    expect(watcher.waiting).toBe(100)
    await settler.settle(refs)
    const transfers = await Promise.all(waiting)
    const elapsedMs = performance.now() - startedAt
    expect(transfers.map((transfer) => transfer?.id)).toEqual(
      refs.map(({ transferId }) => transferId),
    )
    expect(transfers.every((transfer) => transfer?.status === 'succeeded')).toBe(true)
    expect(asked.mostAtATime).toBe(1)
    // A tick is 4 ms at least: with a query for each who waits it would be a hundred times as many.
    expect(asked.queries).toBeLessThanOrEqual(elapsedMs / 4 + 1)
  })

  test('asks nothing while nobody waits', async () => {
    const [settler] = startSettlers(1, payonce.stores.databaseUrl) as [LoneSettler]
    await sleep(150)
    expect(asked.queries).toBe(0)
    const [ref] = (await accept(1)) as [TransferRef]
    const waiting = watcher.wait(ref, { timeoutMs: 20_000 })
    await settler.settle([ref])
    expect(await waiting).toMatchObject({ status: 'succeeded' })
    const { queries } = asked
    await sleep(300)
    expect(asked.queries).toBe(queries)
  })

  test('gives up when the time of one is over, and goes on for the others', async () => {
    const [settler] = startSettlers(1, payonce.stores.databaseUrl) as [LoneSettler]
    const [early, late] = (await accept(2)) as [TransferRef, TransferRef]
    const patient = watcher.wait(late, { timeoutMs: 20_000 })
    expect(await watcher.wait(early, { timeoutMs: 30 })).toBeUndefined()
    expect(watcher.waiting).toBe(1)
    await settler.settle([early, late])
    expect(await patient).toMatchObject({ id: late.transferId })
  })

  test('forgets a client that has gone', async () => {
    const [ref] = (await accept(1)) as [TransferRef]
    const client = new AbortController()
    const waiting = watcher.wait(ref, { timeoutMs: 20_000, signal: client.signal })
    await until('it has begun to look', () => asked.queries > 0)
    client.abort()
    expect(await waiting).toBeUndefined()
    expect(watcher.waiting).toBe(0)
    expect(await watcher.wait(ref, { timeoutMs: 20_000, signal: client.signal })).toBeUndefined()
  })

  test('does not answer one tenant with the transfer of another', async () => {
    const [settler] = startSettlers(1, payonce.stores.databaseUrl) as [LoneSettler]
    const [ref] = (await accept(1)) as [TransferRef]
    const stranger = { tenantId: payonce.newId(), transferId: ref.transferId }
    const [strangers, owners] = [
      watcher.wait(stranger, { timeoutMs: 500 }),
      watcher.wait(ref, { timeoutMs: 20_000 }),
    ]
    await settler.settle([ref])
    expect(await owners).toMatchObject({ status: 'succeeded' })
    expect(await strangers).toBeUndefined()
  })

  test('answers everybody at once when it stops, and whoever comes too many', async () => {
    const [ref] = (await accept(1)) as [TransferRef]
    const waiting = Array.from({ length: 150 }, () => watcher.wait(ref, { timeoutMs: 20_000 }))
    expect(await watcher.wait(ref, { timeoutMs: 20_000 })).toBeUndefined()
    expect(watcher.waiting).toBe(150)
    watcher.stop()
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([undefined]))
    expect(await watcher.wait(ref, { timeoutMs: 20_000 })).toBeUndefined()
  })
})

describe('a client that leaves while it waits', () => {
  test('is no longer waited for by the API', async () => {
    const { apiKey, world, merchant, api } = payonce
    const waitingClients = async () =>
      Number(
        /^payonce_waiting_clients (.*)$/m.exec(await api.metrics.registry.metrics())?.[1] ?? '-1',
      )
    const leaving = httpRequest(`${api.url}/v1/transfers`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'idempotency-key': newKey(),
        prefer: 'wait=30',
      },
    })
    leaving.on('error', () => undefined)
    leaving.end(
      JSON.stringify({ source: world, destination: merchant, amount: 1, currency: 'EUR' }),
    )
    await until('the client waits', async () => (await waitingClients()) === 1)
    leaving.destroy()
    await until('nobody waits', async () => (await waitingClients()) === 0)
  })
})
