import { setTimeout as sleep } from 'node:timers/promises'
import { createClock } from '@payonce/core/clock'
import { createPool, type Pool } from '@payonce/core/db/client'
import { createIdGenerator } from '@payonce/core/ids'
import { createLog } from '@payonce/core/log'
import { createMetrics, type Metrics } from '@payonce/core/metrics'
import { readSweepState } from '@payonce/core/transfers/unsettled'
import { createSweeper } from '@payonce/worker/sweeps/unsettled'
import pg from 'pg'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'
import type { Ring } from '@payonce/core/queue/queues'

/*
 * The sweep on a real database, with a queue that only notes what is rung: what a sweep does when
 * does not depend on the backend, and nothing but the sweep itself settles anything here.
 */

const newId = createIdGenerator(createClock().nowMs)
const tenantId = newId()
const closing: (() => unknown)[] = []
let db: Pool

/** A report that runs since before the first test: see the last one. */
let report: { connection: pg.Client; pool: Pool }

const connect = (databaseUrl: string) =>
  createPool({ databaseUrl, name: 'test', maxConnections: 8, onError: () => undefined })

beforeAll(async () => {
  const databaseUrl = await createDatabase()
  const connection = new pg.Client(databaseUrl)
  await connection.connect()
  await connection.query('BEGIN TRANSACTION READ ONLY')
  await connection.query('SELECT count(*) FROM idempotency_keys')
  report = { connection, pool: connect(databaseUrl) }
  return async () => {
    await connection.end()
    await report.pool.end()
  }
})

beforeEach(async () => {
  db = connect(await createDatabase())
})

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
  vi.restoreAllMocks()
  await db.end()
})

type Watched = {
  holder: string
  rings: Ring[]
  metrics: Metrics
  /** How many jobs the queue pretends to hold. */
  queued: number
  stop(): Promise<void>
}

function startSweeper(pool: Pool = db): Watched {
  const metrics = createMetrics()
  const watched: Watched = {
    holder: newId(),
    rings: [],
    metrics,
    queued: 0,
    stop: () => sweeper.stop(),
  }
  const sweeper = createSweeper({
    pool,
    settler: { expireHolds: () => Promise.resolve() },
    holder: watched.holder,
    metrics,
    log: createLog({ name: 'test', level: 'silent' }),
    queue: {
      add: (rings) => {
        watched.rings.push(...rings)
        return Promise.resolve()
      },
      count: () => Promise.resolve(watched.queued),
    },
  })
  sweeper.start()
  closing.push(() => sweeper.stop())
  return watched
}

async function countSweeps({ metrics }: Watched): Promise<number> {
  const text = await metrics.registry.metrics()
  return Number(/^payonce_sweep_duration_seconds_count (.*)$/m.exec(text)?.[1])
}

/** Resolves when the next sweep has ended; a second passes until another one begins. */
async function untilSweepEnds(watched: Watched, times = 1): Promise<void> {
  const before = await countSweeps(watched)
  await until('a sweep has ended', async () => (await countSweeps(watched)) >= before + times)
}

/** Resolves when a sweep that began after this call has ended: the first to end may be older. */
const untilSwept = (watched: Watched) => untilSweepEnds(watched, 2)

/** A command that was due so many seconds ago. */
async function insertDue(secondsAgo: number, pool: Pool = db): Promise<string> {
  const id = newId()
  await pool.query(
    `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                   accepted_at, due_at)
     VALUES ($1, $2, '', 'transfer', $3, now() - $4 * interval '1 s', now() - $4 * interval '1 s')`,
    [tenantId, `key of ${id}`, id, secondsAgo],
  )
  return id
}

async function settle(id: string, pool: Pool = db): Promise<void> {
  await pool.query(
    `INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, source, destination,
                            amount, currency, captured_amount, refunded_amount, settlement_id,
                            created_at, settled_at)
     VALUES ($1, $2, $3, 'transfer', 'canceled', $2, $1, 1, 'EUR', 0, 0, $2, now(), now())`,
    [tenantId, id, `key of ${id}`],
  )
}

const idsOf = ({ rings }: Watched) =>
  rings.map(({ ref }) => ('batchId' in ref ? ref.batchId : ref.transferId))

/** Stops the clock by which the sweep measures its gaps. Returns how to move it on. */
function stopClock(): (ms: number) => void {
  let now = performance.now()
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  return (ms) => {
    now += ms
  }
}

describe('the watermark', () => {
  test('advances over what is settled or put aside, up to the first that is neither', async () => {
    const [settled, aside, open] = [await insertDue(40), await insertDue(30), await insertDue(20)]
    const after = await insertDue(10)
    await settle(settled)
    await settle(after)
    await db.query(
      `INSERT INTO deferred (tenant_id, transfer_id, reason, attempts, last_code, next_due_at)
       VALUES ($1, $2, 'poison', 1, 'Error', now() + interval '1 hour')`,
      [tenantId, aside],
    )
    const sweeper = startSweeper()
    await untilSwept(sweeper)
    expect((await readSweepState(db)).watermark).toEqual(await dueAt(open))
    expect((await readSweepState(db)).oldestUnsettledAt).toEqual(await dueAt(open))
    expect(idsOf(sweeper)).toEqual([open])

    await settle(open)
    await untilSwept(sweeper)
    const state = await readSweepState(db)
    expect(state.watermark > (await dueAt(after))).toBe(true)
    expect(state.oldestUnsettledAt).toBeNull()
    expect(state.deferredCount).toBe(1)
  })

  test('goes back with the clock of the database, and hides nothing that is accepted since', async () => {
    await db.query(`UPDATE sweeps SET watermark = now() + interval '3 days'`)
    const id = await insertDue(10)
    const sweeper = startSweeper()
    await until('it is rung', () => idsOf(sweeper).includes(id))
    await settle(id)
    await untilSwept(sweeper)
    const { watermark } = await readSweepState(db)
    expect(watermark < new Date()).toBe(true)
    expect(watermark > (await dueAt(id))).toBe(true)
  })

  test.each([
    ['has inserted its row', true],
    ['has only begun', false],
  ])('never passes an open acceptance that %s', async (_what, insertsEarly) => {
    const acceptance = await db.connect()
    await acceptance.query('BEGIN')
    const { rows } = await acceptance.query<{ now: Date }>('SELECT now()')
    const startedAt = rows[0]?.now ?? new Date(0)
    const id = newId()
    const insert = () =>
      acceptance.query(
        `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource,
                                       resource_id, accepted_at, due_at)
         VALUES ($1, $2, '', 'transfer', $3, date_trunc('milliseconds', now()),
                 date_trunc('milliseconds', now()))`,
        [tenantId, `key of ${id}`, id],
      )
    if (insertsEarly) await insert()

    const sweeper = startSweeper()
    await until('a sweep could have passed it', async () => (await ageOf(startedAt)) > 2.5, {
      everyMs: 100,
    })
    await untilSwept(sweeper)
    const held = (await readSweepState(db)).watermark
    expect(held <= startedAt).toBe(true)
    expect(held > new Date('2026-01-02')).toBe(true)

    if (!insertsEarly) await insert()
    await acceptance.query('COMMIT')
    acceptance.release()
    await untilSwept(sweeper)
    expect((await readSweepState(db)).oldestUnsettledAt).toEqual(await dueAt(id))
    await until('it is rung when it is overdue', () => idsOf(sweeper).includes(id))
    await settle(id)
    await untilSwept(sweeper)
    expect((await readSweepState(db)).watermark > startedAt).toBe(true)
  })
})

async function dueAt(id: string): Promise<Date> {
  const { rows } = await db.query<{ due_at: Date }>(
    'SELECT due_at FROM idempotency_keys WHERE resource_id = $1',
    [id],
  )
  return rows[0]?.due_at ?? new Date(0)
}

async function ageOf(time: Date): Promise<number> {
  const { rows } = await db.query<{ age: number }>(
    'SELECT extract(epoch FROM clock_timestamp() - $1)::float AS age',
    [time],
  )
  return rows[0]?.age ?? 0
}

describe('the lease of the sweep', () => {
  test('lets one process sweep, and the next one as soon as the first stops', async () => {
    // Something old that never settles keeps the watermark where all of this is still found.
    await insertDue(60)
    const first = startSweeper()
    await untilSwept(first)
    const second = startSweeper()
    const id = await insertDue(10)
    await until('the first has rung it', () => idsOf(first).includes(id))
    await untilSwept(first)
    expect(await countSweeps(second)).toBe(0)
    expect(second.rings).toEqual([])

    await first.stop()
    // Long before the lease would have ended by itself, in 8 s.
    await until('the second sweeps', async () => (await countSweeps(second)) > 0, {
      withinMs: 5_000,
    })
    await until('the second rings it', () => idsOf(second).includes(id))
  })

  test('of a process that died is taken over when it ends, and not before', async () => {
    await db.query(
      `UPDATE sweeps SET holder = $1, lease_expires_at = clock_timestamp() + interval '3 s'`,
      [newId()],
    )
    const id = await insertDue(10)
    const sweeper = startSweeper()
    await until('the lease was taken over', () => sweeper.rings.length > 0)
    const { rows } = await db.query<{ holder: string; lease: number }>(
      `SELECT holder, extract(epoch FROM lease_expires_at - clock_timestamp())::float AS lease
         FROM sweeps`,
    )
    expect(rows[0]?.holder).toBe(sweeper.holder)
    expect(rows[0]?.lease).toBeGreaterThan(5)
    expect(idsOf(sweeper)).toEqual([id])
    const { rows: waited } = await db.query<{ waited: boolean }>(
      `SELECT clock_timestamp() - due_at > interval '13 s' AS waited
         FROM idempotency_keys WHERE resource_id = $1`,
      [id],
    )
    expect(waited[0]?.waited).toBe(true)
  })

  test('that was lost meanwhile keeps the old holder from noting anything', async () => {
    const sweeper = startSweeper()
    await untilSwept(sweeper)
    const thief = newId()
    await db.query(
      `UPDATE sweeps SET holder = $1, lease_expires_at = clock_timestamp() + interval '1 hour'`,
      [thief],
    )
    const { sweptAt } = await readSweepState(db)
    const id = await insertDue(10)
    await sweeper.stop()
    expect(idsOf(sweeper)).not.toContain(id)
    expect((await readSweepState(db)).sweptAt).toEqual(sweptAt)
    const { rows } = await db.query('SELECT holder FROM sweeps')
    expect(rows).toEqual([{ holder: thief }])
  })
})

describe('ringing', () => {
  test('is left to the queue while it holds plenty, but for what is a minute late', async () => {
    const [late, young] = [await insertDue(70), await insertDue(20)]
    const sweeper = startSweeper()
    sweeper.queued = 2_001
    await until('the late one is rung', () => idsOf(sweeper).includes(late))
    await untilSwept(sweeper)
    expect(idsOf(sweeper)).toEqual([late])

    sweeper.queued = 2_000
    await until('the young one is rung as well', () => idsOf(sweeper).includes(young))
  })

  test('is repeated after growing gaps, from the second time on under a new job id', async () => {
    const id = await insertDue(10)
    const letTimePass = stopClock()
    const sweeper = startSweeper()
    for (const [ring, gapMs] of [5_000, 10_000, 20_000].entries()) {
      await until(`ring ${ring + 1}`, () => sweeper.rings.length === ring + 1)
      await untilSweepEnds(sweeper)
      letTimePass(gapMs - 1)
      await untilSweepEnds(sweeper)
      expect(sweeper.rings).toHaveLength(ring + 1)
      letTimePass(1)
    }
    await until('the last ring', () => sweeper.rings.length === 4)
    expect(idsOf(sweeper)).toEqual([id, id, id, id])
    expect(sweeper.rings.map(({ attempt }) => attempt)).toEqual([undefined, 2, 3, 4])
  })

  test('goes on at once while a page is full, and reaches everything', async () => {
    await db.query(
      `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource,
                                     resource_id, accepted_at, due_at)
       SELECT $1, 'key ' || n, '', 'transfer', gen_random_uuid(), now() - interval '10 s',
              now() - interval '10 s'
         FROM generate_series(1, 3500) AS n`,
      [tenantId],
    )
    const sweeper = startSweeper()
    await until('all are rung', () => sweeper.rings.length >= 3_500)
    await untilSwept(sweeper)
    expect(new Set(idsOf(sweeper)).size).toBe(3_500)
    expect(sweeper.rings).toHaveLength(3_500)
  })

  test('reaches what stands behind more settled keys than a statement looks at', async () => {
    const [first, last] = [await insertDue(40), await insertDue(20)]
    await db.query(
      `WITH keys AS (
         INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource,
                                       resource_id, accepted_at, due_at)
         SELECT $1, 'key ' || n, '', 'transfer', gen_random_uuid(), now() - interval '30 s',
                now() - interval '30 s'
           FROM generate_series(1, 60000) AS n
         RETURNING *)
       INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, source, destination,
                              amount, currency, captured_amount, refunded_amount, settlement_id,
                              created_at, settled_at)
       SELECT tenant_id, resource_id, idempotency_key, 'transfer', 'canceled', $1,
              resource_id, 1, 'EUR', 0, 0, resource_id, due_at, now()
         FROM keys`,
      [tenantId],
    )
    const sweeper = startSweeper()
    await until('both are rung', () => idsOf(sweeper).includes(last), { withinMs: 15_000 })
    expect(idsOf(sweeper)).toEqual([first, last])
  })

  test('finds in an audit what stands behind the watermark, and counts it as a bug', async () => {
    const letTimePass = stopClock()
    const sweeper = startSweeper()
    await untilSwept(sweeper)
    const missed = await insertDue(600)
    await untilSwept(sweeper)
    expect(sweeper.rings).toEqual([])
    letTimePass(3_600_000)
    await until('the audit has found it', () => idsOf(sweeper).includes(missed))
    await untilSwept(sweeper)
    expect((await readSweepState(db)).auditFinds).toBe(1)
  })
})

describe('a sweep', () => {
  test('that a standstill of the database has made long is followed by another within seconds', async () => {
    const watched = startSweeper()
    await untilSweepEnds(watched)
    const session = new pg.Client(db.options.connectionString)
    await session.connect()
    await session.query('BEGIN; LOCK TABLE sweeps')
    await sleep(5_000)
    const late = await insertDue(6)
    await session.query('COMMIT')
    await session.end()
    await untilSweepEnds(watched)
    const endedAtMs = performance.now()
    const next = await insertDue(6)
    await until('it is rung', () => idsOf(watched).includes(next))
    expect(idsOf(watched)).toContain(late)
    // Twice the time of the long one would be ten seconds.
    expect(performance.now() - endedAtMs).toBeLessThan(6_000)
  })
})

describe('a report that runs for longer than 30 seconds', () => {
  test('does not hold the watermark back', async () => {
    const { connection, pool } = report
    await until(
      'the report is old enough',
      async () => {
        const { rows } = await connection.query<{ old: boolean }>(
          `SELECT clock_timestamp() - now() > interval '30.5 s' AS old`,
        )
        return rows[0]?.old
      },
      { withinMs: 40_000, everyMs: 200 },
    )
    const sweeper = startSweeper(pool)
    await untilSwept(sweeper)
    const { rows } = await connection.query<{ started_at: Date }>('SELECT now() AS started_at')
    expect((await readSweepState(pool)).watermark > (rows[0]?.started_at ?? 0)).toBe(true)
    await sweeper.stop()
  }, 60_000)
})
