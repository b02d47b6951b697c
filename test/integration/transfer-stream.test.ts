import { beforeAll, describe, expect, test } from 'vitest'
import { newKey } from '../support/client.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import type { TransferOnWire } from '../support/wire.ts'

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce()
})

type Told = { id: string; transfer: TransferOnWire }

/** Reads a stream to its end, or until somebody has heard enough. */
async function listen(
  transferId: string,
  { lastEventId, url = payonce.api.url }: { lastEventId?: string; url?: string } = {},
) {
  const gone = new AbortController()
  const answer = await fetch(`${url}/v1/transfers/${transferId}/stream`, {
    headers: {
      authorization: `Bearer ${payonce.apiKey}`,
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
    signal: gone.signal,
  })
  let text = ''
  const ended = (async () => {
    const decoder = new TextDecoder()
    for await (const chunk of answer.body ?? []) text += decoder.decode(chunk, { stream: true })
  })().catch(() => undefined)
  return {
    status: answer.status,
    contentType: answer.headers.get('content-type'),
    told: () => parseEvents(text),
    ended,
    leave: () => gone.abort(),
  }
}

function parseEvents(text: string): Told[] {
  return text
    .split('\n\n')
    .filter((block) => block.includes('data: '))
    .map((block) => {
      const line = (name: string) =>
        block
          .split('\n')
          .find((one) => one.startsWith(`${name}: `))
          ?.slice(name.length + 2) ?? ''
      return { id: line('id'), transfer: JSON.parse(line('data')) as TransferOnWire }
    })
}

async function hold(amount = 100): Promise<TransferOnWire> {
  const source = await payonce.openAccount(amount)
  const request = { source, destination: payonce.merchant, amount, hold: true }
  return (await payonce.client.send(request, { key: newKey(), wait: 10 })).body
}

const act = (id: string, action: 'capture' | 'release', body: object = {}) =>
  payonce.client.post(`/v1/transfers/${id}/${action}`, body, { key: newKey(), wait: 10 })

describe('the stream of a transfer', () => {
  test('tells of every change of the status until one that is final, and then ends', async () => {
    const { id } = await hold()
    const stream = await listen(id)
    expect(stream.contentType).toMatch(/^text\/event-stream/)
    await until('it is held', () => stream.told().length === 1)
    await act(id, 'capture', { amount: 40 })
    await act(id, 'release')
    await stream.ended

    const told = stream.told()
    expect(told.map((one) => one.id)).toEqual(['held', 'released'])
    expect(told.map(({ transfer }) => transfer.status)).toEqual(['held', 'released'])
    expect(told.at(-1)?.transfer).toMatchObject({ id, captured_amount: 40 })
  })

  test('of one that is settled tells so once, and ends', async () => {
    const request = { source: payonce.world, destination: payonce.alice, amount: 5 }
    const { body } = await payonce.client.send(request, { key: newKey(), wait: 10 })
    const stream = await listen(body.id)
    await stream.ended
    expect(stream.told().map(({ transfer }) => transfer)).toEqual([body])
  })

  test('leaves out what the client has heard before', async () => {
    const { id } = await hold()
    const stream = await listen(id, { lastEventId: 'held' })
    await act(id, 'release')
    await stream.ended
    expect(stream.told().map((one) => one.id)).toEqual(['released'])
  })

  test('has nothing to tell a client that has heard the end, and says not to come back', async () => {
    const { id } = await hold()
    await act(id, 'release')
    const stream = await listen(id, { lastEventId: 'released' })
    expect(stream.status).toBe(204)
  })

  test('tells of one that waits for its time when that has come', async () => {
    const source = await payonce.openAccount(50)
    const executeAt = new Date(Date.now() + 1_500).toISOString()
    const request = { source, destination: payonce.merchant, amount: 50, execute_at: executeAt }
    const { body } = await payonce.client.send(request, { key: newKey() })
    const stream = await listen(body.id)
    await stream.ended
    const statuses = stream.told().map((one) => one.id)
    expect(statuses[0]).toBe('scheduled')
    expect(statuses.at(-1)).toBe('succeeded')
    // In between it may have been seen queued; nothing is told twice.
    expect(new Set(statuses).size).toBe(statuses.length)
  })

  test('of a transfer that is not there, or another tenant’s, is 404', async () => {
    const { id } = await hold()
    const other = await payonce.addTenant('another')
    const path = (transferId: string) => `/v1/transfers/${transferId}/stream`
    expect((await other.client.get(path(id))).status).toBe(404)
    expect(
      (await payonce.client.get(path(`tr_${'0'.repeat(12)}7${'0'.repeat(3)}8${'0'.repeat(15)}`)))
        .status,
    ).toBe(404)
  })

  test('is forgotten when its client goes away', async () => {
    const { id } = await hold()
    const waiting = async () =>
      Number(
        /^payonce_waiting_clients (\d+)$/m.exec(await payonce.api.metrics.registry.metrics())?.[1],
      )
    const before = await waiting()
    const streams = await Promise.all(Array.from({ length: 5 }, () => listen(id)))
    await until('all wait', async () => (await waiting()) === before + 5)
    for (const stream of streams) stream.leave()
    await until('none waits', async () => (await waiting()) === before)
  })

  test('is ended by an API that stops, and by nothing else meanwhile', async () => {
    const { id } = await hold()
    const api = await payonce.startApi()
    const streams = await Promise.all(
      Array.from({ length: 20 }, () => listen(id, { url: api.url })),
    )
    await until('all are told', () => streams.every((stream) => stream.told().length === 1))
    const startedAt = performance.now()
    await api.close()
    await Promise.all(streams.map((stream) => stream.ended))
    // Far below the 8 s after which the API would cut them off.
    expect(performance.now() - startedAt).toBeLessThan(4_000)
  })
})
