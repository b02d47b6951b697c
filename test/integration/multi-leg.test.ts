import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import type { MultiLegRequest } from '../support/client.ts'
import type { AccountOnWire, TransferOnWire } from '../support/wire.ts'

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

const leg = (source: string, destination: string, amount: number, currency = 'EUR') => ({
  source,
  destination,
  amount,
  currency,
})

async function settled(request: MultiLegRequest): Promise<TransferOnWire> {
  const { body } = await payonce.client.send(request)
  await payonce.settle(body)
  return payonce.client.read(body.id)
}

async function refunded(id: string): Promise<TransferOnWire> {
  const { body } = await payonce.client.follow('refund', id)
  await payonce.settle(body)
  return payonce.client.read(body.id)
}

const codeOf = ({ status, failure }: TransferOnWire) => [status, failure?.code]

const balancesOf = (...accounts: string[]) => Promise.all(accounts.map(payonce.balanceOf))

async function countEntries({ id }: TransferOnWire): Promise<number> {
  const { rowCount } = await payonce.db.query('SELECT FROM entries WHERE transfer_id = $1', [
    uuidOf(id),
  ])
  return rowCount ?? 0
}

const open = (balance = 0, currency = 'EUR', overdraft_limit = 0) =>
  payonce.openAccount(balance, { currency, overdraft_limit })

describe('a transfer of several legs', () => {
  test('moves each, in two entries per leg, and has no source, amount or currency of its own', async () => {
    const [buyer, seller, fees] = [await open(1_000), await open(), await open()]
    const legs = [leg(buyer, seller, 95), leg(buyer, fees, 5), leg(seller, fees, 2)]
    const paid = await settled({ legs, description: 'split' })
    expect(paid).toMatchObject({
      kind: 'transfer',
      status: 'succeeded',
      source: null,
      destination: null,
      amount: null,
      currency: null,
      legs,
    })
    expect(paid).not.toHaveProperty('refunded_amount')
    expect(await balancesOf(buyer, seller, fees)).toEqual([900, 93, 7])
    expect(await countEntries(paid)).toBe(6)
    await assertBooksHold(payonce.db)
  })

  test('moves nothing at all where one leg is refused, whichever it is', async () => {
    const [rich, poor, third] = [await open(1_000), await open(), await open()]
    const good = leg(rich, third, 10)
    const bad = leg(poor, third, 11)
    for (const legs of [
      [bad, good, good],
      [good, bad, good],
      [good, good, bad],
    ]) {
      const refused = await settled({ legs })
      expect(codeOf(refused)).toEqual(['failed', 'insufficient_funds'])
      expect(await countEntries(refused)).toBe(0)
    }
    expect(await balancesOf(rich, poor, third)).toEqual([1_000, 0, 0])
    await assertBooksHold(payonce.db)
  })

  test('funds each leg from what the legs before it brought, and from nothing after it', async () => {
    const [first, middle, last] = [await open(100), await open(), await open()]
    const legs = [leg(first, middle, 100), leg(middle, last, 100)]
    expect(codeOf(await settled({ legs: legs.toReversed() }))).toEqual([
      'failed',
      'insufficient_funds',
    ])
    expect(codeOf(await settled({ legs }))).toEqual(['succeeded', undefined])
    expect(await balancesOf(first, middle, last)).toEqual([0, 0, 100])
    await assertBooksHold(payonce.db)
  })

  test('is refused as a whole for a frozen account, a limit, or an open hold on its funds', async () => {
    const [a, b, frozen] = [await open(100), await open(), await open()]
    const { client } = payonce
    await client.patch(`/v1/accounts/${frozen}`, { status: 'frozen' })
    expect(codeOf(await settled({ legs: [leg(a, b, 1), leg(a, frozen, 1)] }))).toEqual([
      'failed',
      'account_frozen',
    ])
    const held = (await client.send({ source: a, destination: b, amount: 60, hold: true })).body
    await payonce.settle(held)
    expect(codeOf(await settled({ legs: [leg(a, b, 30), leg(a, b, 11)] }))).toEqual([
      'failed',
      'insufficient_funds',
    ])
    expect(codeOf(await settled({ legs: [leg(a, b, 30), leg(a, b, 10)] }))).toEqual([
      'succeeded',
      undefined,
    ])
    await assertBooksHold(payonce.db)
  })

  test('is an exchange through one account per currency of the exchanger', async () => {
    const [euros, yen] = [await open(10_000), await open(0, 'JPY')]
    const [theirEuros, theirYen] = [await open(), await open(0, 'JPY', 1_000_000)]
    const exchanged = await settled({
      legs: [leg(euros, theirEuros, 10_000), leg(theirYen, yen, 16_450, 'JPY')],
    })
    expect(codeOf(exchanged)).toEqual(['succeeded', undefined])
    expect(await balancesOf(euros, yen, theirEuros, theirYen)).toEqual([0, 16_450, 10_000, -16_450])
    const dry = await settled({
      legs: [leg(theirEuros, euros, 1), leg(theirYen, yen, 1_000_000, 'JPY')],
    })
    expect(codeOf(dry)).toEqual(['failed', 'insufficient_funds'])
    expect(await balancesOf(euros, yen, theirEuros, theirYen)).toEqual([0, 16_450, 10_000, -16_450])
    await assertBooksHold(payonce.db)
  })

  test('is refunded as a whole and once, leg by leg from the last to the first', async () => {
    const [euros, yen] = [await open(10_000), await open(0, 'JPY')]
    const [theirEuros, theirYen] = [await open(), await open(0, 'JPY', 1_000_000)]
    const legs = [leg(euros, theirEuros, 10_000), leg(theirYen, yen, 16_450, 'JPY')]
    const exchanged = await settled({ legs })
    const part = await payonce.client.follow('refund', exchanged.id, { amount: 1 })
    expect([part.status, part.body]).toMatchObject([422, { code: 'partial_refund' }])
    const back = await refunded(exchanged.id)
    expect(back).toMatchObject({
      kind: 'refund',
      status: 'succeeded',
      parent: exchanged.id,
      legs: [leg(yen, theirYen, 16_450, 'JPY'), leg(theirEuros, euros, 10_000)],
    })
    expect(await balancesOf(euros, yen, theirEuros, theirYen)).toEqual([10_000, 0, 0, 0])
    expect(codeOf(await refunded(exchanged.id))).toEqual(['failed', 'already_refunded'])
    await assertBooksHold(payonce.db)
  })

  test('of which one leg cannot be paid back is not refunded at all', async () => {
    const [a, b, c] = [await open(100), await open(), await open()]
    const paid = await settled({ legs: [leg(a, b, 50), leg(a, c, 50)] })
    const spent = (await payonce.client.send({ source: b, destination: c, amount: 1 })).body
    await payonce.settle(spent)
    expect(codeOf(await refunded(paid.id))).toEqual(['failed', 'insufficient_funds'])
    expect(await balancesOf(a, b, c)).toEqual([0, 49, 51])
    await assertBooksHold(payonce.db)
  })

  test.each([
    ['one leg', (a: string, b: string) => [leg(a, b, 1)], '/legs', 'invalid_field'],
    [
      'a leg from an account to itself',
      (a: string, b: string) => [leg(a, b, 1), leg(b, b, 1)],
      '/legs/1/destination',
      'same_account',
    ],
    [
      'a leg in another currency than its accounts',
      (a: string, b: string) => [leg(a, b, 1), leg(a, b, 1, 'JPY')],
      '/legs/1/source',
      'currency_mismatch',
    ],
    [
      'an unknown account',
      (a: string, b: string) => [leg(a, b, 1), leg(a, b.replace(/.{12}$/, '0123456789ab'), 1)],
      '/legs/1/destination',
      'account_not_found',
    ],
  ] as const)('with %s is refused at its place', async (_what, make, param, code) => {
    const [a, b] = [await open(), await open()]
    const refused = await payonce.client.send({ legs: make(a, b) })
    expect(refused.body).toMatchObject({ code, param })
  })

  test('takes no hold, no condition and no source beside its legs', async () => {
    const [a, b] = [await open(), await open()]
    const legs = [leg(a, b, 1), leg(b, a, 1)]
    for (const more of [{ hold: true }, { if: {} }, { source: a }, { amount: 1 }]) {
      const refused = await payonce.client.send({ legs, ...more })
      expect([refused.status, refused.body]).toMatchObject([400, { code: 'unknown_field' }])
    }
  })
})

describe('the list of an account', () => {
  test('has its multi-leg transfers once each: succeeded, failed, canceled, queued', async () => {
    const [a, b, c] = [await open(100), await open(), await open()]
    const { client, db } = payonce
    const both = [leg(a, b, 10), leg(b, a, 5), leg(a, c, 1)]
    const succeeded = await settled({ legs: both })
    const failed = await settled({ legs: [leg(a, b, 1), leg(b, c, 1_000)] })
    const canceled = (await client.send({ legs: both })).body
    await client.cancel(canceled.id)
    const back = await refunded(succeeded.id)
    const queued = (await client.send({ legs: [leg(c, a, 1), leg(a, b, 1)] })).body
    const all = [succeeded, failed, canceled, back, queued].map(({ id }) => id)
    for (const account of [a, b, c]) {
      for (const limit of [1, 2, 100]) {
        const told = await client.listAll<TransferOnWire>(`/v1/transfers?account=${account}`, limit)
        const ofOthers = account === a ? 1 : 0
        expect(
          told
            .filter(({ id }) => all.includes(id))
            .map(({ id }) => id)
            .toSorted(),
        ).toEqual(all.toSorted())
        expect(told).toHaveLength(all.length + ofOthers)
      }
      const refused = await client.listAll<TransferOnWire>(
        `/v1/transfers?account=${account}&status=failed`,
        100,
      )
      expect(refused.map(({ id }) => id)).toEqual([failed.id])
    }
    await payonce.settle(queued)
    await assertBooksHold(db)
  })
})

describe('many of them in a circle', () => {
  test('at once, from several workers, neither deadlock nor lose anything', async () => {
    const accounts = await Promise.all(Array.from({ length: 5 }, () => open(0, 'EUR', 1_000)))
    const at = (n: number) => accounts[n % accounts.length] ?? ''
    const sent = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        payonce.client.send({
          legs: [leg(at(n), at(n + 1), 3), leg(at(n + 1), at(n + 3), 2), leg(at(n + 3), at(n), 1)],
        }),
      ),
    )
    await Promise.all([
      payonce.settle(...sent.map(({ body }) => body)),
      payonce.settle(...sent.toReversed().map(({ body }) => body)),
    ])
    const { body } = await payonce.client.get<AccountOnWire>(`/v1/accounts/${at(0)}`)
    expect(body.held).toBe(0)
    const sum = (await balancesOf(...accounts)).reduce((total, balance) => total + balance, 0)
    expect(sum).toBe(0)
    await assertBooksHold(payonce.db)
  })
})
