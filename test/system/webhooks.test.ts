import { createPool } from '@payonce/core/db/client'
import { freePort } from '@payonce/local/loopback-port'
import { describe, expect, it } from 'vitest'
import { newKey } from '../support/client.ts'
import { createDatabase } from '../support/database.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { startProgram, startWorker, type RunningProcess } from '../support/processes.ts'
import { environmentOf } from '../support/stores.ts'
import { until } from '../support/until.ts'
import { startReceiver, type ReceivedRequest } from '../support/webhook-receiver.ts'

/* What needs real processes: workers that are killed, and the example for those who receive. */

const environment = { WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' }

async function subscribe(payonce: Payonce, url: string): Promise<{ id: string; secret: string }> {
  const { status, body } = await payonce.client.post<{ id: string; secret: string }>(
    '/v1/webhook-endpoints',
    { url, event_types: ['transfer.succeeded'] },
  )
  expect(status).toBe(201)
  return body
}

async function pay(payonce: Payonce, amount: number): Promise<string> {
  const request = { source: payonce.world, destination: payonce.alice, amount }
  const { body } = await payonce.client.send(request, { key: newKey() })
  return body.id
}

const startAnotherWorker = (payonce: Payonce): Promise<RunningProcess> =>
  startWorker({ ...environmentOf(payonce.stores), ...environment })

/** A transfer's events carry its id, so that a receiver can be asked what it was told. */
const toldOf = (requests: readonly ReceivedRequest[], transferId: string) =>
  requests
    .filter(({ body }) => body.includes(transferId))
    .map(({ headers }) => headers['webhook-id'])

describe('F18: a worker that is killed', () => {
  it('before the receiver has answered: the event is sent again, under the same id', async () => {
    const payonce = await startPayonce({ worker: false, environment })
    const receiver = await startReceiver('hang')
    await subscribe(payonce, receiver.url)
    const doomed = await startAnotherWorker(payonce)
    const id = await pay(payonce, 100)
    await receiver.untilReceived(1)
    doomed.kill('SIGKILL')
    receiver.react = {}
    await startAnotherWorker(payonce)

    await until('it is sent again', () => toldOf(receiver.requests, id).length > 1, {
      withinMs: 60_000,
    })
    expect(new Set(toldOf(receiver.requests, id)).size).toBe(1)
    expect(new Set(receiver.requests.map(({ body }) => body)).size).toBe(1)
  })

  it('after the receiver has answered: nothing is lost, and what comes again has the same id', async () => {
    const payonce = await startPayonce({ worker: false, environment })
    const doomed = await startAnotherWorker(payonce)
    const receiver = await startReceiver(() => {
      // The answer is on its way, and nobody is there any more to write it down.
      setImmediate(() => doomed.kill('SIGKILL'))
      return {}
    })
    await subscribe(payonce, receiver.url)
    const first = await pay(payonce, 100)
    await receiver.untilReceived(1)
    await doomed.exited
    receiver.react = {}
    const second = await pay(payonce, 200)
    await startAnotherWorker(payonce)

    await until('both are told', () => toldOf(receiver.requests, second).length > 0, {
      withinMs: 60_000,
    })
    await until(
      'nothing is pending',
      async () => {
        const { body } = await payonce.client.get<{ data: unknown[] }>(
          '/v1/webhook-deliveries?status=pending',
        )
        return body.data.length === 0
      },
      { withinMs: 60_000 },
    )
    for (const id of [first, second]) {
      expect(new Set(toldOf(receiver.requests, id)).size).toBe(1)
    }
  })
})

describe('examples/webhook-receiver', () => {
  it('counts each payment once, however often it is told of it, and believes no one else', async () => {
    const payonce = await startPayonce({ environment })
    const port = String(await freePort())
    const url = `http://127.0.0.1:${port}/`
    const { secret } = await subscribe(payonce, url)
    const databaseUrl = await createDatabase()
    const receiver = await startProgram('examples/webhook-receiver/main.ts', {
      env: { DATABASE_URL: databaseUrl, WEBHOOK_SECRET: secret, PORT: port },
    })
    await receiver.line(/listening on port/)

    await pay(payonce, 100)
    await pay(payonce, 250)
    const { body } = await until('both are delivered', async () => {
      const list = await payonce.client.get<{ data: { id: string }[] }>(
        '/v1/webhook-deliveries?status=succeeded',
      )
      return list.body.data.length === 2 && list
    })
    const [delivery] = body.data
    await payonce.client.post(`/v1/webhook-deliveries/${delivery?.id}/resend`)
    await receiver.line(/transfer.succeeded: seen before/)
    const forged = await fetch(url, { method: 'POST', body: '{"type":"transfer.succeeded"}' })
    expect(forged.status).toBe(401)

    const db = createPool({
      databaseUrl,
      name: 'test',
      maxConnections: 1,
      onError: () => undefined,
    })
    const { rows } = await db.query<{ account: string; amount: bigint }>('SELECT * FROM received')
    await db.end()
    expect(rows).toEqual([{ account: payonce.alice, amount: 350n }])
    await receiver.stop()
  })
})
