import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  sealOf,
  type SealedEntry,
  type SealedTransfer,
  type Settlement,
} from '@payonce/core/ledger/seal'

const tenantId = '0190f0e0-0000-7000-8000-00000000000a'
const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
const merchant = '0190f0e0-0000-7000-8000-0000000a4c4a'
const createdAt = new Date('2026-01-01T00:00:00.000Z')
const settledAt = new Date('2026-01-01T00:00:00.007Z')

const transfer: SealedTransfer = {
  tenantId,
  id: '0190f0e0-0000-7000-8000-000000000001',
  idempotencyKey: 'order-7',
  kind: 'transfer',
  status: 'succeeded',
  parentId: null,
  source: alice,
  destination: merchant,
  amount: 1_000n,
  currency: 'EUR',
  legs: null,
  description: 'Invoice 7',
  metadata: { order: '7', shop: 'a' },
  failureCode: null,
  sourceVersion: 3n,
  destinationVersion: 8n,
  createdAt,
  settledAt,
}

const exchange: SealedTransfer = {
  ...transfer,
  id: '0190f0e0-0000-7000-8000-000000000002',
  idempotencyKey: 'order-8',
  source: null,
  destination: null,
  amount: null,
  currency: null,
  legs: [
    { source: alice, destination: merchant, amount: 7, currency: 'EUR', source_version: 4 },
    { source: merchant, destination: alice, amount: 9, currency: 'JPY', source_version: 5 },
  ],
}

const debit: SealedEntry = {
  tenantId,
  accountId: alice,
  seq: 3n,
  transferId: transfer.id,
  amount: -1_000n,
  balanceAfter: 5n,
  createdAt: settledAt,
}
const credit: SealedEntry = { ...debit, accountId: merchant, seq: 8n, amount: 1_000n }

const settlement: Settlement = {
  id: '0190f0e0-0000-7000-8000-0000000000ff',
  transfers: [transfer, exchange],
  entries: [debit, credit],
}
const genesis = Buffer.alloc(32)

function seal(change: Partial<Settlement> = {}, previous = genesis, secret?: string): string {
  return sealOf(previous, { ...settlement, ...change }, secret).toString('hex')
}

const sealed = seal()

describe('the seal of a settlement', () => {
  it('is these 32 bytes for ever: chains of this version are verified by later ones', () => {
    expect(sealOf(genesis, settlement, undefined)).toHaveLength(32)
    expect(sealed).toMatchInlineSnapshot(
      `"b64398cbb14fba6e3bc69e52bfc41e7a4306a28e06c0fec4fa04ce04095b8af2"`,
    )
    expect(seal({}, genesis, 'secret')).toMatchInlineSnapshot(
      `"e0d7a91aa01963ac3c43d4c98547e46a80918a09ca730049227479b0d9ba963b"`,
    )
  })

  it('does not depend on the order in which the rows are read', () => {
    const rows = [...settlement.transfers, ...settlement.entries]
    fc.assert(
      fc.property(fc.shuffledSubarray(rows, { minLength: rows.length }), (shuffled) => {
        const transfers = shuffled.filter((row) => 'kind' in row)
        const entries = shuffled.filter((row) => 'seq' in row)
        expect(seal({ transfers, entries })).toBe(sealed)
      }),
    )
  })

  it('does not depend on the order of the members in which Postgres gives JSON back', () => {
    const legs = (exchange.legs as object[]).map((leg) =>
      Object.fromEntries(Object.entries(leg).toReversed()),
    )
    const metadata = { shop: 'a', order: '7' }
    expect(
      seal({
        transfers: [
          { ...transfer, metadata },
          { ...exchange, legs, metadata },
        ],
      }),
    ).toBe(sealed)
  })

  it('does not depend on members that are not sealed', () => {
    const rows = settlement.transfers.map((row) => ({ ...row, capturedAmount: 5n }))
    expect(seal({ transfers: rows })).toBe(sealed)
  })

  const changes: { [Name in keyof SealedTransfer]: SealedTransfer[Name] } = {
    tenantId: alice,
    id: alice,
    idempotencyKey: 'order-9',
    kind: 'capture',
    status: 'failed',
    parentId: alice,
    source: merchant,
    destination: alice,
    amount: 1_001n,
    currency: 'JPY',
    legs: [],
    description: null,
    metadata: { order: '7' },
    failureCode: 'insufficient_funds',
    sourceVersion: null,
    destinationVersion: 9n,
    createdAt: settledAt,
    settledAt: createdAt,
  }

  it.each(Object.entries(changes))('changes with the %s of a transfer', (name, value) => {
    expect(seal({ transfers: [{ ...transfer, [name]: value }, exchange] })).not.toBe(sealed)
  })

  it.each<[string, Partial<SealedEntry>]>([
    ['tenant', { tenantId: alice }],
    ['account', { accountId: tenantId }],
    ['place in the chain', { seq: 4n }],
    ['transfer', { transferId: exchange.id }],
    ['amount', { amount: -999n }],
    ['balance after it', { balanceAfter: 6n }],
    ['time', { createdAt }],
  ])('changes with the %s of an entry', (_, change) => {
    expect(seal({ entries: [{ ...debit, ...change }, credit] })).not.toBe(sealed)
  })

  it.each<[string, Partial<Settlement>]>([
    ['a missing transfer', { transfers: [transfer] }],
    ['a missing entry', { entries: [debit] }],
    ['a transfer more', { transfers: [transfer, exchange, { ...exchange, id: alice }] }],
    ['a transfer twice', { transfers: [transfer, exchange, exchange] }],
    ['an entry more', { entries: [debit, credit, { ...credit, seq: 9n }] }],
    ['an entry twice', { entries: [debit, credit, credit] }],
    ['no rows', { transfers: [], entries: [] }],
    ['the id of another settlement', { id: alice }],
    ['another amount of a leg', { transfers: [transfer, withLeg({ amount: 8 })] }],
    ['another version of a leg', { transfers: [transfer, withLeg({ source_version: 6 })] }],
    ['legs in another order', { transfers: [transfer, reversed()] }],
  ])('changes with %s', (_, change) => {
    expect(seal(change)).not.toBe(sealed)
  })

  function withLeg(change: object): SealedTransfer {
    const [first, second] = exchange.legs as object[]
    return { ...exchange, legs: [{ ...first, ...change }, second] }
  }

  function reversed(): SealedTransfer {
    return { ...exchange, legs: (exchange.legs as object[]).toReversed() }
  }

  it('changes with the seal before it, and so with everything before it', () => {
    expect(seal({}, Buffer.alloc(32, 1))).not.toBe(sealed)
  })

  it('is another one with a secret, and with another secret', () => {
    const seals = [undefined, 'secret', 'secret ', 'Secret', ''].map((secret) =>
      seal({}, genesis, secret),
    )
    expect(new Set(seals).size).toBe(seals.length)
  })

  it('cannot be made to agree by text that looks like another row', () => {
    const [one, other] = ['x\n["entry"]', 'x'].map((description) =>
      seal({ transfers: [{ ...transfer, description }] }),
    )
    expect(one).not.toBe(other)
    const texts = fc.record({ description: fc.string(), idempotencyKey: fc.string() })
    fc.assert(
      fc.property(texts, texts, (a, b) => {
        const isSame = a.description === b.description && a.idempotencyKey === b.idempotencyKey
        const seals = [a, b].map((text) => seal({ transfers: [{ ...transfer, ...text }] }))
        expect(seals[0] === seals[1]).toBe(isSame)
      }),
    )
  })
})

describe('a hold', () => {
  const hold: SealedTransfer = { ...transfer, kind: 'hold', status: 'held' }
  const held = seal({ transfers: [hold] })

  it.each(['succeeded', 'released', 'expired', null])(
    'that is %s later has the seal that it was settled with',
    (status) => {
      expect(seal({ transfers: [{ ...hold, status }] })).toBe(held)
    },
  )

  it('that failed is told from one that was held by its code', () => {
    const failed = { ...hold, status: 'failed', failureCode: 'insufficient_funds' }
    expect(seal({ transfers: [failed] })).not.toBe(held)
  })
})
