import { describe, expect, it } from 'vitest'
import { createAccountFactsReader } from '@payonce/core/ledger/account-facts'
import { ScriptedPool } from './doubles/postgres.ts'

const tenantA = '0190f0e0-0000-7000-8000-00000000000a'
const tenantB = '0190f0e0-0000-7000-8000-00000000000b'
const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
const merchant = '0190f0e0-0000-7000-8000-0000000a4c4a'

/** A database with accounts that the test adds, and a reader that looks at it. */
function createParts() {
  const accounts: { tenantId: string; id: string; currency: string }[] = []
  const asked: unknown[] = []
  const { pool } = new ScriptedPool((_, parameters) => {
    asked.push(parameters)
    const [tenantId, ids] = parameters as [string, string[]]
    const found = accounts.filter((one) => one.tenantId === tenantId && ids.includes(one.id))
    return { rows: found.map(({ id, currency }) => ({ id, currency })) }
  })
  return { accounts, asked, reader: createAccountFactsReader(pool) }
}

describe('what can never change about an account', () => {
  it('is read once, and remembered', async () => {
    const { accounts, asked, reader } = createParts()
    accounts.push({ tenantId: tenantA, id: alice, currency: 'EUR' })
    for (let read = 0; read < 3; read += 1) {
      expect(await reader.read(tenantA, [alice])).toEqual(new Map([[alice, { currency: 'EUR' }]]))
    }
    expect(asked).toEqual([[tenantA, [alice]]])
  })

  it('is asked for where it is not remembered, and for no other account', async () => {
    const { accounts, asked, reader } = createParts()
    accounts.push({ tenantId: tenantA, id: alice, currency: 'EUR' })
    accounts.push({ tenantId: tenantA, id: merchant, currency: 'JPY' })
    await reader.read(tenantA, [alice])
    expect(await reader.read(tenantA, [alice, merchant])).toEqual(
      new Map([
        [alice, { currency: 'EUR' }],
        [merchant, { currency: 'JPY' }],
      ]),
    )
    expect(asked.at(-1)).toEqual([tenantA, [merchant]])
  })

  it('that there is no such account is never remembered: it may be opened any time', async () => {
    const { accounts, reader } = createParts()
    expect(await reader.read(tenantA, [alice])).toEqual(new Map())
    accounts.push({ tenantId: tenantA, id: alice, currency: 'EUR' })
    expect((await reader.read(tenantA, [alice])).get(alice)).toEqual({ currency: 'EUR' })
  })

  it('B14 is never told to another tenant', async () => {
    const { accounts, reader } = createParts()
    accounts.push({ tenantId: tenantA, id: alice, currency: 'EUR' })
    await reader.read(tenantA, [alice])
    expect(await reader.read(tenantB, [alice])).toEqual(new Map())
  })
})
