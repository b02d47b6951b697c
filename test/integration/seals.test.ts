import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { findBrokenSeals } from '../support/seals.ts'
import { until } from '../support/until.ts'

/*
 * Each settlement is sealed over its rows and over the seal before it. Here the seals are made again
 * from the rows alone: they have to be the same, and to differ as soon as anybody touches a row.
 */

const secret = 'a secret of more than thirty-two characters'
let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ environment: { LEDGER_SECRET: secret } })
  await writeHistory()
})

/** Every kind and every outcome, by workers, cancels, batches and the sweep. */
async function writeHistory(): Promise<void> {
  const { client, world, merchant } = payonce
  const rich = await payonce.openAccount()
  const { body: funded } = await client.send(
    { source: world, destination: rich, amount: 100_000, metadata: { z: '1', a: 'ä', 10: 'x' } },
    { wait: 10 },
  )
  expect(funded.status).toBe('succeeded')
  const pair = { source: rich, destination: merchant }
  await Promise.all(
    Array.from({ length: 40 }, (_, n) =>
      client.send({ ...pair, amount: 1 + n, description: `number ${n}`, metadata: { n: `${n}` } }),
    ),
  )
  const hold = async () =>
    (await client.send({ ...pair, amount: 100, hold: true }, { wait: 10 })).body
  const [captured, released, expired] = [await hold(), await hold(), await hold()]
  const { body: capture } = await client.follow('capture', captured.id, { amount: 60, final: true })
  await client.follow('refund', capture.id, { amount: 10 })
  await client.follow('capture', captured.id)
  await client.follow('release', released.id)
  const leg = { ...pair, amount: 7, currency: 'EUR' }
  const legs = [leg, { source: merchant, destination: rich, amount: 3, currency: 'EUR' }]
  const { body: split } = await client.send({ legs }, { wait: 10 })
  await client.follow('refund', split.id)
  await client.send({ legs: [leg, { ...leg, amount: 10_000_000 }] })
  await client.sendBatch({ transfers: [{ ...pair, amount: 1 }, { legs }], atomic: true })
  await client.sendBatch({
    transfers: [
      { ...pair, amount: 1 },
      { ...pair, amount: 10_000_000 },
    ],
  })
  const later = new Date(Date.now() + 3_600_000).toISOString()
  const { body: scheduled } = await client.send({ ...pair, amount: 1, execute_at: later })
  await client.cancel(scheduled.id)
  await payonce.db.query(
    `UPDATE transfers SET expires_at = clock_timestamp() WHERE status = 'held'`,
  )
  await until('the hold has expired', async () => {
    return (await client.read(expired.id)).status === 'expired'
  })
  await payonce.untilAllSettled()
  await payonce.stopWorker()
}

/** Makes a change that the schema refuses, looks at the seals, and takes it back. */
async function sealsAfter(change: string): Promise<{ fault: string }[]> {
  const { db } = payonce
  const names = ['entries', 'settlements', 'transfers', 'ledger_chains']
  const triggers = async (state: 'DISABLE' | 'ENABLE') => {
    for (const table of ['entries', 'settlements']) {
      await db.query(`ALTER TABLE ${table} ${state} TRIGGER USER`)
    }
  }
  await triggers('DISABLE')
  for (const name of names) await db.query(`CREATE TABLE kept_${name} AS TABLE ${name}`)
  try {
    const { rowCount } = await db.query(change)
    expect(rowCount).toBe(1)
    return await findBrokenSeals(db, secret)
  } finally {
    for (const name of names) {
      await db.query(`DELETE FROM ${name}`)
      await db.query(`INSERT INTO ${name} TABLE kept_${name}`)
      await db.query(`DROP TABLE kept_${name}`)
    }
    await triggers('ENABLE')
  }
}

describe('the seals of all settlements', () => {
  test('are what their rows make, in chains without a gap up to their heads', async () => {
    const { db } = payonce
    await assertBooksHold(db)
    const { rows } = await db.query<{ kinds: string[]; statuses: string[]; keyed: boolean }>(
      `SELECT array_agg(DISTINCT kind) AS kinds, array_agg(DISTINCT status) AS statuses,
              (SELECT bool_and(is_keyed) FROM settlements) AS keyed
         FROM transfers`,
    )
    expect(rows).toEqual([
      {
        kinds: ['capture', 'hold', 'refund', 'release', 'transfer'],
        statuses: ['canceled', 'expired', 'failed', 'released', 'succeeded'],
        // The test's own settler has no secret, and has settled nothing here.
        keyed: true,
      },
    ])
    expect(await findBrokenSeals(db, secret)).toEqual([])
  })

  test('cannot be made without the secret, nor with another', async () => {
    expect(await findBrokenSeals(payonce.db)).not.toEqual([])
    expect(await findBrokenSeals(payonce.db, `${secret}!`)).not.toEqual([])
  })

  const one = (table: string, where = 'true') =>
    `ctid = (SELECT ctid FROM ${table} WHERE ${where} LIMIT 1)`

  test.each([
    ['the amount of an entry', `UPDATE entries SET amount = amount + 1 WHERE ${one('entries')}`],
    [
      'the balance after an entry',
      `UPDATE entries SET balance_after = balance_after + 1 WHERE ${one('entries')}`,
    ],
    [
      'the time of an entry',
      `UPDATE entries SET created_at = created_at - interval '1 ms' WHERE ${one('entries')}`,
    ],
    ['an entry that is gone', `DELETE FROM entries WHERE ${one('entries')}`],
    [
      'an entry that was added',
      `INSERT INTO entries SELECT tenant_id, account_id, 1000000, transfer_id, 1, 1, created_at
         FROM entries LIMIT 1`,
    ],
    [
      'the amount of a transfer',
      `UPDATE transfers SET amount = amount + 1 WHERE ${one('transfers', 'amount IS NOT NULL')}`,
    ],
    [
      'the destination of a transfer',
      `UPDATE transfers SET destination = tenant_id WHERE ${one('transfers', 'legs IS NULL')}`,
    ],
    [
      'a leg of a transfer',
      `UPDATE transfers SET legs = jsonb_set(legs, '{1,amount}', '4')
        WHERE ${one('transfers', 'legs IS NOT NULL')}`,
    ],
    [
      'the metadata of a transfer',
      `UPDATE transfers SET metadata = metadata || '{"n": "41"}'
        WHERE ${one('transfers', `metadata ? 'n'`)}`,
    ],
    [
      'a refusal that becomes a success',
      `UPDATE transfers SET status = 'succeeded', failure_code = NULL
        WHERE ${one('transfers', `status = 'failed' AND amount IS NOT NULL`)}`,
    ],
    [
      'a transfer that is gone',
      `DELETE FROM transfers WHERE ${one('transfers', `status = 'canceled'`)}`,
    ],
    ['a seal', `UPDATE settlements SET seal = sha256(seal) WHERE ${one('settlements')}`],
    [
      'the head of a chain',
      `UPDATE ledger_chains SET seal = sha256(seal) WHERE ${one('ledger_chains', 'length > 0')}`,
    ],
  ])('tell that somebody changed %s', async (_what, change) => {
    expect(await sealsAfter(change)).not.toEqual([])
    expect(await findBrokenSeals(payonce.db, secret)).toEqual([])
  })

  test('tell that the last settlement of a chain was taken away with all its rows', async () => {
    const { rows } = await payonce.db.query<{ chain: number; position: bigint }>(
      'SELECT chain, max(position) AS position FROM settlements GROUP BY chain LIMIT 1',
    )
    const faults = await sealsAfter(
      `DELETE FROM settlements WHERE chain = ${rows[0]?.chain} AND position = ${rows[0]?.position}`,
    )
    expect(faults.map(({ fault }) => fault)).toContain('another head')
  })

  test('do not depend on what may change: the end of a hold, what was captured and refunded', async () => {
    const { db } = payonce
    const { rowCount } = await db.query(
      `SELECT FROM transfers WHERE (kind = 'hold' AND status IN ('released', 'expired'))
                                OR captured_amount > 0 OR refunded_amount > 0`,
    )
    expect(rowCount).toBeGreaterThan(3)
    expect(await findBrokenSeals(db, secret)).toEqual([])
    await assertBooksHold(db)
  })
})
