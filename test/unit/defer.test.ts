import { describe, expect, it } from 'vitest'
import { defer, park, wakeWaiting, type DeferredReason } from '@payonce/core/transfers/defer'
import { ScriptedPool } from './doubles/postgres.ts'
import type { Tx } from '@payonce/core/db/client'
import type { AccountState } from '@payonce/core/ledger/books'

const tenantId = '0190f0e0-0000-7000-8000-00000000000a'
const ref = { tenantId, transferId: '0190f0e0-0000-7000-8000-000000000001' }
const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
const worker = 'worker-1'
const canary = 'canary-4f1c'
/** The shortest and the longest gap between two attempts. */
const gapsMs = [5_000, 3_600_000]

/** Keeps what each statement was given. */
function createPool() {
  const given: (readonly unknown[])[] = []
  const scripted = new ScriptedPool((_, parameters) => {
    given.push(parameters)
    return {}
  })
  return { pool: scripted.pool, given, statements: scripted.statements }
}

describe('a command that throws by itself is put aside', () => {
  it.each<[string, unknown, string]>([
    ['the code of the error', Object.assign(new Error(canary), { code: '22003' }), '22003'],
    ['the name of an error without a code', new RangeError(canary), 'RangeError'],
    ['the name where the code is no text', Object.assign(new Error(canary), { code: 7 }), 'Error'],
    ['no name where no error was thrown', canary, 'unknown'],
    ['no name where nothing was thrown', undefined, 'unknown'],
  ])('under %s, never under its message', async (_, error, code) => {
    const { pool, given } = createPool()
    await park(pool, ref, { error, worker })
    expect(given).toEqual([
      [tenantId, ref.transferId, 'poison', code, null, null, ...gapsMs, worker],
    ])
    expect(JSON.stringify(given)).not.toContain(canary)
  })
})

describe('a batch that throws by itself', () => {
  it('is put aside under its own id', async () => {
    const { pool, given } = createPool()
    const batch = { tenantId, batchId: '0190f0e0-0000-7000-8000-0000000000ba' }
    await park(pool, batch, { error: new RangeError(canary), worker })
    expect(given[0]?.slice(0, 4)).toEqual([tenantId, batch.batchId, 'poison', 'RangeError'])
  })
})

describe('a command that is to be tried later', () => {
  it('is noted with what it waits for, and until when', async () => {
    const { pool, given, statements } = createPool()
    const notAfter = new Date('2026-02-01T00:00:00.000Z')
    const code = 'insufficient_funds'
    await defer(pool, ref, { reason: code, code, worker, awaitsAccount: alice, notAfter })
    expect(given).toEqual([
      [tenantId, ref.transferId, code, code, alice, notAfter, ...gapsMs, worker],
    ])
    expect(statements[0]).toMatch(/WHERE NOT EXISTS \(SELECT FROM transfers/)
  })

  it.each<DeferredReason>(['poison', 'unknown_command', 'insufficient_funds'])(
    'for %s is tried at gaps from 5 s to an hour',
    async (reason) => {
      const { pool, given } = createPool()
      await defer(pool, ref, { reason, code: reason, worker })
      expect(given[0]?.slice(-3)).toEqual([...gapsMs, worker])
    },
  )
})

describe('an account that has more to spend than before', () => {
  const enriched: AccountState = {
    tenantId,
    id: alice,
    kind: 'internal',
    status: 'open',
    balance: 5n,
    held: 0n,
    overdraftLimit: 0n,
    version: 1n,
    entryCount: 1n,
    lastEntryAt: new Date('2026-01-01T00:00:00.000Z'),
  }
  const awaited = [`${tenantId}/${alice}`]

  async function wake(accounts: readonly AccountState[], waitedFor: readonly string[]) {
    const { pool, given } = createPool()
    await wakeWaiting((await pool.connect()) as Tx, accounts, waitedFor)
    return given
  }

  it('makes the next attempt of what waits for it due', async () => {
    expect(await wake([enriched], awaited)).toEqual([[[tenantId], [alice], 1_000]])
  })

  it.each<[string, readonly AccountState[], readonly string[]]>([
    ['another account', [{ ...enriched, id: ref.transferId }], awaited],
    ['the same account of another tenant', [{ ...enriched, tenantId: alice }], awaited],
    ['an account that nothing waits for', [enriched], []],
    ['no account at all', [], awaited],
  ])('asks nothing of the database where it is %s', async (_, accounts, waitedFor) => {
    expect(await wake(accounts, waitedFor)).toEqual([])
  })
})
