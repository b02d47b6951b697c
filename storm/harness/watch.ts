import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from 'pg'
import type { Recorder } from './recorder.ts'

/** What the storm looks at in the database, straight and not by way of a proxy. */
export type Watch = {
  /** Accepted until now, due, and neither settled nor deferred. The last known where Postgres is away. */
  unsettled(): Promise<number>
  /** The same for what was accepted until a time; undefined where Postgres is away. */
  unsettledUntil(time: Date): Promise<number | undefined>
  /** Which those are, at most so many. */
  listUnsettled(limit: number): Promise<readonly UnsettledRow[]>
  /** What was tried and is to be tried later; undefined where Postgres is away. */
  deferred(): Promise<number | undefined>
  /** Events that healthy endpoints have not got; undefined where Postgres is away. */
  undelivered(healthy: readonly string[]): Promise<number | undefined>
  /** Postgres' own time. */
  now(): Promise<Date | undefined>
  stop(): Promise<void>
}

export type UnsettledRow = { id: string; key: string; acceptedAt: Date }

/** 500 ms between two reads of all balances. */
const snapshotEveryMs = 500
const gaugeEveryMs = 1_000

const unsettledRows = `
    FROM idempotency_keys AS keys
   WHERE keys.resource = 'transfer' AND keys.due_at <= $1
     AND NOT EXISTS (SELECT FROM transfers
                      WHERE transfers.tenant_id = keys.tenant_id AND transfers.id = keys.resource_id)
     AND NOT EXISTS (SELECT FROM deferred
                      WHERE deferred.tenant_id = keys.tenant_id
                        AND deferred.transfer_id = keys.resource_id)`

export function watchBooks(pool: Pool, recorder: Recorder): Watch {
  let lastUnsettled = 0

  async function takeSnapshot(): Promise<void> {
    // One statement: its snapshot is one moment of the books.
    const { rows } = await pool.query<{ tenant: string; currency: string; balance: string }>(
      `SELECT tenant_id AS tenant, currency, sum(balance)::text AS balance
         FROM accounts GROUP BY tenant_id, currency ORDER BY tenant_id, currency`,
    )
    recorder.append({ type: 'snapshot', sums: rows })
  }

  async function takeGauge(): Promise<void> {
    const { rows } = await pool.query<{ accepted: number; settled: number }>(
      `SELECT (SELECT count(*)::int FROM idempotency_keys WHERE resource = 'transfer') AS accepted,
              (SELECT count(*)::int FROM transfers) AS settled`,
    )
    const row = rows[0]
    if (row === undefined) return
    lastUnsettled = row.accepted - row.settled
    const { accepted, settled } = row
    recorder.append({ type: 'gauge', accepted, settled, unsettled: lastUnsettled })
  }

  async function countUnsettled(until: Date): Promise<number> {
    const { rows } = await pool.query<{ count: number }>(
      `SELECT count(*)::int AS count ${unsettledRows}`,
      [until],
    )
    return rows[0]?.count ?? 0
  }

  const stops = [repeat(snapshotEveryMs, takeSnapshot), repeat(gaugeEveryMs, takeGauge)]
  const unlessAway = <T>(reading: Promise<T>) => reading.catch(() => undefined)

  return {
    unsettled: async () =>
      (await unlessAway(countUnsettled(new Date(Date.now() + 1_000)))) ?? lastUnsettled,
    unsettledUntil: (time) => unlessAway(countUnsettled(time)),
    listUnsettled: async (limit) => {
      const { rows } = await pool.query<UnsettledRow>(
        `SELECT keys.resource_id AS id, keys.idempotency_key AS key,
                keys.accepted_at AS "acceptedAt" ${unsettledRows}
          ORDER BY keys.accepted_at LIMIT ${limit}`,
        [new Date()],
      )
      return rows
    },
    deferred: () =>
      unlessAway(
        pool
          .query<{ count: number }>('SELECT count(*)::int AS count FROM deferred')
          .then(({ rows }) => rows[0]?.count ?? 0),
      ),
    undelivered: (healthy) =>
      unlessAway(
        pool
          .query<{ count: number }>(
            `SELECT count(*)::int + (SELECT count(*)::int FROM events, event_feed
                                      WHERE events.position > event_feed.fanned_out) AS count
               FROM webhook_deliveries
              WHERE status = 'pending' AND endpoint_id = ANY ($1::uuid[])`,
            [healthy],
          )
          .then(({ rows }) => rows[0]?.count ?? 0),
      ),
    now: () =>
      unlessAway(
        pool
          .query<{ now: Date }>('SELECT clock_timestamp() AS now')
          .then(({ rows }) => rows[0]?.now),
      ),
    stop: async () => {
      await Promise.all(stops.map((stop) => stop()))
      // What the books are in the end belongs to the history as well.
      await unlessAway(takeSnapshot())
      await unlessAway(takeGauge())
    },
  }
}

/** Does something again and again, at fixed distances and never twice at a time. Outages are no news. */
function repeat(everyMs: number, act: () => Promise<void>): () => Promise<void> {
  const stopping = new AbortController()
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = performance.now()
      await act().catch(() => undefined)
      await pause(Math.max(10, everyMs - (performance.now() - startedAtMs)), stopping.signal)
    }
  }
  const running = run()
  return () => {
    stopping.abort()
    return running
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => undefined)
}
