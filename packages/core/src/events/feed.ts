import { dropLease, takeLease, type Lease } from '../db/lease.ts'
import type { Pool, Queryable } from '../db/client.ts'
import type { StoredEvent } from './event.ts'

/*
 * Positions are taken before their transactions commit, so a reader who follows them would skip what
 * commits late. Events are therefore published up to a horizon that no open transaction can still be
 * below: a position P is noted, then a transaction id X that is younger than P; once every
 * transaction older than X has ended, no event at or below P can appear any more.
 *
 * Only P is kept in the database: transaction ids do not survive a dump and restore.
 */

const feedName = 'events'

/** How far events are published, and how far each has its deliveries. */
export type FeedState = { published: bigint; fannedOut: bigint }

/** The same as it was when the lease was taken, with the database's time of that moment. */
export type LeasedFeed = FeedState & { now: Date }

/** Takes or extends the lease of whoever publishes. Undefined while another process holds it. */
export function takeFeedLease(db: Queryable, holder: string): Promise<LeasedFeed | undefined> {
  return takeLease(
    db,
    leaseOf(holder),
    'published, fanned_out AS "fannedOut", clock_timestamp() AS now',
  )
}

export function dropFeedLease(db: Queryable, holder: string): Promise<void> {
  return dropLease(db, leaseOf(holder))
}

function leaseOf(holder: string): Lease {
  return { table: 'event_feed', name: feedName, holder }
}

/**
 * Notes that what came after `after` has its deliveries, up to `fannedOut`. False where the lease was
 * lost, or where `after` is not where the database stands: a crash may have undone what came before.
 */
export async function recordFannedOut(
  db: Queryable,
  holder: string,
  { after, fannedOut }: { after: bigint; fannedOut: bigint },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE event_feed SET fanned_out = $4 WHERE name = $1 AND holder = $2 AND fanned_out = $3`,
    [feedName, holder, after, fannedOut],
  )
  return rowCount === 1
}

export type Publisher = {
  /**
   * Moves the horizon as far as open transactions let it, and returns where it stands. One call
   * publishes all that is committed, unless an older transaction that has written is still open.
   */
  publish(published: bigint): Promise<bigint>
  /** How long the horizon has been kept from moving, 0 where it is not, and by how many positions. */
  stall(): { forMs: number; positions: number }
}

/** For the process that holds the lease. `holder` is checked with every move of the horizon. */
export function createPublisher(pool: Pool, holder: string): Publisher {
  let sampled: { position: bigint; youngerXid: string; behind: bigint; atMs: number } | undefined

  async function publish(published: bigint): Promise<bigint> {
    sampled ??= await sample(published)
    if (sampled === undefined || !(await isPassed(sampled.youngerXid))) return published
    const { position } = sampled
    sampled = undefined
    const { rowCount } = await pool.query(
      `UPDATE event_feed SET published = $3 WHERE name = $1 AND holder = $2 AND published < $3`,
      [feedName, holder, position],
    )
    return rowCount === 1 ? position : published
  }

  /** Two statements: the transaction id has to be younger than the position. */
  async function sample(published: bigint) {
    const { rows } = await pool.query<{ position: bigint }>(
      `SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS position FROM events_position`,
    )
    const position = rows[0]?.position ?? 0n
    if (position <= published) return undefined
    const { rows: begun } = await pool.query<{ xid: string }>(
      `SELECT pg_current_xact_id()::text AS xid`,
    )
    return {
      position,
      youngerXid: begun[0]?.xid ?? '0',
      behind: position - published,
      atMs: performance.now(),
    }
  }

  /** Whether every transaction with an older id has ended. */
  async function isPassed(xid: string): Promise<boolean> {
    const { rows } = await pool.query<{ passed: boolean }>(
      `SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::xid8 AS passed`,
      [xid],
    )
    return rows[0]?.passed === true
  }

  return {
    publish,
    stall: () =>
      sampled === undefined
        ? { forMs: 0, positions: 0 }
        : { forMs: performance.now() - sampled.atMs, positions: Number(sampled.behind) },
  }
}

/** The open transaction that has written for longest, for whoever asks why nothing is published. */
export async function findOldestWriter(
  db: Queryable,
): Promise<{ pid: number; application: string; state: string; seconds: number } | undefined> {
  const { rows } = await db.query<{
    pid: number
    application: string
    state: string
    seconds: number
  }>(
    `SELECT pid, application_name AS application, state,
            extract(epoch FROM clock_timestamp() - xact_start)::int AS seconds
       FROM pg_stat_activity
      WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
      ORDER BY age(backend_xid) DESC
      LIMIT 1`,
  )
  return rows[0]
}

const eventColumns = `tenant_id AS "tenantId", position, type, object_id AS "objectId", sequence,
  state, callback_url AS "callbackUrl", created_at AS "createdAt"`

/** A tenant's published events behind a position, oldest first; of one type alone where it is given. */
export async function readFeed(
  db: Queryable,
  range: {
    tenantId: string
    after: bigint
    type?: string | undefined
    limit: number
  },
): Promise<StoredEvent[]> {
  const { rows } = await db.query<StoredEvent>(
    `SELECT ${eventColumns} FROM events
      WHERE tenant_id = $1 AND position > $2
        AND position <= (SELECT published FROM event_feed WHERE name = '${feedName}')
        AND ($3::text IS NULL OR type = $3)
      ORDER BY position
      LIMIT $4`,
    [range.tenantId, range.after, range.type ?? null, range.limit],
  )
  return rows
}

/** A tenant's published event at a position. */
export async function findEvent(
  db: Queryable,
  { tenantId, position }: { tenantId: string; position: bigint },
): Promise<StoredEvent | undefined> {
  const [event] = await readFeed(db, { tenantId, after: position - 1n, limit: 1 })
  return event?.position === position ? event : undefined
}

/** The events of one object, oldest first: published or not. */
export async function findEventsOf(
  db: Queryable,
  object: { tenantId: string; objectId: string; limit: number },
): Promise<StoredEvent[]> {
  const { rows } = await db.query<StoredEvent>(
    `SELECT ${eventColumns} FROM events
      WHERE tenant_id = $1 AND object_id = $2
      ORDER BY sequence
      LIMIT $3`,
    [object.tenantId, object.objectId, object.limit],
  )
  return rows
}

/** The published events of all tenants between two positions, for whoever hands them on. */
export async function readPublished(
  db: Queryable,
  range: { after: bigint; until: bigint; limit: number },
): Promise<StoredEvent[]> {
  const { rows } = await db.query<StoredEvent>(
    `SELECT ${eventColumns} FROM events
      WHERE position > $1 AND position <= $2
      ORDER BY position
      LIMIT $3`,
    [range.after, range.until, range.limit],
  )
  return rows
}
