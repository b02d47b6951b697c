import { describe, expect, it } from 'vitest'
import { defer, park, wakeWaiting, type DeferredReason } from '@payonce/core/transfers/defer'
import { ScriptedPool } from './doubles/postgres.ts'
import type { Tx } from '@payonce/core/db/client'
import type { Entry } from '@payonce/core/ledger/apply'

const tenantId = '0190f0e0-0000-7000-8000-00000000000a'
const ref = { tenantId, transferId: '0190f0e0-0000-7000-8000-000000000001' }
const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
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
    await park(pool, ref, error)
    expect(given).toEqual([[tenantId, ref.transferId, 'poison', code, null, null, ...gapsMs]])
    expect(JSON.stringify(given)).not.toContain(canary)
  })
})

describe('a command that is to be tried later', () => {
  it('is noted with what it waits for, and until when', async () => {
    const { pool, given, statements } = createPool()
    const notAfter = new Date('2026-02-01T00:00:00.000Z')
    const code = 'insufficient_funds'
    await defer(pool, ref, { reason: code, code, awaitsAccount: alice, notAfter })
    expect(given).toEqual([[tenantId, ref.transferId, code, code, alice, notAfter, ...gapsMs]])
    expect(statements[0]).toMatch(/WHERE NOT EXISTS \(SELECT FROM transfers/)
  })

  it.each<DeferredReason>(['poison', 'unknown_command', 'insufficient_funds'])(
    'for %s is tried at gaps from 5 s to an hour',
    async (reason) => {
      const { pool, given } = createPool()
      await defer(pool, ref, { reason, code: reason })
      expect(given[0]?.slice(-2)).toEqual(gapsMs)
    },
  )
})

describe('a credit', () => {
  const entry: Entry = {
    tenantId,
    accountId: alice,
    seq: 1n,
    transferId: ref.transferId,
    amount: 5n,
    balanceAfter: 5n,
  }
  const awaited = new Set([`${tenantId}/${alice}`])

  async function wake(entries: readonly Entry[], waitedFor: ReadonlySet<string>) {
    const { pool, given } = createPool()
    await wakeWaiting((await pool.connect()) as Tx, entries, waitedFor)
    return given
  }

  it('of an account that something waits for makes its next attempt due', async () => {
    expect(await wake([entry], awaited)).toEqual([[[tenantId], [alice]]])
  })

  it.each<[string, readonly Entry[], ReadonlySet<string>]>([
    ['a debit of that account', [{ ...entry, amount: -5n }], awaited],
    ['a credit of another account', [{ ...entry, accountId: ref.transferId }], awaited],
    ['the same account of another tenant', [{ ...entry, tenantId: alice }], awaited],
    ['a credit that nothing waits for', [entry], new Set()],
    ['no credit at all', [], awaited],
  ])('asks nothing of the database for %s', async (_, entries, waitedFor) => {
    expect(await wake(entries, waitedFor)).toEqual([])
  })
})
