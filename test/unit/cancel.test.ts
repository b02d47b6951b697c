import { describe, expect, it } from 'vitest'
import { cancelTransfer } from '@payonce/core/transfers/cancel'
import { encodeCommand } from '@payonce/core/transfers/command'
import { ScriptedPool, type ScriptedResult } from './doubles/postgres.ts'

const ref = {
  tenantId: '0190f0e0-0000-7000-8000-00000000000a',
  transferId: '0190f0e0-0000-7000-8000-000000000001',
}

const command = encodeCommand({
  kind: 'transfer',
  parentId: null,
  source: '0190f0e0-0000-7000-8000-0000000a11ce',
  destination: '0190f0e0-0000-7000-8000-0000000a4c4a',
  amount: 1_000n,
  currency: 'EUR',
  legs: null,
  description: null,
  metadata: {},
  isFinal: false,
  executeAt: null,
  expiresAt: null,
  retryFundsUntil: null,
  condition: null,
  atomicBatchId: null,
  callbackUrl: null,
})

type Found = { command?: string; status?: string }

/** A database that has this command, and this row in `transfers` once somebody has settled it. */
function createPool({ command: stored, status }: Found): ScriptedPool {
  return new ScriptedPool((statement): ScriptedResult => {
    if (/FROM commands/.test(statement)) {
      return { rows: stored === undefined ? [] : [{ ...commandRow, command: JSON.parse(stored) }] }
    }
    if (/^SELECT[^]*FROM unnest[^]*transfers/.test(statement)) {
      return { rows: status === undefined ? [] : [{ ...ids, status, failure_code: null }] }
    }
    return {}
  })
}

const ids = { tenant_id: ref.tenantId, id: ref.transferId }
const commandRow = {
  ...ids,
  idempotency_key: 'order-7',
  accepted_at: new Date('2026-01-01T00:00:00.000Z'),
  due_at: new Date('2026-01-01T00:00:00.000Z'),
}

function cancel(scripted: ScriptedPool) {
  const newId = () => '0190f0e0-0000-7000-8000-0000000000ff'
  return cancelTransfer({ pool: scripted.pool, newId }, ref)
}

/** The statements that write, by their first words, in their order. */
function writes({ statements }: ScriptedPool): string[] {
  return statements
    .filter((statement) => /^(INSERT|UPDATE|DELETE)/.test(statement))
    .map((statement) => statement.split(/\s+/).slice(0, 3).join(' '))
}

describe('a cancel', () => {
  it('takes the place of the outcome, then ends what was to be tried later, then looks', async () => {
    const scripted = createPool({ command, status: 'canceled' })
    expect(await cancel(scripted)).toMatchObject({ result: 'canceled' })
    expect(writes(scripted)).toEqual(['INSERT INTO transfers', 'DELETE FROM deferred'])
    expect(scripted.statements.at(-2)).toMatch(/^SELECT/)
    expect(scripted.statements.at(-1)).toBe('COMMIT')
  })

  it('that loses to a settlement says so', async () => {
    const found = await cancel(createPool({ command, status: 'succeeded' }))
    expect(found).toMatchObject({ result: 'already_settled', transfer: { status: 'succeeded' } })
  })

  it('of a settled transfer whose payload is pruned says that it is settled', async () => {
    expect(await cancel(createPool({ status: 'failed' }))).toMatchObject({
      result: 'already_settled',
    })
  })

  it('of what nobody has finds nothing and writes nothing', async () => {
    const scripted = createPool({})
    expect(await cancel(scripted)).toEqual({ result: 'not_found' })
    expect(writes(scripted)).toEqual([])
  })

  /** Behind the watermark only `deferred` leads back to it: without the row it would never settle. */
  it('of a command that only a newer process can read leaves it put aside', async () => {
    const newer = command.replace('"v":1', '"v":2')
    const scripted = createPool({ command: newer })
    expect(await cancel(scripted)).toEqual({ result: 'not_found' })
    expect(writes(scripted)).toEqual([])
  })
})
