import { setTimeout as sleep } from 'node:timers/promises'
import { cancelTransfer } from '@payonce/core/transfers/cancel'
import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import { acceptUnrung, startSettlers, type LoneSettler } from '../support/settlers.ts'
import type { TransferRequest } from '../support/client.ts'
import type { TransferRef } from '@payonce/core/ids'

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

const accept = (requests: readonly TransferRequest[]) => acceptUnrung(payonce, requests)

async function statusesOf(refs: readonly TransferRef[]): Promise<Map<string, number>> {
  const { rows } = await payonce.db.query<{ status: string; count: bigint }>(
    'SELECT status, count(*) FROM transfers WHERE id = ANY($1) GROUP BY status',
    [refs.map(({ transferId }) => transferId)],
  )
  return new Map(rows.map(({ status, count }) => [status, Number(count)]))
}

type LoneSettlers = [LoneSettler, LoneSettler]

const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n))

describe('twin workers with the same jobs in hand', () => {
  test('move the money of each transfer once, in every round (F21)', async () => {
    const settlers = startSettlers(2, payonce.stores.databaseUrl)
    const destination = await payonce.openAccount()
    const rounds = 50
    const perRound = 20
    for (let round = 1; round <= rounds; round++) {
      const refs = await accept(
        times(perRound, () => ({ source: payonce.world, destination, amount: 1 })),
      )
      await Promise.all([
        ...settlers.map((settler) => settler.settle(refs)),
        // And once more in the other order, as a sweep may ring again.
        ...settlers.map((settler) => settler.settle(refs.toReversed())),
      ])
      expect(await payonce.balanceOf(destination)).toBe(round * perRound)
    }
    await assertBooksHold(payonce.db)
    expect(settlers.flatMap(({ parked }) => parked)).toEqual([])
  })

  test('that have parts of them in common settle them all', async () => {
    const settlers = startSettlers(4, payonce.stores.databaseUrl)
    const destination = await payonce.openAccount()
    const refs = await accept(times(300, () => ({ source: payonce.world, destination, amount: 1 })))
    await Promise.all(
      settlers.map((settler, n) => settler.settle(refs.filter((_, place) => place % 5 !== n))),
    )
    expect(await payonce.balanceOf(destination)).toBe(300)
    await assertBooksHold(payonce.db)
  })
})

describe('a cancel and a settlement of the same transfer', () => {
  test('end in one of the two, and a canceled one moves nothing, 1,000 times (F21)', async () => {
    const [settler, canceler] = startSettlers(2, payonce.stores.databaseUrl) as LoneSettlers
    const [source, destination] = [await payonce.openAccount(1_000), await payonce.openAccount()]
    const all: TransferRef[] = []
    let canceledByAnswer = 0
    // The settlement gets a head start that is tuned until both win about as often: then the one
    // comes just when the other is at its work, however fast the machine is.
    let headStartMs = 5
    for (let round = 0; round < 100; round++) {
      const refs = await accept(times(10, () => ({ source, destination, amount: 1 })))
      const settled = settler.settle(refs)
      await sleep(headStartMs)
      const cancels = await Promise.all(refs.map((ref) => cancelTransfer(canceler, ref)))
      await settled
      const canceled = cancels.filter(({ result }) => result === 'canceled').length
      headStartMs = Math.min(500, Math.max(1, headStartMs * (canceled > 5 ? 1.4 : 0.7)))
      canceledByAnswer += canceled
      all.push(...refs)
    }
    const statuses = await statusesOf(all)
    const [succeeded = 0, canceled = 0] = [statuses.get('succeeded'), statuses.get('canceled')]
    expect(succeeded + canceled).toBe(1_000)
    expect(canceled).toBe(canceledByAnswer)
    expect(Math.min(succeeded, canceled)).toBeGreaterThan(20)
    expect(await payonce.balanceOf(destination)).toBe(succeeded)
    expect(settler.parked).toEqual([])
    await assertBooksHold(payonce.db)
  })

  test('of a neighbour in the same flush disturbs nobody: all the others succeed', async () => {
    const settlers = startSettlers(2, payonce.stores.databaseUrl) as LoneSettlers
    const [canceler] = settlers
    const destination = await payonce.openAccount()
    for (let round = 0; round < 20; round++) {
      const refs = await accept(
        times(40, () => ({ source: payonce.world, destination, amount: 1 })),
      )
      const victims = refs.filter((_, n) => n % 8 === 0)
      await Promise.all([
        ...settlers.map((settler) => settler.settle(refs)),
        ...victims.map((ref) => cancelTransfer(canceler, ref)),
      ])
      const others = refs.filter((ref) => !victims.includes(ref))
      expect(await statusesOf(others)).toEqual(new Map([['succeeded', 35]]))
    }
    expect(settlers.flatMap(({ parked }) => parked)).toEqual([])
    await assertBooksHold(payonce.db)
  })
})

describe('transfers in both directions between the same accounts', () => {
  test('settle in four workers at once without a deadlock (F14)', async () => {
    const settlers = startSettlers(4, payonce.stores.databaseUrl)
    const accounts = await Promise.all(
      times(6, () => payonce.openAccount(0, { overdraft_limit: 1_000_000 })),
    )
    const deadlocksBefore = await countDeadlocks()
    for (let round = 0; round < 4; round++) {
      const refs = await accept(
        times(120, (n) => ({
          source: accounts[(n * 5) % 6] ?? '',
          destination: accounts[(n * 5 + 1 + (n % 5)) % 6] ?? '',
          amount: 1 + n,
        })),
      )
      // Every worker gets its own share, one after the other, so that their flushes overlap.
      await Promise.all(
        settlers.map(async (settler, worker) => {
          const share = refs.filter((_, n) => n % settlers.length === worker)
          for (let n = 0; n < share.length; n += 5) await settler.settle(share.slice(n, n + 5))
        }),
      )
    }
    // A backend tells its statistics at the latest when it ends.
    await Promise.all(settlers.map((settler) => settler.close()))
    expect(await countDeadlocks()).toBe(deadlocksBefore)
    expect(settlers.flatMap(({ parked }) => parked)).toEqual([])
    await assertBooksHold(payonce.db)
  })
})

async function countDeadlocks(): Promise<bigint | undefined> {
  const { rows } = await payonce.db.query<{ deadlocks: bigint }>(
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  )
  return rows[0]?.deadlocks
}

describe('1,000 debits at once against funds for 500', () => {
  test('let exactly 500 through, and empty the account (F15)', async () => {
    const settlers = startSettlers(4, payonce.stores.databaseUrl)
    const [source, destination] = [await payonce.openAccount(1_500), await payonce.openAccount()]
    const refs = await accept(times(1_000, () => ({ source, destination, amount: 3 })))
    await Promise.all(
      settlers.map((settler, worker) =>
        settler.settle(refs.filter((_, n) => n % settlers.length === worker)),
      ),
    )
    expect(await statusesOf(refs)).toEqual(
      new Map([
        ['failed', 500],
        ['succeeded', 500],
      ]),
    )
    expect(await payonce.balanceOf(source)).toBe(0)
    expect(await payonce.balanceOf(destination)).toBe(1_500)
    await assertBooksHold(payonce.db)
  })
})

describe('a change of an account while its transfers settle', () => {
  test('is seen by each transfer either before or after, and versions tell which', async () => {
    const [settler] = startSettlers(1, payonce.stores.databaseUrl) as [LoneSettler]
    const { client, db } = payonce
    const [source, destination] = [await payonce.openAccount(10_000), await payonce.openAccount()]
    let frozenRefused = 0
    for (let round = 0; round < 16; round++) {
      const refs = await accept(times(6, () => ({ source, destination, amount: 1 })))
      await Promise.all([
        client.patch(`/v1/accounts/${source}`, { status: round % 2 === 0 ? 'frozen' : 'open' }),
        ...refs.map((ref) => settler.settle([ref])),
      ])
      frozenRefused += (await statusesOf(refs)).get('failed') ?? 0
    }
    expect(frozenRefused).toBeGreaterThan(0)
    // Whatever was refused for the frozen account was judged at a version at which it was frozen.
    const { rows } = await db.query<{ source_version: bigint; status: string }>(
      'SELECT source_version, status FROM transfers WHERE source = $1',
      [uuidOf(source)],
    )
    expect(rows.every(({ source_version }) => source_version !== null)).toBe(true)
    await assertBooksHold(db)
  })
})
