import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold, findUnsettled } from '../support/books.ts'
import { startPayonce, transferIdOf, uuidOf, type Payonce } from '../support/payonce.ts'
import { acceptUnrung, startSettlers, type LoneSettler } from '../support/settlers.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire, TransferOnWire } from '../support/wire.ts'

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

/** A test that failed leaves nothing behind for the next one to stumble over. */
afterEach(async function endWhatIsLeft() {
  await payonce.stopWorker()
  for (const { id } of await findUnsettled(payonce.db)) {
    await payonce.client.post(`/v1/transfers/${transferIdOf(id)}/cancel`)
  }
  await payonce.db.query('DELETE FROM deferred')
})

type DeferredRow = {
  reason: string
  attempts: number
  last_code: string
  /** Seconds from the last change of the row to the next attempt. */
  gap: number
}

async function deferredRow(transferId: string): Promise<DeferredRow | undefined> {
  const { rows } = await payonce.db.query<DeferredRow>(
    `SELECT reason, attempts, last_code,
            extract(epoch FROM next_due_at - clock_timestamp())::float AS gap
       FROM deferred WHERE transfer_id = $1`,
    [uuidOf(transferId)],
  )
  return rows[0]
}

/** Makes the next attempt due, as the passing of time would. */
async function letTimePass(transferId: string): Promise<void> {
  await payonce.db.query(
    `UPDATE deferred SET next_due_at = clock_timestamp() - interval '1 s' WHERE transfer_id = $1`,
    [uuidOf(transferId)],
  )
}

const metricsOf = async (client: Payonce['client']) => (await client.get('/metrics')).text

/** A command whose account is not there: whoever carries it out throws, however often. */
async function sendPoison(): Promise<{ id: string; cure(): Promise<void> }> {
  const { client, db, merchant } = payonce
  const source = await payonce.openAccount(0, { overdraft_limit: 1_000 })
  const { body } = await client.send({ source, destination: merchant, amount: 13 })
  const { rows } = await db.query<Record<string, unknown>>(
    'DELETE FROM accounts WHERE id = $1 RETURNING to_json(accounts) AS account',
    [uuidOf(source)],
  )
  return {
    id: body.id,
    cure: async () => {
      await db.query(
        'INSERT INTO accounts SELECT * FROM json_populate_record(NULL::accounts, $1)',
        [JSON.stringify(rows[0]?.['account'])],
      )
    },
  }
}

describe('a command that throws by itself', () => {
  test('is put aside while its neighbours settle in the same second (F16, I31)', async () => {
    const { client, world, merchant, db } = payonce
    const neighbour = () => client.send({ source: world, destination: merchant, amount: 1 })
    const before = await Promise.all(Array.from({ length: 15 }, neighbour))
    const poison = await sendPoison()
    const after = await Promise.all(Array.from({ length: 15 }, neighbour))

    const worker = await payonce.startWorker()
    const row = await until('the poison is put aside', () => deferredRow(poison.id))
    expect(row).toMatchObject({ reason: 'poison', attempts: 1, last_code: 'Error' })
    const neighbours = await Promise.all(
      [...before, ...after].map(({ body }) => payonce.untilSettled(body.id)),
    )
    expect(new Set(neighbours.map(({ status }) => status))).toEqual(new Set(['succeeded']))
    const settledAt = neighbours.map(({ settled_at }) => Date.parse(settled_at ?? ''))
    // It takes 50 ms on an idle machine; the poison itself is not tried again within 5 s.
    expect(Math.max(...settledAt) - Math.min(...settledAt)).toBeLessThan(3_000)
    // It is still there, queued, for everybody to see.
    expect(await client.read(poison.id)).toMatchObject({ status: 'queued', settled_at: null })
    await assertBooksHold(db, { unsettled: [uuidOf(poison.id)] })
    expect(await worker.metrics.registry.metrics()).toContain('payonce_transfers_parked_total 1\n')
    expect(payonce.log.some((line) => line.includes(uuidOf(poison.id)))).toBe(true)
    await until('the sweep has counted it', async () =>
      (await metricsOf(client)).includes('payonce_deferred_transfers 1\n'),
    )

    // The cause goes away, and it settles when its time has come.
    await poison.cure()
    await letTimePass(poison.id)
    expect(await payonce.untilSettled(poison.id)).toMatchObject({ status: 'succeeded' })
    expect(await deferredRow(poison.id)).toBeUndefined()
    await until('the sweep has counted none', async () =>
      (await metricsOf(client)).includes('payonce_deferred_transfers 0\n'),
    )
    await assertBooksHold(db)
  })

  test('in the midst of a flush is found whatever statement it breaks, and the rest settles', async () => {
    const { db, world, merchant } = payonce
    const [settler] = startSettlers(1, payonce.stores.databaseUrl) as [LoneSettler]
    await db.query('ALTER TABLE entries ADD CONSTRAINT no_66613 CHECK (amount <> 66613) NOT VALID')
    try {
      const refs = await acceptUnrung(
        payonce,
        Array.from({ length: 60 }, (_, n) => ({
          source: world,
          destination: merchant,
          amount: n === 41 ? 66_613 : 1,
        })),
      )
      await settler.settle(refs)
      const culprit = refs[41]
      expect(settler.parked.map(({ ref }) => ref)).toEqual([culprit])
      const { rows } = await db.query('SELECT transfer_id, reason, last_code FROM deferred')
      expect(rows).toEqual([
        { transfer_id: culprit?.transferId, reason: 'poison', last_code: '23514' },
      ])
      await assertBooksHold(db, { unsettled: [culprit?.transferId ?? ''] })
      await db.query('ALTER TABLE entries DROP CONSTRAINT no_66613')
      await settler.settle(refs)
      await assertBooksHold(db)
    } finally {
      await db.query('ALTER TABLE entries DROP CONSTRAINT IF EXISTS no_66613')
    }
  })

  test('is tried again after gaps that grow from 5 seconds to an hour', async () => {
    const [settler] = startSettlers(1, payonce.stores.databaseUrl) as [LoneSettler]
    const poison = await sendPoison()
    const ref = { tenantId: payonce.id, transferId: uuidOf(poison.id) }
    const gaps: number[] = []
    for (let attempt = 1; attempt <= 13; attempt++) {
      await settler.settle([ref])
      const row = await deferredRow(poison.id)
      expect(row?.attempts).toBe(attempt)
      gaps.push(row?.gap ?? 0)
    }
    const expected = [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600, 3_600]
    gaps.forEach((gap, n) => {
      // The time is stored in milliseconds, and may be rounded up to one.
      expect(gap).toBeLessThanOrEqual((expected[n] ?? 0) + 0.001)
      // A busy machine may take a moment between the attempt and our look.
      expect(gap).toBeGreaterThan((expected[n] ?? 0) - 4)
    })
    // The exponent is bounded as well: no number of attempts makes the gap overflow.
    await payonce.db.query('UPDATE deferred SET attempts = 2000000000')
    await settler.settle([ref])
    expect((await deferredRow(poison.id))?.gap).toBeGreaterThan(3_590)
    await poison.cure()
    await payonce.client.post(`/v1/transfers/${poison.id}/cancel`)
    await assertBooksHold(payonce.db)
  })

  test('can be canceled, and is gone from what is put aside', async () => {
    const { client } = payonce
    const poison = await sendPoison()
    await payonce.startWorker()
    await until('the poison is put aside', () => deferredRow(poison.id))
    const canceled = await client.post<TransferOnWire>(`/v1/transfers/${poison.id}/cancel`)
    expect([canceled.status, canceled.body.status]).toEqual([200, 'canceled'])
    expect(await deferredRow(poison.id)).toBeUndefined()
    await poison.cure()
    await assertBooksHold(payonce.db)
  })
})

describe('a command of a version that this worker does not know', () => {
  test.each([
    ['a version', `jsonb_set(command::jsonb, '{v}', '2')`],
    ['a member', `command::jsonb || '{"priority": 1}'`],
    ['a kind', `jsonb_set(command::jsonb, '{kind}', '"payout"')`],
  ])('by %s waits for a newer one and is not lost (F19)', async (_what, change) => {
    const { client, db, world, merchant } = payonce
    const send = () => client.send({ source: world, destination: merchant, amount: 2 })
    const [known, unknown] = [(await send()).body.id, (await send()).body.id]
    const { rows } = await db.query<{ command: unknown }>(
      'SELECT command FROM commands WHERE id = $1',
      [uuidOf(unknown)],
    )
    await db.query(`UPDATE commands SET command = (${change})::json WHERE id = $1`, [
      uuidOf(unknown),
    ])
    const worker = await payonce.startWorker()
    expect(await payonce.untilSettled(known)).toMatchObject({ status: 'succeeded' })
    const row = await until('it is put aside', () => deferredRow(unknown))
    expect(row).toMatchObject({
      reason: 'unknown_command',
      attempts: 1,
      last_code: 'unknown_command',
    })
    // Waiting for a newer worker is no bug of this one.
    expect(await worker.metrics.registry.metrics()).toContain('payonce_transfers_parked_total 0\n')

    // A newer worker reads it: here it becomes readable instead.
    await db.query('UPDATE commands SET command = $2 WHERE id = $1', [
      uuidOf(unknown),
      JSON.stringify(rows[0]?.command),
    ])
    await letTimePass(unknown)
    await payonce.untilAllSettled()
    expect(await client.read(unknown)).toMatchObject({ status: 'succeeded' })
    await assertBooksHold(db)
  })
})

describe('a row in deferred that settlement has left behind', () => {
  test('is removed when its time comes, and nothing moves again', async () => {
    const { client, db, world, merchant } = payonce
    await payonce.startWorker()
    const { body } = await client.send({ source: world, destination: merchant, amount: 2 })
    await payonce.untilSettled(body.id)
    const before = (await client.get<AccountOnWire>(`/v1/accounts/${merchant}`)).body.balance
    await db.query(
      `INSERT INTO deferred (tenant_id, transfer_id, reason, attempts, last_code, next_due_at)
       VALUES ($1, $2, 'poison', 1, 'Error', clock_timestamp())`,
      [payonce.id, uuidOf(body.id)],
    )
    await until('it is removed', async () => (await deferredRow(body.id)) === undefined)
    expect(await payonce.balanceOf(merchant)).toBe(before)
    await assertBooksHold(db)
  })
})

test('a batch that was put aside once is put aside no more when it is settled', async () => {
  const { client, db, id: tenantId, world, merchant } = payonce
  const one = { source: world, destination: merchant, amount: 1 }
  const { body: batch } = await client.sendBatch({ transfers: [one, one] })
  await db.query(
    `INSERT INTO deferred (tenant_id, transfer_id, reason, attempts, last_code, next_due_at)
     VALUES ($1, $2, 'poison', 1, 'Error', clock_timestamp())`,
    [tenantId, uuidOf(batch.id)],
  )
  await payonce.settle(batch)
  expect(await deferredRow(batch.id)).toBeUndefined()
  await assertBooksHold(db)
})
