import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import type { TransferOnWire } from '../support/wire.ts'

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

beforeEach(() => payonce.stopWorker())

const send = async () => {
  const { client, world, merchant } = payonce
  const request = { source: world, destination: merchant, amount: 5, description: 'too early' }
  return (await client.send(request)).body
}
const cancel = (id: string) => payonce.client.post<TransferOnWire>(`/v1/transfers/${id}/cancel`)

describe('a cancel', () => {
  test('ends a queued transfer, and says what it was', async () => {
    const queued = await send()
    const canceled = await cancel(queued.id)
    expect(canceled.status).toBe(200)
    expect(canceled.body).toEqual({
      ...queued,
      status: 'canceled',
      settled_at: expect.stringMatching(/Z$/),
    })
    expect(await payonce.client.read(queued.id)).toEqual(canceled.body)
  })

  test('that is repeated gets the same answer', async () => {
    const { id } = await send()
    const first = await cancel(id)
    const second = await cancel(id)
    expect([second.status, second.text]).toEqual([200, first.text])
  })

  test('by many at once cancels once', async () => {
    const { id } = await send()
    const answers = await Promise.all(Array.from({ length: 20 }, () => cancel(id)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
  })

  test('keeps the job from moving money when a worker gets to it', async () => {
    const { world, db } = payonce
    const before = await payonce.balanceOf(world)
    const { id } = await send()
    await cancel(id)
    await payonce.startWorker()
    const after = await send()
    await payonce.untilSettled(after.id)
    expect(await payonce.client.read(id)).toMatchObject({ status: 'canceled' })
    await payonce.untilAllSettled()
    await assertBooksHold(db)
    expect(await payonce.balanceOf(world)).toBeLessThanOrEqual(before - 5)
  })

  test('of a settled transfer is 409, whether it succeeded or failed', async () => {
    const poor = await payonce.openAccount()
    await payonce.startWorker()
    const { client, merchant } = payonce
    const succeeded = await payonce.untilSettled((await send()).id)
    const failed = (
      await client.send({ source: poor, destination: merchant, amount: 1 }, { wait: 10 })
    ).body
    for (const [transfer, status] of [
      [succeeded, 'succeeded'],
      [failed, 'failed'],
    ] as const) {
      const refused = await client.post(`/v1/transfers/${transfer.id}/cancel`)
      expect([refused.status, refused.body.code]).toEqual([409, 'transfer_already_settled'])
      expect(refused.body.detail).toContain(status)
      expect(await client.read(transfer.id)).toEqual(transfer)
    }
  })

  test('of an unknown, a malformed and a foreign id is 404 with the same answer', async () => {
    const { id } = await send()
    const other = await payonce.addTenant('other')
    const answers = await Promise.all([
      other.client.post(`/v1/transfers/${id}/cancel`),
      other.client.post(`/v1/transfers/${id.replace(/.{12}$/, '0123456789ab')}/cancel`),
      other.client.post(`/v1/transfers/${payonce.alice}/cancel`),
      other.client.post('/v1/transfers/tr_%2e%2e/cancel'),
    ])
    const bodies = answers.map(({ status, body }) => [status, body.code, body.detail])
    expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(1)
    expect(bodies[0]?.[0]).toBe(404)
    expect(await payonce.client.read(id)).toMatchObject({ status: 'queued' })
    await expectForeignReadsToBeHidden(other.client, id)
  })

  test('takes an empty body or an empty object, and nothing else', async () => {
    const { client } = payonce
    const [first, second, third] = [await send(), await send(), await send()]
    expect((await client.post(`/v1/transfers/${first.id}/cancel`, {})).status).toBe(200)
    expect((await client.post(`/v1/transfers/${second.id}/cancel`)).status).toBe(200)
    const refused = await client.post(`/v1/transfers/${third.id}/cancel`, { reason: 'none' })
    expect([refused.status, refused.body.code, refused.body.param]).toEqual([
      400,
      'unknown_field',
      '/reason',
    ])
    expect(await client.read(third.id)).toMatchObject({ status: 'queued' })
  })

  test('of a command that only a newer version can read loses nothing of it', async () => {
    const { db, id: tenantId, client } = payonce
    const { id } = await send()
    await db.query(
      `UPDATE commands SET command = jsonb_set(command::jsonb, '{v}', '99')::json
        WHERE tenant_id = $1 AND id = $2`,
      [tenantId, uuidOf(id)],
    )
    await db.query(
      `INSERT INTO deferred (tenant_id, transfer_id, reason, attempts, last_code, next_due_at)
       VALUES ($1, $2, 'unknown_command', 1, 'unknown_command', now() + interval '1 hour')`,
      [tenantId, uuidOf(id)],
    )
    await client.post(`/v1/transfers/${id}/cancel`)
    // Without this row neither the sweep nor anybody else would ever find the command again.
    const { rows } = await db.query('SELECT reason FROM deferred WHERE transfer_id = $1', [
      uuidOf(id),
    ])
    expect(rows).toEqual([{ reason: 'unknown_command' }])
  })
})

async function expectForeignReadsToBeHidden(
  stranger: Payonce['client'],
  id: string,
): Promise<void> {
  const unknown = id.replace(/.{12}$/, '0123456789ab')
  const [foreign, random] = await Promise.all(
    [id, unknown].map((one) => stranger.get(`/v1/transfers/${one}`)),
  )
  expect(foreign?.status).toBe(404)
  expect({ ...foreign?.body, request_id: '' }).toEqual({ ...random?.body, request_id: '' })
}
