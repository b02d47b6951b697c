import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_AMOUNT } from '@payonce/core/money'
import { isRefusalCode, refusalMessages } from '@payonce/core/refusals'
import {
  decodeCommand,
  differingMembers,
  encodeCommand,
  isSettled,
  metadataText,
  queuedTransfer,
  type Transfer,
  type TransferCommand,
} from '@payonce/core/transfers/transfer'

const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
const merchant = '0190f0e0-0000-7000-8000-0000000a4c4a'

const plain: TransferCommand = {
  kind: 'transfer',
  source: alice,
  destination: merchant,
  amount: 1_000n,
  currency: 'EUR',
  description: null,
  metadata: {},
  retryFundsUntil: null,
}

const full: TransferCommand = {
  ...plain,
  description: 'Invoice 7',
  metadata: { order: '7' },
  retryFundsUntil: new Date('2026-02-01T00:00:00.000Z'),
}

const metadata = fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), {
  maxKeys: 5,
})

const commands: fc.Arbitrary<TransferCommand> = fc.record({
  kind: fc.constant('transfer' as const),
  source: fc.uuid({ version: 7 }),
  destination: fc.uuid({ version: 7 }),
  amount: fc.bigInt({ min: 1n, max: MAX_AMOUNT }),
  currency: fc.constantFrom('EUR', 'JPY', 'KWD'),
  description: fc.option(fc.string({ unit: 'binary' })),
  metadata,
  retryFundsUntil: fc.option(
    fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
  ),
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
      `{"v":1,"kind":"transfer","source":"${alice}","destination":"${merchant}","currency":"EUR","amount":1000}`,
    )
    expect(stored(full)).toEqual({
      v: 1,
      kind: 'transfer',
      source: alice,
      destination: merchant,
      currency: 'EUR',
      amount: 1000,
      description: 'Invoice 7',
      metadata: { order: '7' },
      on_insufficient_funds: { retry_until: '2026-02-01T00:00:00.000Z' },
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
    ['an unknown kind', { ...stored(plain), kind: 'hold' }],
    ['no kind', { ...stored(plain), kind: undefined }],
    ['an unknown member', { ...stored(plain), execute_at: '2026-02-01T00:00:00.000Z' }],
    ['an unknown member that is null', { ...stored(plain), legs: null }],
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

  it.each([
    ['no amount', undefined],
    ['an amount that is no integer', 1.5],
    ['an amount that is a word', 'much'],
  ])('of this version with %s is a bug: it throws, and moves no money', (_, amount) => {
    expect(() => decodeCommand({ ...stored(plain), amount })).toThrow()
  })
})

describe('the members in which two commands differ', () => {
  it.each<[string, Partial<TransferCommand>, string[]]>([
    ['nothing', {}, []],
    ['the amount', { amount: 1n }, ['/amount']],
    ['the source', { source: merchant }, ['/source']],
    ['the destination', { destination: alice }, ['/destination']],
    ['the currency', { currency: 'JPY' }, ['/currency']],
    ['a description', { description: 'x' }, ['/description']],
    ['a pair of metadata', { metadata: { a: 'b' } }, ['/metadata']],
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
    const { retryFundsUntil: __, ...asked } = full
    expect(queuedTransfer(accepted)).toEqual({
      ...facts,
      ...asked,
      status: 'queued',
      failureCode: null,
      createdAt: acceptedAt,
      settledAt: null,
    })
  })

  it('is not settled, and in every later status it is', () => {
    const queued = queuedTransfer(accepted)
    expect(isSettled(queued)).toBe(false)
    for (const status of ['succeeded', 'failed', 'canceled'] satisfies Transfer['status'][]) {
      expect(isSettled({ ...queued, status })).toBe(true)
    }
  })
})

describe('metadata', () => {
  it('without pairs is stored as null', () => {
    expect(metadataText({})).toBeNull()
    expect(metadataText({ a: 'b' })).toBe('{"a":"b"}')
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
