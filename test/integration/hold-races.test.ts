import { cancelTransfer } from '@payonce/core/transfers/cancel'
import { beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import {
  acceptCommands,
  acceptUnrung,
  startSettlers,
  toChild,
  type LoneSettler,
} from '../support/settlers.ts'
import type { TransferRequest } from '../support/client.ts'
import type { TransferRef } from '@payonce/core/ids'
import type { TransferCommand } from '@payonce/core/transfers/transfer'

/*
 * Everything that ends a hold, sent at each other from several workers at once, in hundreds of
 * rounds. What the books say afterwards is the proof; the counts say that each of them won at times.
 */

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ worker: false })
})

const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n))

type Row = {
  id: string
  status: string
  amount: bigint | null
  captured_amount: bigint
  refunded_amount: bigint
  failure_code: string | null
}

async function rowsOf(refs: readonly TransferRef[]): Promise<Row[]> {
  const { rows } = await payonce.db.query<Row>(
    `SELECT id, status, amount, captured_amount, refunded_amount, failure_code
       FROM transfers WHERE id = ANY($1)`,
    [refs.map(({ transferId }) => transferId)],
  )
  const byId = new Map(rows.map((row) => [row.id, row]))
  return refs.map(({ transferId }) => {
    const row = byId.get(transferId)
    if (row === undefined) throw new Error(`${transferId} is not settled`)
    return row
  })
}

function countBy<T>(all: readonly T[], nameOf: (one: T) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const one of all) counts[nameOf(one)] = (counts[nameOf(one)] ?? 0) + 1
  return counts
}

const accept = (commands: readonly TransferCommand[]) => acceptCommands(payonce, commands)

/** Settles each command in a worker of its own, in an order that differs from round to round. */
async function settleApart(
  settlers: readonly LoneSettler[],
  refs: readonly TransferRef[],
  round: number,
): Promise<void> {
  const first = round % refs.length
  const turned = [...refs.slice(first), ...refs.slice(0, first)]
  await Promise.all(
    turned.map(async (ref, n) => {
      await settlers[n % settlers.length]?.settle([ref])
    }),
  )
}

async function openRoute(balance: number, amount: number): Promise<TransferRequest> {
  const [source, destination] = [await payonce.openAccount(balance), await payonce.openAccount()]
  return { source, destination, amount }
}

describe('a capture, a release and the expiry of one hold', () => {
  test('end it in one of them, in 300 rounds', async () => {
    const settlers = startSettlers(3, payonce.stores.databaseUrl)
    const route = { ...(await openRoute(10_000, 10)), hold: true }
    const endings: string[] = []
    for (let round = 0; round < 60; round++) {
      const holds = await acceptUnrung(
        payonce,
        times(5, () => route),
      )
      await settlers[0]?.settle(holds)
      const children = await accept(
        holds.flatMap((ref) => [
          toChild('capture', ref, route, { amount: 7 }),
          toChild('release', ref, route),
        ]),
      )
      // Only some are over: one that is past its time can end in no other way.
      const over = holds.filter((_, n) => (n + round) % 3 === 0)
      await payonce.db.query(
        `UPDATE transfers SET expires_at = clock_timestamp() + $2 * interval '1 ms'
          WHERE id = ANY($1)`,
        [over.map(({ transferId }) => transferId), round % 4],
      )
      await Promise.all([
        settleApart(settlers, children, round),
        ...settlers.map((settler) => settler.expireHolds(holds)),
      ])
      await settlers[0]?.expireHolds(holds)
      const parents = await rowsOf(holds)
      const outcomes = await rowsOf(children)
      for (const [n, parent] of parents.entries()) {
        const [capture, release] = outcomes.slice(2 * n, 2 * n + 2)
        endings.push(parent.status)
        // A capture of a part may come before either end, and nothing may come after it.
        expect(parent.captured_amount).toBe(capture?.status === 'succeeded' ? 7n : 0n)
        expect(release?.status).toBe(parent.status === 'released' ? 'succeeded' : 'failed')
      }
    }
    const counts = countBy(endings, (status) => status)
    expect(Object.keys(counts).toSorted()).toEqual(['expired', 'released'])
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(20)
    expect(settlers.flatMap(({ parked }) => parked)).toEqual([])
    await assertBooksHold(payonce.db)
  }, 60_000)

  test('with a cancel of the hold while it is queued, move nothing after the cancel', async () => {
    const settlers = startSettlers(3, payonce.stores.databaseUrl)
    const [canceler] = startSettlers(1, payonce.stores.databaseUrl)
    const route = { ...(await openRoute(10_000, 10)), hold: true }
    const statuses: string[] = []
    for (let round = 0; round < 60; round++) {
      const holds = await acceptUnrung(
        payonce,
        times(5, () => route),
      )
      const captures = await accept(holds.map((ref) => toChild('capture', ref, route)))
      await Promise.all([
        settleApart(settlers, [...holds, ...captures], round),
        ...holds.map((ref) => canceler && cancelTransfer(canceler, ref)),
      ])
      const parents = await rowsOf(holds)
      const children = await rowsOf(captures)
      for (const [n, parent] of parents.entries()) {
        statuses.push(parent.status)
        expect(children[n]).toMatchObject(
          parent.status === 'canceled'
            ? { status: 'failed', failure_code: 'parent_canceled' }
            : { status: 'succeeded' },
        )
      }
    }
    expect(Object.keys(countBy(statuses, (status) => status)).toSorted()).toEqual([
      'canceled',
      'succeeded',
    ])
    await assertBooksHold(payonce.db)
  }, 60_000)
})

describe('captures of more than there is', () => {
  test('never take more than the hold, whichever workers carry them out, in 200 rounds', async () => {
    const settlers = startSettlers(3, payonce.stores.databaseUrl)
    const route = { ...(await openRoute(1_000_000, 100)), hold: true }
    const codes: string[] = []
    for (let round = 0; round < 200; round++) {
      const holds = await acceptUnrung(payonce, [route])
      const [parent] = holds as [TransferRef]
      await settlers[0]?.settle(holds)
      // Two twins of 60 and three of 30: at most 100 of these 210 go through.
      const captures = await accept(
        [60, 60, 30, 30, 30].map((amount) => toChild('capture', parent, route, { amount })),
      )
      await settleApart(settlers, [...captures, ...captures.slice(0, 2)], round)
      const taken = await rowsOf(captures)
      const sum = taken
        .filter(({ status }) => status === 'succeeded')
        .reduce((total, { amount }) => total + (amount ?? 0n), 0n)
      // 60 and 30 fit, and so do three of 30: then nothing else does.
      expect(sum).toBe(90n)
      codes.push(...taken.map(({ failure_code }) => failure_code ?? 'succeeded'))
      const [hold] = await rowsOf(holds)
      expect(hold).toMatchObject({ status: 'held', captured_amount: sum })
    }
    expect(Object.keys(countBy(codes, (code) => code)).toSorted()).toEqual([
      'capture_exceeds_remaining',
      'succeeded',
    ])
    expect(settlers.flatMap(({ parked }) => parked)).toEqual([])
    await assertBooksHold(payonce.db)
  }, 60_000)
})

describe('refunds of one transfer from several workers', () => {
  test('never give back more than its amount, in 200 rounds', async () => {
    const settlers = startSettlers(3, payonce.stores.databaseUrl)
    const route = await openRoute(1_000_000, 100)
    for (let round = 0; round < 200; round++) {
      const paid = await acceptUnrung(payonce, [route])
      const [parent] = paid as [TransferRef]
      const refunds = await accept([
        ...[40, 40, 40].map((amount) => toChild('refund', parent, route, { amount })),
        toChild('refund', parent, route),
      ])
      // In every other round the transfer itself is still queued and comes along.
      if (round % 2 === 0) await settlers[0]?.settle(paid)
      await settleApart(settlers, [...refunds, ...refunds.slice(0, 1)], round)
      const [row] = await rowsOf(paid)
      const back = await rowsOf(refunds)
      const sum = back
        .filter(({ status }) => status === 'succeeded')
        .reduce((total, { amount }) => total + (amount ?? 0n), 0n)
      expect(row).toMatchObject({ status: 'succeeded', refunded_amount: sum })
      expect(sum).toBe(100n)
    }
    await assertBooksHold(payonce.db)
  }, 60_000)
})

describe('holds in both directions between the same accounts', () => {
  test('with their captures and expiries settle in four workers without a deadlock', async () => {
    const settlers = startSettlers(4, payonce.stores.databaseUrl)
    const accounts = await Promise.all(
      times(4, () => payonce.openAccount(0, { overdraft_limit: 1_000_000 })),
    )
    const before = await countDeadlocks()
    for (let round = 0; round < 5; round++) {
      const routes = times(40, (n): TransferRequest => ({
        source: accounts[n % 4] ?? '',
        destination: accounts[(n + 1 + (n % 3)) % 4] ?? '',
        amount: 10 + n,
        hold: true,
      }))
      const holds = await acceptUnrung(payonce, routes)
      const children = await accept(
        holds.flatMap((ref, n) => {
          const route = routes[n]
          if (route === undefined) return []
          return [toChild('capture', ref, route, { amount: 5 }), toChild('release', ref, route)]
        }),
      )
      await Promise.all([
        ...settlers.map(async (settler, worker) => {
          const share = [...holds, ...children].filter((_, n) => n % 4 === worker)
          for (let n = 0; n < share.length; n += 5) await settler.settle(share.slice(n, n + 5))
        }),
        ...settlers.map((settler) => settler.expireHolds(holds)),
      ])
    }
    await Promise.all(settlers.map((settler) => settler.close()))
    expect(await countDeadlocks()).toBe(before)
    expect(settlers.flatMap(({ parked }) => parked)).toEqual([])
    await assertBooksHold(payonce.db)
  }, 60_000)
})

async function countDeadlocks(): Promise<bigint | undefined> {
  const { rows } = await payonce.db.query<{ deadlocks: bigint }>(
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  )
  return rows[0]?.deadlocks
}
