import { DatabaseError } from 'pg'
import { AmbiguousCommitError } from './transient.ts'
import type { Pool, Tx } from './client.ts'

export type TransactionOptions = {
  /** How long a statement waits for a lock that another transaction holds. */
  lockTimeoutMs?: number
  /**
   * Commits without waiting for the disk: a crash of Postgres may undo the last half second of it,
   * whole transactions at a time. Only for what is then done again, as deliveries are; never for money.
   */
  mayBeUndone?: boolean
}

/**
 * A process that freezes between two statements must not hold its locks for longer than this;
 * Postgres ends its session. 10 s is far above any pause of a healthy process.
 */
const idleInTransactionTimeoutMs = 10_000

/**
 * Runs `work` in one READ COMMITTED transaction and commits it durably: when this resolves, the
 * commit has reached the disk (`synchronous_commit = on`), unless it may be undone.
 *
 * Throws what `work` throws, after rolling back; `AmbiguousCommitError` where the answer to COMMIT
 * was lost, so that the caller reads again before it does anything twice.
 */
export async function inTransaction<T>(
  pool: Pool,
  options: TransactionOptions,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  const tx = (await pool.connect()) as Tx
  let broken: Error | undefined
  try {
    await tx.query(beginStatement(options))
    const result = await work(tx)
    await commit(tx)
    return result
  } catch (error) {
    broken = await rollBack(tx, error)
    throw error
  } finally {
    tx.release(broken)
  }
}

/** One round trip, and `SET LOCAL` rather than session settings: these survive a pooler. */
function beginStatement({
  lockTimeoutMs = 5_000,
  mayBeUndone = false,
}: TransactionOptions): string {
  return (
    'BEGIN ISOLATION LEVEL READ COMMITTED; ' +
    `SET LOCAL synchronous_commit = ${mayBeUndone ? 'off' : 'on'}; ` +
    `SET LOCAL lock_timeout = ${Math.trunc(lockTimeoutMs)}; ` +
    `SET LOCAL idle_in_transaction_session_timeout = ${idleInTransactionTimeoutMs}`
  )
}

async function commit(tx: Tx): Promise<void> {
  const { command } = await tx.query('COMMIT').catch((error: unknown) => {
    throw new AmbiguousCommitError('the answer to COMMIT was lost', { cause: error })
  })
  // Postgres answers COMMIT with ROLLBACK, and no error, where a statement had failed before it.
  if (command !== 'COMMIT') throw new Error(`COMMIT was answered with ${command}`)
}

/** Returns an error where the connection can no longer be trusted and must be thrown away. */
async function rollBack(tx: Tx, reason: unknown): Promise<Error | undefined> {
  if (reason instanceof AmbiguousCommitError || isReadTimeout(reason) || isReadOnly(reason)) {
    return reason
  }
  try {
    await tx.query('ROLLBACK')
    return undefined
  } catch (error) {
    return error instanceof Error ? error : new Error('ROLLBACK failed')
  }
}

/** The other side is a standby: a new connection may find the primary, this one never will. */
function isReadOnly(error: unknown): error is Error {
  return error instanceof DatabaseError && error.code === '25006'
}

/** After a read time-out the connection is still busy with the old statement. */
function isReadTimeout(error: unknown): error is Error {
  return error instanceof Error && error.message === 'Query read timeout'
}
