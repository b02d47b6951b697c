import { inTransaction } from '@payonce/core/db/transaction'
import { readCommands } from '@payonce/core/transfers/load'
import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire, TransferOnWire } from '../support/wire.ts'

/*
 * Holds and what builds on them, refunds, and every refusal of those (B34). What is due is settled
 * by the test itself, at the moment that it chooses; a worker runs only where the sweep is meant.
 */

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

/** A rich account and one to pay to, for one test. */
async function openPair(balance = 1_000): Promise<{ source: string; destination: string }> {
  return { source: await payonce.openAccount(balance), destination: await payonce.openAccount() }
}

type Sent = { body: TransferOnWire }

/** Settles what was just accepted, and reads what became of it. */
async function settled(sent: Promise<Sent>): Promise<TransferOnWire> {
  const { body } = await sent
  await payonce.settle(body)
  return payonce.client.read(body.id)
}

const hold = (
  pair: { source: string; destination: string },
  amount = 100,
  more: { expires_at?: string } = {},
) => settled(payonce.client.send({ ...pair, amount, hold: true, ...more }))

const follow = (...args: Parameters<Payonce['client']['follow']>) =>
  settled(payonce.client.follow(...args))

/** Balance, held and available. */
async function moneyOf(account: string): Promise<[balance: number, held: number, free: number]> {
  const { body } = await payonce.client.get<AccountOnWire>(`/v1/accounts/${account}`)
  return [body.balance, body.held, body.available]
}

const codeOf = ({ status, failure }: TransferOnWire) => [status, failure?.code]

/** Lets the time of an open hold be over, without waiting for it. */
async function letHoldEnd({ id }: TransferOnWire): Promise<void> {
  await payonce.db.query(
    `UPDATE transfers SET expires_at = clock_timestamp() - interval '1 s' WHERE id = $1`,
    [uuidOf(id)],
  )
}

const soon = (ms: number) => new Date(Date.now() + ms).toISOString()

describe('a hold', () => {
  test('reserves its amount and moves nothing', async () => {
    const pair = await openPair()
    const held = await hold(pair)
    expect(held).toMatchObject({ kind: 'hold', status: 'held', amount: 100, captured_amount: 0 })
    expect(await moneyOf(pair.source)).toEqual([1_000, 100, 900])
    expect(await moneyOf(pair.destination)).toEqual([0, 0, 0])
    await assertBooksHold(payonce.db)
  })

  test('keeps what it reserves from every other transfer, to the last minor unit', async () => {
    const pair = await openPair()
    await hold(pair, 400)
    const { client } = payonce
    expect(codeOf(await settled(client.send({ ...pair, amount: 601 })))).toEqual([
      'failed',
      'insufficient_funds',
    ])
    expect(codeOf(await hold(pair, 601))).toEqual(['failed', 'insufficient_funds'])
    expect(codeOf(await settled(client.send({ ...pair, amount: 600 })))).toEqual([
      'succeeded',
      undefined,
    ])
    expect(await moneyOf(pair.source)).toEqual([400, 400, 0])
    await assertBooksHold(payonce.db)
  })

  test('lasts seven days unless told otherwise, from its execution on', async () => {
    const pair = await openPair()
    const held = await hold(pair)
    const day = 86_400_000
    expect(Date.parse(held.expires_at ?? '') - Date.parse(held.created_at)).toBe(7 * day)
    const executeAt = new Date(Date.now() + 30 * day).toISOString()
    const { body } = await payonce.client.send({
      ...pair,
      amount: 1,
      hold: true,
      execute_at: executeAt,
    })
    expect(body).toMatchObject({ status: 'scheduled', execute_at: executeAt })
    expect(Date.parse(body.expires_at ?? '') - Date.parse(executeAt)).toBe(7 * day)
    await payonce.client.cancel(body.id)
  })

  test('is captured as a whole, which moves the money to where the hold said', async () => {
    const pair = await openPair()
    const held = await hold(pair)
    const capture = await follow('capture', held.id)
    expect(capture).toMatchObject({
      ...pair,
      kind: 'capture',
      status: 'succeeded',
      amount: 100,
      parent: held.id,
    })
    expect(await payonce.client.read(held.id)).toMatchObject({
      status: 'succeeded',
      captured_amount: 100,
    })
    expect(await moneyOf(pair.source)).toEqual([900, 0, 900])
    expect(await moneyOf(pair.destination)).toEqual([100, 0, 100])
    await assertBooksHold(payonce.db)
  })

  test('is captured in parts until nothing is left', async () => {
    const pair = await openPair()
    const held = await hold(pair)
    await follow('capture', held.id, { amount: 30 })
    expect(await payonce.client.read(held.id)).toMatchObject({
      status: 'held',
      captured_amount: 30,
    })
    expect(await moneyOf(pair.source)).toEqual([970, 70, 900])
    await follow('capture', held.id, { amount: 50 })
    expect(await follow('capture', held.id)).toMatchObject({ status: 'succeeded', amount: 20 })
    expect(await payonce.client.read(held.id)).toMatchObject({
      status: 'succeeded',
      captured_amount: 100,
    })
    expect(await moneyOf(pair.source)).toEqual([900, 0, 900])
    await assertBooksHold(payonce.db)
  })

  test('is over with a final capture, which frees the rest', async () => {
    const pair = await openPair()
    const held = await hold(pair)
    await follow('capture', held.id, { amount: 30, final: true })
    expect(await payonce.client.read(held.id)).toMatchObject({
      status: 'succeeded',
      captured_amount: 30,
    })
    expect(await moneyOf(pair.source)).toEqual([970, 0, 970])
    await assertBooksHold(payonce.db)
  })

  test('is released, which frees what is left and moves nothing', async () => {
    const pair = await openPair()
    const held = await hold(pair)
    await follow('capture', held.id, { amount: 30 })
    expect(await follow('release', held.id)).toMatchObject({
      kind: 'release',
      status: 'succeeded',
      amount: 70,
      parent: held.id,
    })
    expect(await payonce.client.read(held.id)).toMatchObject({ status: 'released' })
    expect(await moneyOf(pair.source)).toEqual([970, 0, 970])
    await assertBooksHold(payonce.db)
  })

  test('that is replayed, captured and replayed again is one and the same', async () => {
    const pair = await openPair()
    const { client } = payonce
    const body = { ...pair, amount: 100, hold: true }
    const first = await client.send(body, { key: 'hold-once' })
    await payonce.settle(first.body)
    const again = await client.send(body, { key: 'hold-once' })
    expect(again.text).toBe(first.text)
    expect(again.headers.get('payonce-status')).toBe('held')
    const capture = await client.follow('capture', first.body.id, {}, { key: 'capture-once' })
    await payonce.settle(capture.body)
    const twin = await client.follow('capture', first.body.id, {}, { key: 'capture-once' })
    expect(twin.text).toBe(capture.text)
    expect(twin.headers.get('idempotent-replayed')).toBe('true')
    await payonce.settle(twin.body)
    expect(await moneyOf(pair.destination)).toEqual([100, 0, 100])
    await assertBooksHold(payonce.db)
  })
})

describe('a hold whose time is over', () => {
  test.each(['capture', 'release'] as const)(
    'is expired by the %s that finds it, before any sweep',
    async (what) => {
      const pair = await openPair()
      const held = await hold(pair)
      await follow('capture', held.id, { amount: 40 })
      await letHoldEnd(held)
      expect(codeOf(await follow(what, held.id))).toEqual(['failed', 'hold_expired'])
      expect(await payonce.client.read(held.id)).toMatchObject({
        status: 'expired',
        captured_amount: 40,
      })
      expect(await moneyOf(pair.source)).toEqual([960, 0, 960])
      await assertBooksHold(payonce.db)
    },
  )

  test('is expired by the sweep, also while the queue has forgotten everything', async () => {
    const pair = await openPair()
    const held = await hold(pair, 100, { expires_at: soon(1_500) })
    await follow('capture', held.id, { amount: 40 })
    await payonce.emptyQueue()
    await payonce.startWorker()
    await until('the hold has expired', async () => {
      const { status } = await payonce.client.read(held.id)
      return status === 'expired'
    })
    await payonce.stopWorker()
    expect(await moneyOf(pair.source)).toEqual([960, 0, 960])
    expect(codeOf(await follow('capture', held.id))).toEqual(['failed', 'hold_expired'])
    await assertBooksHold(payonce.db)
  })

  test('that cannot be ended keeps no other one open, and no transfer from being rung', async () => {
    const { client, db } = payonce
    const [pair, broken] = [await openPair(), await openPair()]
    const [good, bad] = [await hold(pair), await hold(broken)]
    const account = await db.query<Record<string, unknown>>(
      'DELETE FROM accounts WHERE id = $1 RETURNING to_json(accounts) AS account',
      [uuidOf(broken.source)],
    )
    await letHoldEnd(bad)
    await letHoldEnd(good)
    const execute_at = soon(1_000)
    const { body: scheduled } = await client.send({ ...pair, amount: 1, execute_at })
    await payonce.startWorker()
    expect(await payonce.untilSettled(scheduled.id)).toMatchObject({ status: 'succeeded' })
    await until('the good one is over', async () => {
      return (await client.read(good.id)).status === 'expired'
    })
    expect(await client.read(bad.id)).toMatchObject({ status: 'held' })
    await db.query('INSERT INTO accounts SELECT * FROM json_populate_record(NULL::accounts, $1)', [
      JSON.stringify(account.rows[0]?.['account']),
    ])
    await until('the bad one is over', async () => {
      return (await client.read(bad.id)).status === 'expired'
    })
    await payonce.stopWorker()
    await assertBooksHold(db)
  })

  test('wakes what waits for the funds that it reserved', async () => {
    const pair = await openPair(100)
    const held = await hold(pair)
    const waiting = await settled(
      payonce.client.send({
        ...pair,
        amount: 60,
        on_insufficient_funds: { retry_until: soon(600_000) },
      }),
    )
    expect(waiting.status).toBe('queued')
    await letHoldEnd(held)
    await payonce.startWorker()
    expect(await payonce.untilSettled(waiting.id)).toMatchObject({ status: 'succeeded' })
    await payonce.stopWorker()
    expect(await moneyOf(pair.source)).toEqual([40, 0, 40])
    await assertBooksHold(payonce.db)
  })
})

describe('on a frozen account', () => {
  const freeze = (account: string) =>
    payonce.client.patch(`/v1/accounts/${account}`, { status: 'frozen' })

  test.each(['source', 'destination'] as const)(
    'that is the %s, captures, holds and transfers are refused, and money stays',
    async (side) => {
      const pair = await openPair()
      const held = await hold(pair)
      await freeze(pair[side])
      const refused = ['failed', 'account_frozen']
      expect(codeOf(await follow('capture', held.id))).toEqual(refused)
      expect(codeOf(await hold(pair))).toEqual(refused)
      expect(codeOf(await settled(payonce.client.send({ ...pair, amount: 1 })))).toEqual(refused)
      expect(await payonce.client.read(held.id)).toMatchObject({ status: 'held' })
      expect(await moneyOf(pair.source)).toEqual([1_000, 100, 900])
      await assertBooksHold(payonce.db)
    },
  )

  test('holds are released, and expire', async () => {
    const pair = await openPair()
    const [released, expired] = [await hold(pair), await hold(pair)]
    await freeze(pair.source)
    await freeze(pair.destination)
    expect(await follow('release', released.id)).toMatchObject({ status: 'succeeded' })
    await letHoldEnd(expired)
    expect(codeOf(await follow('capture', expired.id))).toEqual(['failed', 'hold_expired'])
    expect(await moneyOf(pair.source)).toEqual([1_000, 0, 1_000])
    await assertBooksHold(payonce.db)
  })

  test('an account with an open hold cannot be closed, and one that is closed takes no capture', async () => {
    const pair = await openPair()
    const held = await hold(pair, 1_000)
    const { client } = payonce
    const open = await client.patch(`/v1/accounts/${pair.source}`, { status: 'closed' })
    expect([open.status, open.body]).toMatchObject([409, { code: 'account_not_empty' }])
    await client.patch(`/v1/accounts/${pair.destination}`, { status: 'closed' })
    expect(codeOf(await follow('capture', held.id))).toEqual(['failed', 'account_closed'])
    await follow('release', held.id)
    await assertBooksHold(payonce.db)
  })
})

describe('what comes too late, or asks for too much', () => {
  /** Each makes a parent and tells what is asked of it; B34 gives the code. */
  const cases: [
    what: string,
    code: string,
    make: (pair: { source: string; destination: string }) => Promise<TransferOnWire>,
  ][] = [
    [
      'a capture of a hold that is used up',
      'hold_already_captured',
      async (pair) => {
        const held = await hold(pair)
        await follow('capture', held.id)
        return follow('capture', held.id, { amount: 1 })
      },
    ],
    [
      'a capture after a final one',
      'hold_already_captured',
      async (pair) => {
        const held = await hold(pair)
        await follow('capture', held.id, { amount: 1, final: true })
        return follow('capture', held.id, { amount: 1 })
      },
    ],
    [
      'a capture of more than is left',
      'capture_exceeds_remaining',
      async (pair) => {
        const held = await hold(pair)
        await follow('capture', held.id, { amount: 30 })
        return follow('capture', held.id, { amount: 71 })
      },
    ],
    [
      'a capture after a release',
      'hold_already_released',
      async (pair) => {
        const held = await hold(pair)
        await follow('release', held.id)
        return follow('capture', held.id)
      },
    ],
    [
      'a second release',
      'hold_already_released',
      async (pair) => {
        const held = await hold(pair)
        await follow('release', held.id)
        return follow('release', held.id)
      },
    ],
    [
      'a capture after the expiry, before any sweep',
      'hold_expired',
      async (pair) => {
        const held = await hold(pair)
        await letHoldEnd(held)
        return follow('capture', held.id)
      },
    ],
    [
      'a release after the capture of all',
      'hold_already_captured',
      async (pair) => {
        const held = await hold(pair)
        await follow('capture', held.id)
        return follow('release', held.id)
      },
    ],
    [
      'a capture of a hold that failed',
      'parent_failed',
      async (pair) => follow('capture', (await hold(pair, 1_001)).id),
    ],
    [
      'a capture of a hold that was canceled',
      'parent_canceled',
      async (pair) => {
        const { body } = await payonce.client.send({ ...pair, amount: 1, hold: true })
        await payonce.client.cancel(body.id)
        return follow('capture', body.id)
      },
    ],
    [
      'a capture of a hold that expired before it was carried out',
      'hold_expired',
      async (pair) => {
        const { client } = payonce
        const expires_at = soon(300)
        const { body } = await client.send({ ...pair, amount: 1, hold: true, expires_at })
        await until('it is over', () => Date.now() > Date.parse(expires_at) + 50)
        return follow('capture', body.id)
      },
    ],
    [
      'a refund above what is left',
      'refund_exceeds_remaining',
      async (pair) => {
        const paid = await settled(payonce.client.send({ ...pair, amount: 100 }))
        await follow('refund', paid.id, { amount: 30 })
        return follow('refund', paid.id, { amount: 71 })
      },
    ],
    [
      'a refund of what was refunded already',
      'already_refunded',
      async (pair) => {
        const paid = await settled(payonce.client.send({ ...pair, amount: 100 }))
        await follow('refund', paid.id)
        return follow('refund', paid.id)
      },
    ],
    [
      'a refund of a failed transfer',
      'parent_failed',
      async (pair) => {
        const failed = await settled(payonce.client.send({ ...pair, amount: 1_001 }))
        return follow('refund', failed.id)
      },
    ],
    [
      'a refund of a canceled transfer',
      'parent_canceled',
      async (pair) => {
        const { body } = await payonce.client.send({ ...pair, amount: 1 })
        await payonce.client.cancel(body.id)
        return follow('refund', body.id)
      },
    ],
    [
      'a refund of a transfer that expired before it was carried out',
      'parent_expired',
      async (pair) => {
        const expires_at = soon(300)
        const { body } = await payonce.client.send({ ...pair, amount: 1, expires_at })
        await until('it is over', () => Date.now() > Date.parse(expires_at) + 50)
        return follow('refund', body.id)
      },
    ],
    [
      'a refund that the payee cannot pay any more',
      'insufficient_funds',
      async (pair) => {
        const { client } = payonce
        const paid = await settled(client.send({ ...pair, amount: 100 }))
        await settled(
          client.send({ source: pair.destination, destination: pair.source, amount: 1 }),
        )
        return follow('refund', paid.id)
      },
    ],
    [
      'a capture of a scheduled hold',
      'parent_not_settled',
      async (pair) => {
        const { client } = payonce
        const { body } = await client.send({
          ...pair,
          amount: 1,
          hold: true,
          execute_at: soon(3_600_000),
        })
        const capture = await follow('capture', body.id)
        await client.cancel(body.id)
        return capture
      },
    ],
    [
      'a refund of a transfer that waits for funds',
      'parent_not_settled',
      async (pair) => {
        const { client } = payonce
        const waiting = await settled(
          client.send({
            ...pair,
            amount: 1_001,
            on_insufficient_funds: { retry_until: soon(600_000) },
          }),
        )
        const refund = await follow('refund', waiting.id)
        await client.cancel(waiting.id)
        return refund
      },
    ],
  ]

  test.each(cases)('%s is %s, and moves nothing', async (_what, code, make) => {
    const pair = await openPair()
    const refused = await make(pair)
    expect(codeOf(refused)).toEqual(['failed', code])
    const { rows } = await payonce.db.query('SELECT FROM entries WHERE transfer_id = $1', [
      uuidOf(refused.id),
    ])
    expect(rows).toEqual([])
    // No failed command changes what is reserved, but for that of a hold whose time is over.
    await assertBooksHold(payonce.db)
  })

  test.each([
    ['a refund of a refund', 'refund', 'not_refundable', 'refund'],
    ['a refund of a hold', 'hold', 'not_refundable', 'refund'],
    ['a refund of a release', 'release', 'not_refundable', 'refund'],
    ['a capture of a transfer', 'transfer', 'not_capturable', 'capture'],
    ['a capture of a capture', 'capture', 'not_capturable', 'capture'],
    ['a release of a transfer', 'transfer', 'not_releasable', 'release'],
  ] as const)('%s is refused before it is accepted', async (_what, parent, code, what) => {
    const { client } = payonce
    const pair = await openPair()
    const makers = {
      transfer: () => settled(client.send({ ...pair, amount: 100 })),
      refund: async () => follow('refund', (await makers.transfer()).id, { amount: 1 }),
      hold: () => hold(pair),
      capture: async () => follow('capture', (await hold(pair)).id, { amount: 1 }),
      release: async () => follow('release', (await hold(pair)).id),
    }
    const { id } = await makers[parent]()
    const before = [await moneyOf(pair.source), await moneyOf(pair.destination)]
    const refused = await client.follow(
      what,
      id,
      {},
      { key: `${what} of ${id}`.replaceAll(' ', '-') },
    )
    expect([refused.status, refused.body]).toMatchObject([422, { code }])
    expect([await moneyOf(pair.source), await moneyOf(pair.destination)]).toEqual(before)
    await assertBooksHold(payonce.db)
  })

  test('a cancel of a hold that is held is 409, and of a settled or released one too', async () => {
    const pair = await openPair()
    const held = await hold(pair)
    const { client } = payonce
    const codeOfCancel = async () => {
      const { status, body } = await client.post(`/v1/transfers/${held.id}/cancel`)
      return [status, body.code]
    }
    expect(await codeOfCancel()).toEqual([409, 'hold_already_held'])
    expect(await moneyOf(pair.source)).toEqual([1_000, 100, 900])
    await follow('release', held.id)
    expect(await codeOfCancel()).toEqual([409, 'transfer_already_settled'])
    await assertBooksHold(payonce.db)
  })
})

describe('a child that is sent while its parent is queued', () => {
  test.each(['capture', 'release'] as const)(
    'is a %s, and settles right after it',
    async (what) => {
      const pair = await openPair()
      const { client } = payonce
      const { body: parent } = await client.send({ ...pair, amount: 100, hold: true })
      // Only the child is rung: it takes its parent along.
      expect(codeOf(await follow(what, parent.id))).toEqual(['succeeded', undefined])
      expect(await client.read(parent.id)).toMatchObject({
        status: what === 'capture' ? 'succeeded' : 'released',
      })
      await assertBooksHold(payonce.db)
    },
  )

  test('and whose own child is sent too: a refund of a capture of a hold, from the last one on', async () => {
    const pair = await openPair()
    const { client } = payonce
    const { body: parent } = await client.send({ ...pair, amount: 100, hold: true })
    const { body: capture } = await client.follow('capture', parent.id, { amount: 60 })
    const refund = await follow('refund', capture.id, { amount: 25 })
    expect(codeOf(refund)).toEqual(['succeeded', undefined])
    expect(await client.read(capture.id)).toMatchObject({
      status: 'succeeded',
      refunded_amount: 25,
    })
    expect(await client.read(parent.id)).toMatchObject({ status: 'held', captured_amount: 60 })
    expect(await moneyOf(pair.source)).toEqual([965, 40, 925])
    await follow('release', parent.id)
    await assertBooksHold(payonce.db)
  })

  test('and comes with another child of it is loaded with one parent', async () => {
    const pair = await openPair()
    const { client, db, id: tenantId } = payonce
    const { body: parent } = await client.send({ ...pair, amount: 100, hold: true })
    const children = [
      (await client.follow('capture', parent.id, { amount: 60 })).body,
      (await client.follow('capture', parent.id, { amount: 40 })).body,
    ]
    const refs = children.map(({ id }) => ({ tenantId, transferId: uuidOf(id) }))
    const { commands } = await inTransaction(db, {}, (tx) => readCommands(tx, refs))
    expect(commands.map(({ id }) => id)).toEqual([parent, ...children].map(({ id }) => uuidOf(id)))
    await payonce.settle(...children)
    expect(await client.read(parent.id)).toMatchObject({ captured_amount: 100 })
    await assertBooksHold(db)
  })

  test('and which is canceled first, fails', async () => {
    const pair = await openPair()
    const { client } = payonce
    const { body: parent } = await client.send({ ...pair, amount: 100, hold: true })
    const { body: capture } = await client.follow('capture', parent.id)
    await client.cancel(parent.id)
    await payonce.settle(capture)
    expect(codeOf(await client.read(capture.id))).toEqual(['failed', 'parent_canceled'])
    await assertBooksHold(payonce.db)
  })
})

describe('a refund', () => {
  test('goes back in parts and as a whole, and the transfer tells how much', async () => {
    const pair = await openPair()
    const paid = await settled(payonce.client.send({ ...pair, amount: 100 }))
    await follow('refund', paid.id, { amount: 30 })
    expect(await payonce.client.read(paid.id)).toMatchObject({ refunded_amount: 30 })
    expect(await follow('refund', paid.id)).toMatchObject({
      kind: 'refund',
      source: pair.destination,
      destination: pair.source,
      amount: 70,
      parent: paid.id,
    })
    expect(await payonce.client.read(paid.id)).toMatchObject({
      status: 'succeeded',
      refunded_amount: 100,
    })
    expect(await moneyOf(pair.source)).toEqual([1_000, 0, 1_000])
    await assertBooksHold(payonce.db)
  })

  test('of a foreign or unknown transfer is 404', async () => {
    const pair = await openPair()
    const paid = await settled(payonce.client.send({ ...pair, amount: 100 }))
    const other = await payonce.addTenant('stranger')
    for (const what of ['refund', 'capture', 'release'] as const) {
      const refused = await other.client.follow(what, paid.id)
      expect([refused.status, refused.body]).toMatchObject([404, { code: 'not_found' }])
    }
    await assertBooksHold(payonce.db)
  })
})
