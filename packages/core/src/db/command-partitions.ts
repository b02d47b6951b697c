import { DatabaseError, type Client } from 'pg'

/*
 * Payloads of accepted requests are kept for a time; keys, fingerprints and ids for ever. A payload
 * lies in a partition of one month by its time-ordered id, so that pruning drops a table and leaves
 * no dead rows behind. It needs the rights of the owner: `npm run migrate` and `npm run prune` do it.
 */

export type PruneResult = {
  /** Partitions that were dropped, oldest first. */
  dropped: string[]
  /** Partitions that are old enough, and still hold a command that is not settled. */
  kept: string[]
  /** Partitions that somebody else was reading, such as a dump: the next run drops them. */
  busy: string[]
}

/** Three months ahead, so that a missed run or two of this does not matter. */
const monthsAhead = 3

/**
 * Makes the partitions of this month and the next ones. What was accepted where no partition was
 * stays in the default one, and is kept for ever. Postgres refuses a partition for such a month
 * afterwards, so that it gets none: it must not keep anybody from migrating. Returns those that could
 * not be made, since somebody was reading all the while.
 */
export async function createCommandPartitions(client: Client): Promise<string[]> {
  const busy: string[] = []
  const { rows } = await client.query<{ month: string; low: string; high: string }>(
    `SELECT to_char(month, 'YYYY_MM') AS month, ${lowestIdAt('month')} AS low,
            ${lowestIdAt("month + interval '1 month'")} AS high
       FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'),
                            now() AT TIME ZONE 'UTC' + $1 * interval '1 month',
                            interval '1 month') AS month
      WHERE to_regclass('commands_' || to_char(month, 'YYYY_MM')) IS NULL
        AND NOT EXISTS (SELECT FROM commands_default
                         WHERE id >= ${lowestIdAt('month')}
                           AND id < ${lowestIdAt("month + interval '1 month'")})`,
    [monthsAhead],
  )
  for (const { month, low, high } of rows) {
    const isMade = await unlessBusy(client, () =>
      client.query(
        `CREATE TABLE ${client.escapeIdentifier(`commands_${month}`)} PARTITION OF commands
           FOR VALUES FROM (${client.escapeLiteral(low)}) TO (${client.escapeLiteral(high)})`,
      ),
    )
    if (!isMade) busy.push(`commands_${month}`)
  }
  return busy
}

/**
 * 2 s: these changes wait for whoever reads the table, a dump for example, and everybody else waits
 * behind them. Rather than stop all payments they give up, and the next run does it. Returns whether
 * it was done.
 */
async function unlessBusy(client: Client, change: () => Promise<unknown>): Promise<boolean> {
  await client.query(`SET lock_timeout = '2s'`)
  try {
    await change()
    return true
  } catch (error) {
    if (error instanceof DatabaseError && error.code === lockNotAvailable) return false
    throw error
  } finally {
    await client.query('RESET lock_timeout')
  }
}

/** SQLSTATE lock_not_available: what `lock_timeout` ends a statement with. */
const lockNotAvailable = '55P03'

/** The smallest uuid of version 7 of a moment: its first 48 bits are the milliseconds since 1970. */
function lowestIdAt(moment: string): string {
  return `rpad(lpad(to_hex((extract(epoch FROM ${moment}) * 1000)::bigint), 12, '0'), 32, '0')::uuid`
}

/**
 * Drops the partitions whose newest payload is older than `retentionDays`, unless one of their
 * commands is not settled. A replay of a pruned request is answered as before: from the request in
 * hand, its fingerprint and its id.
 */
export async function pruneCommands(
  client: Client,
  { retentionDays }: { retentionDays: number },
): Promise<PruneResult> {
  const { rows } = await client.query<{ partition: string }>(
    `SELECT inhrelid::regclass::text AS partition
       FROM pg_inherits
      WHERE inhparent = 'commands'::regclass
        AND inhrelid::regclass::text ~ '^commands_\\d{4}_\\d{2}$'
        AND to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM') + interval '1 month'
              < now() - $1 * interval '1 day'
      ORDER BY partition`,
    [retentionDays],
  )
  const result: PruneResult = { dropped: [], kept: [], busy: [] }
  for (const { partition } of rows) result[await dropIfSettled(client, partition)].push(partition)
  return result
}

async function dropIfSettled(client: Client, partition: string): Promise<keyof PruneResult> {
  const name = client.escapeIdentifier(partition)
  const { rows } = await client.query(
    `SELECT FROM ${name} AS commands
      WHERE NOT EXISTS (SELECT FROM transfers
                         WHERE transfers.tenant_id = commands.tenant_id
                           AND transfers.id = commands.id)
      LIMIT 1`,
  )
  if (rows.length > 0) return 'kept'
  const isDropped = await unlessBusy(client, () => client.query(`DROP TABLE ${name}`))
  return isDropped ? 'dropped' : 'busy'
}
