import { randomUUID } from 'node:crypto'
import { createClock } from '@payonce/core/clock'
import { createPool, type Pool, type Queryable } from '@payonce/core/db/client'
import { readFeed } from '@payonce/core/events/feed'
import { createIdGenerator } from '@payonce/core/ids'
import { findKey } from '@payonce/core/idempotency/known-key'
import { listEntries, readBalanceAt } from '@payonce/core/ledger/entry'
import { findTransfer } from '@payonce/core/transfers/find'
import { listTransfers, type TransferFilter } from '@payonce/core/transfers/list'
import { readTimeline } from '@payonce/core/transfers/timeline'
import {
  findAwaiting,
  findDeferredDue,
  findExpiredHolds,
  findUnsettled,
  positionAt,
} from '@payonce/core/transfers/unsettled'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../support/database.ts'

/*
 * What is asked all the time has to cost the same in a year. A table that has grown is what shows
 * it: on an empty one every plan is fast.
 */

const newId = createIdGenerator(createClock().nowMs)
const tenantId = newId()
const alice = newId()
const poor = newId()
/** What has settled over four days, by two transfers a second or so, and a little that has not. */
const settledCount = 200_000
let db: Pool

beforeAll(async () => {
  db = createPool({
    databaseUrl: await createDatabase(),
    name: 'test',
    maxConnections: 2,
    queryTimeoutMs: 120_000,
    onError: () => undefined,
  })
  await writeHistory()
}, 180_000)

afterAll(() => db.end())

async function writeHistory(): Promise<void> {
  // Ids rise with the time, as those of version 7 do.
  const id = (n: string) =>
    `(lpad(to_hex((extract(epoch FROM ${at(n)}) * 1000)::bigint), 12, '0') || '7' ||
      lpad(to_hex(${n} % 4096), 3, '0') || '8000' || lpad(to_hex(${n}), 12, '0'))::uuid`
  const at = (n: string) =>
    `date_trunc('milliseconds', now() - (${settledCount} - ${n}) * interval '1.7 s')`
  await db.query(
    `CREATE TEMP TABLE history AS
     SELECT n, ${id('n')} AS id, ${at('n')} AS at, n > ${settledCount} - 4 AS is_queued,
            CASE WHEN n % 1000 = 1 THEN 'failed' WHEN n % 1000 = 2 THEN 'canceled'
                 ELSE 'succeeded' END AS status
       FROM generate_series(1, ${settledCount}) AS n`,
  )
  await db.query(
    `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                   accepted_at, due_at)
     SELECT $1, md5(n::text), '', 'transfer', id, at, at FROM history`,
    [tenantId],
  )
  await db.query(
    `INSERT INTO commands (tenant_id, id, idempotency_key, accepted_at, due_at, command)
     SELECT $1, id, md5(n::text), at, at,
            json_build_object('v', 1, 'kind', 'transfer', 'source', $2::text, 'destination',
                              $3::text, 'amount', 1, 'currency', 'EUR')
       FROM history`,
    [tenantId, alice, poor],
  )
  await db.query(
    `INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, source, destination,
                            amount, currency, captured_amount, refunded_amount, failure_code,
                            source_version, destination_version, settlement_id, created_at,
                            settled_at)
     SELECT $1, id, md5(n::text), 'transfer', status, $2, $3, 1, 'EUR', 0, 0,
            CASE status WHEN 'failed' THEN 'insufficient_funds' END, n, n, id, at, at
       FROM history WHERE NOT is_queued`,
    [tenantId, alice, poor],
  )
  await db.query(
    `INSERT INTO entries (tenant_id, account_id, seq, transfer_id, amount, balance_after, created_at)
     SELECT $1, $2, row_number() OVER (ORDER BY n), id, -1, -row_number() OVER (ORDER BY n), at
       FROM history WHERE NOT is_queued AND status = 'succeeded'`,
    [tenantId, alice],
  )
  await db.query(
    `INSERT INTO accounts (tenant_id, id, kind, currency, status, balance, held, overdraft_limit,
                           version, entry_count, last_entry_at, created_at)
     SELECT $1, $2, 'external', 'EUR', 'open', -count(*), 0, 0, count(*), count(*), now(), now()
       FROM entries`,
    [tenantId, alice],
  )
  await db.query(
    `INSERT INTO events (tenant_id, type, object_id, sequence, created_at)
     SELECT $1, 'transfer.' || status, id, 1, at FROM history WHERE NOT is_queued ORDER BY n`,
    [tenantId],
  )
  await db.query(`UPDATE event_feed SET published = (SELECT max(position) FROM events)`)
  await db.query(`UPDATE sweeps SET watermark = (SELECT min(at) FROM history WHERE is_queued)`)
  await db.query('ANALYZE')
}

type Plan = {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  Plans?: Plan[]
}

/** The plans, as carried out, of all statements that `ask` sends. */
async function plansOf(ask: (db: Queryable) => Promise<unknown>): Promise<Plan[]> {
  const statements: [text: string, values: unknown[]][] = []
  const recording = {
    query: (text: string, values: unknown[]) => {
      statements.push([text, values])
      return db.query(text, values)
    },
  }
  await ask(recording as unknown as Queryable)
  expect(statements.length).toBeGreaterThan(0)
  const plans: Plan[] = []
  for (const [text, values] of statements) {
    const { rows } = await db.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`,
      values,
    )
    plans.push(...(rows[0]?.['QUERY PLAN'].map(({ Plan }) => Plan) ?? []))
  }
  return plans
}

function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]
}

/** The rows that a node has looked at, whether it passed them on or not. */
function rowsRead(node: Plan): number {
  const perLoop =
    node['Actual Rows'] +
    (node['Rows Removed by Filter'] ?? 0) +
    (node['Rows Removed by Index Recheck'] ?? 0)
  return perLoop * node['Actual Loops']
}

const lastHour = () => new Date(Date.now() - 3_600_000)
const page = { limit: 10 }
const list = (filter: Omit<TransferFilter, 'tenantId'>) => (db: Queryable) =>
  listTransfers(db, { tenantId, ...filter }, page)

const questions: [what: string, ask: (db: Queryable) => Promise<unknown>][] = [
  [
    'what the sweep asks for the oldest',
    async (db) => {
      const { rows } = await db.query<{ watermark: Date }>('SELECT watermark FROM sweeps')
      const after = positionAt(rows[0]?.watermark ?? new Date(0))
      await findUnsettled(db, { after, until: new Date(), limit: 1 })
    },
  ],
  [
    'what the sweep asks for a page',
    (db) =>
      findUnsettled(db, {
        after: positionAt(new Date(Date.now() - 60_000)),
        until: new Date(),
        limit: 1_000,
      }),
  ],
  ['what the sweep asks for the deferred', (db) => findDeferredDue(db, 1_000)],
  ['a look at a known key', (db) => findKey(db, tenantId, 'c4ca4238a0b923820dcc509a6f75849b')],
  ['a look at an unknown key', (db) => findKey(db, tenantId, randomUUID())],
  ['a look at a transfer', (db) => findTransfer(db, { tenantId, transferId: newId() })],
  ['the unsettled ones', (db) => findAwaiting(db, { tenantId, limit: 10, conditions: () => [] })],
  ['what the sweep asks for holds that are over', (db) => findExpiredHolds(db, 1_000)],
  ['a page of transfers', list({})],
  ['a page of succeeded ones', list({ status: 'succeeded' })],
  ['a page of failed ones', list({ status: 'failed' })],
  ['a page of queued ones', list({ status: 'queued' })],
  ['a page of an account', list({ accountId: alice })],
  ['a page of the canceled ones of an account', list({ accountId: alice, status: 'canceled' })],
  ['a page of the holds of an account', list({ accountId: alice, kind: 'hold' })],
  ['a page of the held ones of an account', list({ accountId: alice, status: 'held' })],
  ['a page of held ones', list({ status: 'held' })],
  ['a page of scheduled ones', list({ status: 'scheduled' })],
  ['a page of refunds', list({ kind: 'refund' })],
  [
    'a page of the last hour with metadata',
    list({ createdAfter: lastHour(), metadata: { order: '6735' } }),
  ],
  [
    'the timeline of a transfer',
    async (db) => {
      const { rows } = await db.query<{ id: string }>('SELECT id FROM transfers LIMIT 1')
      await readTimeline(db, { tenantId, transferId: rows[0]?.id ?? '' })
    },
  ],
  [
    'the balance of an account two days ago',
    async (db) => {
      const at = new Date(Date.now() - 2 * 86_400_000)
      expect((await readBalanceAt(db, { tenantId, accountId: alice, at })).seq).not.toBe(0n)
    },
  ],
  ['a page of the feed', (db) => readFeed(db, { tenantId, after: 100_000n, limit: 100 })],
  [
    'a page of the feed of one type that is rare',
    (db) => readFeed(db, { tenantId, after: 0n, type: 'transfer.canceled', limit: 100 }),
  ],
  [
    'a page of the feed of one type that has never been',
    (db) => readFeed(db, { tenantId, after: 0n, type: 'transfer_batch.completed', limit: 100 }),
  ],
  ['a page of the last hour', list({ createdAfter: lastHour() })],
  ['a page of an hour long ago', list({ createdBefore: new Date(Date.now() - 3 * 86_400_000) })],
  ['the entries of an account', (db) => listEntries(db, { tenantId, accountId: alice, limit: 10 })],
]

describe('on tables with 200,000 rows', () => {
  test.each(questions)('%s costs what it finds, and not what there is', async (_what, ask) => {
    for (const plan of await plansOf(ask)) {
      const nodes = nodesOf(plan)
      const sequential = nodes.filter((node) => node['Node Type'] === 'Seq Scan')
      // Small tables are read whole; none of the ones that grow is.
      const grown = sequential.filter((node) => rowsRead(node) > 100)
      expect(grown).toEqual([])
      // 5,000 is what one hour or a few hundred failures are; the history is 40 times as much.
      expect(nodes.filter((node) => rowsRead(node) > 5_000)).toEqual([])
    }
  })

  test('the sweep finds what is due by the index of due times', async () => {
    const [, ask] = questions[0] ?? []
    const plans = await plansOf(ask ?? (() => Promise.resolve()))
    const indexes = plans.flatMap(nodesOf).map((node) => node['Index Name'])
    expect(indexes).toContain('idempotency_keys_due_at_index')
    expect(indexes).toContain('transfers_primary')
  })
})
