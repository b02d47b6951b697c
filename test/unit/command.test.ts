import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_AMOUNT } from '@payonce/core/money'
import { isRefusalCode, refusalMessages } from '@payonce/core/refusals'
import { decodeCommand, differingMembers, encodeCommand } from '@payonce/core/transfers/command'
import { toLedgerCommand } from '@payonce/core/transfers/ledger-command'
import {
  acceptedTransfer,
  accountsOf,
  expiryOf,
  isSettled,
  nullIfEmpty,
  type SettledStatus,
  type TransferCommand,
} from '@payonce/core/transfers/transfer'

const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
const merchant = '0190f0e0-0000-7000-8000-0000000a4c4a'

const batch = '0190f0e0-0000-7000-8000-0000000000ba'
const parent = '0190f0e0-0000-7000-8000-000000000007'

const plain: TransferCommand = {
  kind: 'transfer',
  parentId: null,
  source: alice,
  destination: merchant,
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
}

const full: TransferCommand = {
  ...plain,
  description: 'Invoice 7',
  metadata: { order: '7' },
  executeAt: new Date('2026-01-03T00:00:00.000Z'),
  expiresAt: new Date('2026-01-04T00:00:00.000Z'),
  retryFundsUntil: new Date('2026-02-01T00:00:00.000Z'),
  condition: { sourceBalanceAtLeast: 5n, sourceVersion: 3n },
  atomicBatchId: batch,
  callbackUrl: 'https://shop.example/paid?order=7',
}

const capture: TransferCommand = {
  ...plain,
  kind: 'capture',
  parentId: parent,
  amount: null,
  isFinal: true,
}

const leg = { source: alice, destination: merchant, amount: 7n, currency: 'EUR' }
const leg1000 = { ...leg, amount: 1_000n }

const exchange: TransferCommand = {
  ...plain,
  source: null,
  destination: null,
  amount: null,
  currency: null,
  legs: [leg, { ...leg, source: merchant, destination: alice, currency: 'JPY' }],
}

const metadata = fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), {
  maxKeys: 5,
})
const ids = fc.uuid({ version: 7 })
const amounts = fc.bigInt({ min: 1n, max: MAX_AMOUNT })
const currencies = fc.constantFrom('EUR', 'JPY', 'KWD')
const times = fc.date({
  min: new Date(0),
  max: new Date('9999-12-31T23:59:59.999Z'),
  noInvalidDate: true,
})
const legs = fc.array(
  fc.record({ source: ids, destination: ids, amount: amounts, currency: currencies }),
  { minLength: 2, maxLength: 4 },
)

/** Any combination of members, also those that no request can ask for. */
const commands: fc.Arbitrary<TransferCommand> = fc.record({
  kind: fc.constantFrom<TransferCommand['kind'][]>(
    'transfer',
    'hold',
    'capture',
    'release',
    'refund',
  ),
  parentId: fc.option(ids),
  source: fc.option(ids),
  destination: fc.option(ids),
  amount: fc.option(amounts),
  currency: fc.option(currencies),
  legs: fc.option(legs),
  description: fc.option(fc.string({ unit: 'binary' })),
  metadata,
  isFinal: fc.boolean(),
  executeAt: fc.option(times),
  expiresAt: fc.option(times),
  retryFundsUntil: fc.option(times),
  condition: fc.option(
    fc.record(
      {
        sourceBalanceAtLeast: fc.bigInt({ min: -MAX_AMOUNT, max: MAX_AMOUNT }),
        sourceVersion: fc.bigInt({ min: 0n, max: MAX_AMOUNT }),
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  ),
  atomicBatchId: fc.option(ids),
  callbackUrl: fc.option(fc.webUrl()),
})

/** What Postgres gives back of the `json` column. */
function stored(command: TransferCommand): Record<string, unknown> {
  return JSON.parse(encodeCommand(command)) as Record<string, unknown>
}

describe('a stored command', () => {
  it('is read back as it was written, whatever it says', () => {
    fc.assert(
      fc.property(commands, (command) => {
        expect(decodeCommand(stored(command))).toEqual(command)
      }),
    )
  })

  it('has these bytes for ever: rows written by this version are read by later ones', () => {
    expect(encodeCommand(plain)).toBe(
      `{"v":1,"kind":"transfer","source":"${alice}","destination":"${merchant}","amount":1000,"currency":"EUR"}`,
    )
    expect(stored(full)).toEqual({
      v: 1,
      kind: 'transfer',
      source: alice,
      destination: merchant,
      amount: 1000,
      currency: 'EUR',
      description: 'Invoice 7',
      metadata: { order: '7' },
      execute_at: '2026-01-03T00:00:00.000Z',
      expires_at: '2026-01-04T00:00:00.000Z',
      on_insufficient_funds: { retry_until: '2026-02-01T00:00:00.000Z' },
      if: { source_balance_at_least: 5, source_version: 3 },
      atomic_batch_id: batch,
      callback_url: 'https://shop.example/paid?order=7',
    })
    expect(stored(capture)).toEqual({
      v: 1,
      kind: 'capture',
      parent_id: parent,
      source: alice,
      destination: merchant,
      currency: 'EUR',
      final: true,
    })
    expect(stored(exchange)).toEqual({
      v: 1,
      kind: 'transfer',
      legs: [
        { source: alice, destination: merchant, amount: 7, currency: 'EUR' },
        { source: merchant, destination: alice, amount: 7, currency: 'JPY' },
      ],
    })
  })

  it('keeps the largest amount to the unit', () => {
    const largest = { ...plain, amount: MAX_AMOUNT }
    expect(encodeCommand(largest)).toContain('"amount":9007199254740991')
    expect(decodeCommand(stored(largest))?.amount).toBe(MAX_AMOUNT)
  })

  it('that was written before it could wait for funds does not wait', () => {
    const old = { v: 1, kind: 'transfer', source: alice, destination: merchant }
    expect(decodeCommand({ ...old, amount: 1000, currency: 'EUR' })).toEqual(plain)
  })

  it.each<[string, unknown]>([
    ['a newer version', { ...stored(plain), v: 2 }],
    ['an older version', { ...stored(plain), v: 0 }],
    ['a version that is a text', { ...stored(plain), v: '1' }],
    ['no version', { ...stored(plain), v: undefined }],
    ['an unknown kind', { ...stored(plain), kind: 'payout' }],
    ['a kind that is a name of JavaScript', { ...stored(plain), kind: 'constructor' }],
    ['no kind', { ...stored(plain), kind: undefined }],
    ['an unknown member', { ...stored(plain), fee: 1 }],
    ['an unknown member that is null', { ...stored(plain), fee: null }],
    ['an unknown member of a leg', { ...stored(plain), legs: [{ ...leg, amount: 7, fee: 1 }] }],
    ['an unknown condition', { ...stored(plain), if: { source_is_new: true } }],
    ['a condition more than known', { ...stored(plain), if: { source_version: 1, x: 1 } }],
    [
      'an unknown way of waiting',
      {
        ...stored(plain),
        on_insufficient_funds: { retry_until: '2026-02-01T00:00:00.000Z', at_most: 3 },
      },
    ],
    ['a member with a name of JavaScript', { ...stored(plain), constructor: 1 }],
    ['nothing', {}],
    ['null', null],
    ['undefined', undefined],
    ['a text', JSON.stringify(stored(plain))],
    ['a list', [stored(plain)]],
    ['a number', 1],
  ])('that has or is %s is left to a newer worker', (_, command) => {
    expect(decodeCommand(command)).toBeUndefined()
  })

  it('with any unknown member is left to a newer worker', () => {
    const names = fc.string().filter((name) => !isKnown(name))
    fc.assert(
      fc.property(commands, names, fc.jsonValue(), (command, name, value) => {
        const newer = { ...stored(command), ...Object.fromEntries([[name, value]]) }
        expect(decodeCommand(newer)).toBeUndefined()
      }),
    )
  })

  it.each([
    ['an amount that is no integer', 1.5],
    ['an amount that is a word', 'much'],
  ])('of this version with %s is a bug: it throws, and moves no money', (_, amount) => {
    expect(() => decodeCommand({ ...stored(plain), amount })).toThrow()
  })
})

function isKnown(name: string): boolean {
  const known = { ...stored({ ...full, legs: [leg], isFinal: true }), parent_id: parent }
  return Object.hasOwn(known, name)
}

describe('the members in which two commands differ', () => {
  it.each<[string, Partial<TransferCommand>, string[]]>([
    ['nothing', {}, []],
    ['the amount', { amount: 1n }, ['/amount']],
    ['the source', { source: merchant }, ['/source']],
    ['the destination', { destination: alice }, ['/destination']],
    ['the currency', { currency: 'JPY' }, ['/currency']],
    ['a description', { description: 'x' }, ['/description']],
    ['a pair of metadata', { metadata: { a: 'b' } }, ['/metadata']],
    ['the kind', { kind: 'hold' }, ['/kind']],
    ['the time of execution', { executeAt: new Date(0) }, ['/execute_at']],
    ['the time of expiry', { expiresAt: new Date(0) }, ['/expires_at']],
    ['a condition', { condition: { sourceVersion: 1n } }, ['/if']],
    ['that it is final', { isFinal: true }, ['/final']],
    ['legs', { legs: [leg] }, ['/legs']],
    ['waiting for funds', { retryFundsUntil: new Date(0) }, ['/on_insufficient_funds']],
    ['two of them', { amount: 1n, description: 'x' }, ['/amount', '/description']],
  ])('are named where it is %s', (_, change, names) => {
    const changed = { ...plain, ...change }
    expect(differingMembers(plain, changed).toSorted()).toEqual(names.toSorted())
    expect(differingMembers(changed, plain).toSorted()).toEqual(names.toSorted())
  })

  it('do not depend on the order of metadata', () => {
    const [one, other] = [
      { a: '1', b: '2' },
      { b: '2', a: '1' },
    ]
    expect(differingMembers({ ...plain, metadata: one }, { ...plain, metadata: other })).toEqual([])
  })

  it('are names alone: no value ever stands in them', () => {
    fc.assert(
      fc.property(commands, commands, (one, other) => {
        for (const name of differingMembers(one, other)) expect(name).toMatch(/^\/[a-z_]+$/)
      }),
    )
  })
})

describe('a transfer that was just accepted', () => {
  const accepted = {
    tenantId: '0190f0e0-0000-7000-8000-00000000000a',
    id: '0190f0e0-0000-7000-8000-000000000001',
    idempotencyKey: 'order-7',
    acceptedAt: new Date('2026-01-01T00:00:00.000Z'),
    command: full,
  }

  it('is queued, from the moment of its acceptance, and says what was asked for', () => {
    const { command: _, acceptedAt, ...facts } = accepted
    const {
      isFinal: _isFinal,
      retryFundsUntil: _retryFundsUntil,
      condition: _condition,
      atomicBatchId: _atomicBatchId,
      callbackUrl: _callbackUrl,
      ...asked
    } = plain
    expect(acceptedTransfer({ ...accepted, command: plain })).toEqual({
      ...facts,
      ...asked,
      status: 'queued',
      capturedAmount: 0n,
      refundedAmount: 0n,
      failureCode: null,
      createdAt: acceptedAt,
      settledAt: null,
    })
  })

  it('is scheduled until the time of its execution has come', () => {
    const at = (time: string) => acceptedTransfer(accepted, new Date(time)).status
    expect(acceptedTransfer(accepted).status).toBe('scheduled')
    expect(at('2026-01-02T23:59:59.999Z')).toBe('scheduled')
    expect(at('2026-01-03T00:00:00.000Z')).toBe('queued')
  })

  it('is not settled, and in every later status it is', () => {
    const queued = acceptedTransfer({ ...accepted, command: plain })
    expect(isSettled(queued)).toBe(false)
    expect(isSettled(acceptedTransfer(accepted))).toBe(false)
    const settled: Record<SettledStatus, true> = {
      succeeded: true,
      failed: true,
      canceled: true,
      expired: true,
      held: true,
      released: true,
    }
    for (const status of Object.keys(settled) as SettledStatus[]) {
      expect(isSettled({ status })).toBe(true)
    }
  })
})

describe('a command is given up', () => {
  const acceptedAt = new Date('2026-01-01T00:00:00.000Z')

  it.each<[string, Partial<TransferCommand>, string | undefined]>([
    ['never, where its client does not say', {}, undefined],
    ['when its client says', { expiresAt: new Date(5) }, new Date(5).toISOString()],
    ['as a hold after 7 days', { kind: 'hold' }, '2026-01-08T00:00:00.000Z'],
    [
      'as a hold 7 days after the time of its execution',
      { kind: 'hold', executeAt: new Date('2026-01-02T00:00:00.000Z') },
      '2026-01-09T00:00:00.000Z',
    ],
    [
      'as a hold to be executed in the past, 7 days after its acceptance',
      { kind: 'hold', executeAt: new Date('2025-01-02T00:00:00.000Z') },
      '2026-01-08T00:00:00.000Z',
    ],
    [
      'as a hold when its client says',
      { kind: 'hold', expiresAt: new Date(5) },
      new Date(5).toISOString(),
    ],
  ])('%s', (_, change, expiry) => {
    expect(expiryOf({ acceptedAt, command: { ...plain, ...change } })?.toISOString()).toBe(expiry)
  })
})

describe('what the ledger is asked', () => {
  const acceptedAt = new Date('2026-01-01T00:00:00.000Z')
  const asked = (change: Partial<TransferCommand>) =>
    toLedgerCommand({
      tenantId: batch,
      id: parent,
      idempotencyKey: 'order-7',
      acceptedAt,
      dueAt: acceptedAt,
      command: { ...plain, ...change },
    })
  const base = { tenantId: batch, id: parent }
  const retryFundsUntil = new Date(7)
  const expiresAt = new Date(5)
  const condition = { sourceVersion: 3n }

  it.each<[string, Partial<TransferCommand>, object]>([
    [
      'a transfer, with its one leg',
      { retryFundsUntil, condition },
      { kind: 'transfer', executeBefore: null, legs: [leg1000], retryFundsUntil, condition },
    ],
    [
      'a transfer, with its several legs',
      { ...exchange, expiresAt },
      { kind: 'transfer', executeBefore: expiresAt, legs: exchange.legs },
    ],
    [
      'a hold, which ends when it would have been given up',
      { kind: 'hold', expiresAt, retryFundsUntil, condition },
      {
        kind: 'hold',
        executeBefore: expiresAt,
        holdUntil: expiresAt,
        leg: leg1000,
        retryFundsUntil,
        condition,
      },
    ],
    [
      'a capture',
      capture,
      { kind: 'capture', executeBefore: null, parentId: parent, amount: null, isFinal: true },
    ],
    [
      'a release',
      { ...capture, kind: 'release' },
      { kind: 'release', executeBefore: null, parentId: parent },
    ],
    [
      'a refund',
      { ...capture, kind: 'refund', amount: 5n, expiresAt },
      { kind: 'refund', executeBefore: expiresAt, parentId: parent, amount: 5n },
    ],
  ])('is %s', (_, change, judged) => {
    expect(asked(change)).toMatchObject({ ...base, ...judged })
  })

  it.each<[string, Partial<TransferCommand>]>([
    ['a transfer without an amount', { amount: null }],
    ['a transfer without a source', { source: null }],
    ['a transfer without a destination', { destination: null }],
    ['a transfer without a currency', { currency: null }],
    ['a hold without an amount', { kind: 'hold', amount: null }],
    ['a capture without a parent', { kind: 'capture' }],
    ['a release without a parent', { kind: 'release' }],
    ['a refund without a parent', { kind: 'refund' }],
  ])('is never %s: that is a bug, which throws and moves no money', (_, change) => {
    expect(() => asked(change)).toThrow(parent)
  })
})

describe('the accounts of a command', () => {
  it('are those it names, on its own or in its legs', () => {
    expect(accountsOf(plain)).toEqual([alice, merchant])
    expect(accountsOf(exchange)).toEqual([alice, merchant, merchant, alice])
  })
})

describe('metadata', () => {
  it('without pairs is stored as null', () => {
    expect(nullIfEmpty({})).toBeNull()
    expect(nullIfEmpty({ a: 'b' })).toEqual({ a: 'b' })
  })
})

describe('the code of a refusal', () => {
  it('is one that has a message, and no name of JavaScript', () => {
    for (const code of Object.keys(refusalMessages)) expect(isRefusalCode(code)).toBe(true)
    for (const name of ['', 'toString', 'constructor', '__proto__', 'INSUFFICIENT_FUNDS']) {
      expect(isRefusalCode(name)).toBe(false)
    }
  })

  /** Stored with every failed transfer, and shown by clients: a code never leaves and never changes. */
  it('and its message are part of the wire', () => {
    expect(refusalMessages).toMatchObject({
      account_closed: 'An account of this transfer is closed.',
      account_frozen: 'An account of this transfer is frozen.',
      balance_limit_exceeded: 'A balance would pass the largest amount that can be held.',
      insufficient_funds: 'The source has less available than the amount.',
      internal_error: 'The transfer could not be carried out and was ended by an operator.',
    })
  })
})
