import { DatabaseError } from 'pg'
import { describe, expect, it } from 'vitest'
import { inTransaction } from '@payonce/core/db/transaction'
import { AmbiguousCommitError, isTransient } from '@payonce/core/db/transient'
import { ScriptedPool, type ScriptedResult } from './doubles/postgres.ts'

/** A database that does what it is told, but for the statements named here. */
function createPool(exceptions: Readonly<Record<string, () => ScriptedResult>> = {}): ScriptedPool {
  return new ScriptedPool((statement) => {
    const verb = statement.split(/[\s;]/)[0] ?? ''
    return exceptions[verb]?.() ?? {}
  })
}

function failing(error: Error): () => never {
  return () => {
    throw error
  }
}

const readTimeout = new Error('Query read timeout')

describe('a transaction', () => {
  it('returns what its work returns, after COMMIT was answered with COMMIT', async () => {
    const scripted = createPool()
    const result = await inTransaction(scripted.pool, {}, async (tx) => {
      await tx.query('UPDATE something')
      return 42
    })
    expect(result).toBe(42)
    expect(scripted.statements.map((one) => one.split(' ')[0])).toEqual([
      'BEGIN',
      'UPDATE',
      'COMMIT',
    ])
    expect(scripted.released).toEqual([undefined])
  })

  it('is durable, at READ COMMITTED, and bounded in its locks and pauses, in one round trip', async () => {
    const scripted = createPool()
    await inTransaction(scripted.pool, { lockTimeoutMs: 100 }, async () => undefined)
    expect(scripted.statements[0]?.split('; ')).toEqual([
      'BEGIN ISOLATION LEVEL READ COMMITTED',
      'SET LOCAL synchronous_commit = on',
      'SET LOCAL lock_timeout = 100',
      'SET LOCAL idle_in_transaction_session_timeout = 10000',
    ])
  })

  it('waits 5 s for a lock where nothing else is said', async () => {
    const scripted = createPool()
    await inTransaction(scripted.pool, {}, async () => undefined)
    expect(scripted.statements[0]).toContain('SET LOCAL lock_timeout = 5000;')
  })

  it('writes a whole number of milliseconds', async () => {
    const scripted = createPool()
    await inTransaction(scripted.pool, { lockTimeoutMs: 99.9 }, async () => undefined)
    expect(scripted.statements[0]).toContain('SET LOCAL lock_timeout = 99;')
  })

  it('rolls back and throws what its work threw; the connection is used again', async () => {
    const scripted = createPool()
    const bug = new TypeError('x is undefined')
    await expect(inTransaction(scripted.pool, {}, failing(bug))).rejects.toBe(bug)
    expect(scripted.statements.at(-1)).toBe('ROLLBACK')
    expect(scripted.released).toEqual([undefined])
  })

  it('that never began is rolled back as well', async () => {
    const refused = Object.assign(new Error('starting up'), { code: '57P03' })
    const scripted = createPool({ BEGIN: failing(refused) })
    let hasWorked = false
    const work = async () => {
      hasWorked = true
    }
    await expect(inTransaction(scripted.pool, {}, work)).rejects.toBe(refused)
    expect(hasWorked).toBe(false)
    expect(scripted.released).toEqual([undefined])
  })

  it('whose COMMIT is answered with ROLLBACK has failed, although Postgres raised no error', async () => {
    const scripted = createPool({ COMMIT: () => ({ command: 'ROLLBACK' }) })
    const attempt = inTransaction(scripted.pool, {}, async () => 'money moved')
    await expect(attempt).rejects.toThrow(/COMMIT was answered with ROLLBACK/)
    await expect(attempt).rejects.not.toBeInstanceOf(AmbiguousCommitError)
    expect(scripted.released).toEqual([undefined])
  })

  it('whose answer to COMMIT was lost is ambiguous, and its connection is thrown away', async () => {
    const lost = new Error('Connection terminated unexpectedly')
    const scripted = createPool({ COMMIT: failing(lost) })
    const error: unknown = await inTransaction(scripted.pool, {}, async () => 1).catch(
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(AmbiguousCommitError)
    expect((error as AmbiguousCommitError).cause).toBe(lost)
    expect(isTransient(error)).toBe(true)
    expect(scripted.released).toEqual([error])
    expect(scripted.statements).not.toContain('ROLLBACK')
  })

  it('whose COMMIT had no answer in time is ambiguous too', async () => {
    const scripted = createPool({ COMMIT: failing(readTimeout) })
    const attempt = inTransaction(scripted.pool, {}, async () => 1)
    await expect(attempt).rejects.toBeInstanceOf(AmbiguousCommitError)
    expect(scripted.released).toHaveLength(1)
    expect(scripted.released[0]).toBeInstanceOf(AmbiguousCommitError)
  })

  it('with a statement that had no answer in time throws its connection away, unasked', async () => {
    const scripted = createPool({ UPDATE: failing(readTimeout) })
    const attempt = inTransaction(scripted.pool, {}, (tx) => tx.query('UPDATE something'))
    await expect(attempt).rejects.toBe(readTimeout)
    expect(scripted.released).toEqual([readTimeout])
    expect(scripted.statements).not.toContain('ROLLBACK')
  })

  it('on a standby throws its connection away: the next one may find the primary', async () => {
    const readOnly = Object.assign(new DatabaseError('read-only', 0, 'error'), { code: '25006' })
    const scripted = createPool({ UPDATE: failing(readOnly) })
    const attempt = inTransaction(scripted.pool, {}, (tx) => tx.query('UPDATE something'))
    await expect(attempt).rejects.toBe(readOnly)
    expect(scripted.released).toEqual([readOnly])
  })

  it('that cannot be rolled back throws its connection away, and tells why it failed at first', async () => {
    const terminated = new Error('Connection terminated unexpectedly')
    const gone = new Error('Client was closed and is not queryable')
    const scripted = createPool({ UPDATE: failing(terminated), ROLLBACK: failing(gone) })
    const attempt = inTransaction(scripted.pool, {}, (tx) => tx.query('UPDATE something'))
    await expect(attempt).rejects.toBe(terminated)
    expect(scripted.released).toEqual([gone])
  })

  it('gives its connection back exactly once, however it ends', async () => {
    const ends = [
      createPool(),
      createPool({ BEGIN: failing(readTimeout) }),
      createPool({ UPDATE: failing(new Error('x')) }),
      createPool({ COMMIT: failing(new Error('x')) }),
      createPool({ COMMIT: () => ({ command: 'ROLLBACK' }), ROLLBACK: failing(new Error('x')) }),
    ]
    for (const scripted of ends) {
      await inTransaction(scripted.pool, {}, (tx) => tx.query('UPDATE x')).catch(() => undefined)
      expect(scripted.released).toHaveLength(1)
    }
  })

  it('without a connection fails as the pool does', async () => {
    const full = new Error('timeout exceeded when trying to connect')
    const pool = { connect: () => Promise.reject(full) } as unknown as ScriptedPool['pool']
    await expect(inTransaction(pool, {}, async () => 1)).rejects.toBe(full)
  })
})
