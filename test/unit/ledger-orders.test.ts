import { describe, expect, it } from 'vitest'
import {
  applyAtomically,
  applyCommands,
  type LedgerCommand,
  type LedgerInput,
  type ParentState,
} from '@payonce/core/ledger/apply'
import type { AccountState } from '@payonce/core/ledger/books'
import { MAX_AMOUNT } from '@payonce/core/money'
import { byKey } from './models/ledger-history.ts'
import type { RefusalCode } from '@payonce/core/refusals'

const tenantId = 'tenant-a'
const noon = new Date('2026-01-01T12:00:00.000Z')
const before = new Date('2026-01-01T11:59:59.999Z')
const after = new Date('2026-01-01T12:00:00.001Z')

const base: AccountState = {
  tenantId,
  id: 'alice',
  kind: 'internal',
  status: 'open',
  balance: 100n,
  held: 0n,
  overdraftLimit: 0n,
  version: 3n,
  entryCount: 3n,
  lastEntryAt: new Date('2026-01-01T00:00:00.000Z'),
}

type Cast = Record<string, Partial<AccountState>>

function accountsOf(changes: Cast = {}): Map<string, AccountState> {
  const merchant = { ...base, id: 'merchant' }
  const market = { ...base, id: 'market', balance: 0n }
  const world: AccountState = { ...base, id: 'world', kind: 'external' }
  return byKey(
    [base, merchant, market, world].map((account) => ({ ...account, ...changes[account.id] })),
  )
}

const leg = { source: 'alice', destination: 'merchant', amount: 40n }
const common = { tenantId, executeBefore: null }
const free = { ...common, condition: null, retryFundsUntil: null }

const transfer = (id = 'transfer', amount = 40n): LedgerCommand => ({
  ...free,
  id,
  kind: 'transfer',
  legs: [{ ...leg, amount }],
})
const exchange = (id = 'exchange'): LedgerCommand => ({
  ...free,
  id,
  kind: 'transfer',
  legs: [leg, { source: 'merchant', destination: 'market', amount: 70n }],
})
const hold = (holdUntil = after): LedgerCommand => ({
  ...free,
  id: 'hold',
  kind: 'hold',
  leg,
  holdUntil,
  executeBefore: holdUntil,
})
const capture = (amount: bigint | null = null, isFinal = false, id = 'capture'): LedgerCommand => ({
  ...common,
  id,
  kind: 'capture',
  parentId: 'hold',
  amount,
  isFinal,
})
const release = (id = 'release'): LedgerCommand => ({
  ...common,
  id,
  kind: 'release',
  parentId: 'hold',
})
const refund = (parentId: string, amount: bigint | null = null, id = 'refund'): LedgerCommand => ({
  ...common,
  id,
  kind: 'refund',
  parentId,
  amount,
})

/** A parent that was settled earlier. */
function parent(change: Partial<ParentState>): ParentState {
  return {
    tenantId,
    id: 'hold',
    kind: 'hold',
    status: 'held',
    legs: [leg],
    capturedAmount: 0n,
    refundedAmount: 0n,
    holdUntil: after,
    ...change,
  }
}

function inputOf(
  commands: LedgerCommand[],
  parents: ParentState[] = [],
  cast: Cast = {},
): LedgerInput {
  return {
    accounts: accountsOf(cast),
    parents: new Map(parents.map((one) => [one.id, one])),
    commands,
    now: noon,
  }
}

const held40 = { alice: { held: 40n } }

describe('in an order that makes no sense', () => {
  const never = null
  const wouldExpire: LedgerCommand = { ...transfer(), executeBefore: noon }
  const fails = transfer('transfer', 101n)

  /** The last command is the one that is refused; those before it are carried out first. */
  it.each<[string, LedgerCommand[], RefusalCode]>([
    [
      'a capture of a hold that was used up',
      [hold(), capture(null, false, 'a'), capture(1n)],
      'hold_already_captured',
    ],
    [
      'a capture of a hold used up in parts',
      [hold(), capture(15n, false, 'a'), capture(25n, false, 'b'), capture()],
      'hold_already_captured',
    ],
    [
      'a capture behind a final one',
      [hold(), capture(15n, true, 'a'), capture(1n)],
      'hold_already_captured',
    ],
    ['a capture of more than the hold', [hold(), capture(41n)], 'capture_exceeds_remaining'],
    [
      'a capture of more than is left',
      [hold(), capture(15n, false, 'a'), capture(26n)],
      'capture_exceeds_remaining',
    ],
    [
      'a final capture of more than is left',
      [hold(), capture(15n, false, 'a'), capture(26n, true)],
      'capture_exceeds_remaining',
    ],
    ['a capture after the release', [hold(), release(), capture()], 'hold_already_released'],
    ['a release after the release', [hold(), release('a'), release()], 'hold_already_released'],
    ['a release after the last capture', [hold(), capture(), release()], 'hold_already_captured'],
    [
      'a capture behind a part and the release',
      [hold(), capture(15n, false, 'a'), release(), capture()],
      'hold_already_released',
    ],
    [
      'a capture of a hold that failed',
      [{ ...hold(), leg: { ...leg, amount: 101n } } as LedgerCommand, capture()],
      'parent_failed',
    ],
    [
      'a release of a hold that failed',
      [{ ...hold(), leg: { ...leg, amount: 101n } } as LedgerCommand, release()],
      'parent_failed',
    ],
    ['a capture of a hold that came too late', [hold(noon), capture()], 'hold_expired'],
    ['a release of a hold that came too late', [hold(noon), release()], 'hold_expired'],
    ['a capture before its hold', [capture()], 'parent_not_settled'],
    ['a release before its hold', [release()], 'parent_not_settled'],
    ['a refund before its transfer', [refund('transfer')], 'parent_not_settled'],
    [
      'a refund of more than there was',
      [transfer(), refund('transfer', 41n)],
      'refund_exceeds_remaining',
    ],
    [
      'a refund of more than is left',
      [transfer(), refund('transfer', 15n, 'a'), refund('transfer', 26n)],
      'refund_exceeds_remaining',
    ],
    [
      'a refund of what was refunded',
      [transfer(), refund('transfer', never, 'a'), refund('transfer')],
      'already_refunded',
    ],
    [
      'a part refunded of what was refunded',
      [transfer(), refund('transfer', never, 'a'), refund('transfer', 1n)],
      'already_refunded',
    ],
    [
      'several legs refunded again',
      [exchange(), refund('exchange', never, 'a'), refund('exchange')],
      'already_refunded',
    ],
    [
      'a refund of more than the capture',
      [hold(), capture(15n), refund('capture', 16n)],
      'refund_exceeds_remaining',
    ],
    ['a refund of a transfer that failed', [fails, refund('transfer')], 'parent_failed'],
    ['a refund of a capture that failed', [capture(), refund('capture')], 'parent_failed'],
    [
      'a refund of a transfer that came too late',
      [wouldExpire, refund('transfer')],
      'parent_expired',
    ],
  ])('%s has its own code, and moves no money', (_, commands, code) => {
    const first = applyCommands(inputOf(commands.slice(0, -1)))
    const result = applyCommands(inputOf(commands))
    expect(result.outcomes.slice(0, -1)).toEqual(first.outcomes)
    expect(result.outcomes.at(-1)).toMatchObject({
      status: 'failed',
      failureCode: code,
      amount: null,
    })
    expect(result.entries).toEqual(first.entries)
    expect(result.changed).toEqual(first.changed)
  })

  it.each<[string, ParentState, LedgerCommand, RefusalCode]>([
    ['a capture of a canceled hold', parent({ status: 'canceled' }), capture(), 'parent_canceled'],
    ['a release of a canceled hold', parent({ status: 'canceled' }), release(), 'parent_canceled'],
    ['a capture of an expired hold', parent({ status: 'expired' }), capture(), 'hold_expired'],
    ['a release of an expired hold', parent({ status: 'expired' }), release(), 'hold_expired'],
    [
      'a capture of a released hold',
      parent({ status: 'released', capturedAmount: 9n }),
      capture(),
      'hold_already_released',
    ],
    [
      'a release of a captured hold',
      parent({ status: 'succeeded', capturedAmount: 40n }),
      release(),
      'hold_already_captured',
    ],
    [
      'a refund of a canceled transfer',
      parent({ kind: 'transfer', status: 'canceled', holdUntil: null }),
      refund('hold'),
      'parent_canceled',
    ],
    [
      'a refund of an expired transfer',
      parent({ kind: 'transfer', status: 'expired', holdUntil: null }),
      refund('hold'),
      'parent_expired',
    ],
    [
      'a refund of a canceled capture',
      parent({ kind: 'capture', status: 'canceled', holdUntil: null }),
      refund('hold'),
      'parent_canceled',
    ],
  ])('%s that was settled earlier has its own code', (_, given, command, code) => {
    const result = applyCommands(inputOf([command], [given]))
    expect(result.outcomes[0]).toMatchObject({ status: 'failed', failureCode: code })
    expect(result).toMatchObject({ entries: [], changed: [], changedParents: [] })
  })

  it.each<[string, LedgerCommand]>([
    ['a capture', capture(1n)],
    ['a release', release()],
  ])('%s of a hold past its time, before any sweep, expires the hold', (_, command) => {
    const given = parent({ holdUntil: noon, capturedAmount: 10n })
    const result = applyCommands(inputOf([command], [given], { alice: { held: 30n } }))
    expect(result.outcomes[0]).toMatchObject({ status: 'failed', failureCode: 'hold_expired' })
    expect(result.changedParents).toEqual([{ ...given, status: 'expired' }])
    expect(result.changed).toEqual([{ ...base, held: 0n, version: 4n }])
    expect(result.entries).toEqual([])
  })

  it.each<[string, ParentState, LedgerCommand]>([
    ['of a hold', parent({ status: 'succeeded' }), refund('hold')],
    ['of a release', parent({ kind: 'release', status: 'succeeded' }), refund('hold')],
    ['of a refund', parent({ kind: 'refund', status: 'succeeded' }), refund('hold')],
    [
      'of a part of several legs',
      parent({ kind: 'transfer', status: 'succeeded', legs: [leg, leg] }),
      refund('hold', 40n),
    ],
  ])(
    'a refund %s is refused before its acceptance: here it is a bug, and throws',
    (_, given, command) => {
      expect(() => applyCommands(inputOf([command], [given]))).toThrow(/^refund refund: of a/)
    },
  )
})

describe('a hold', () => {
  it('reserves, is captured in parts, and the final capture releases the rest', () => {
    const result = applyCommands(inputOf([hold(), capture(15n, false, 'a'), capture(10n, true)]))
    expect(result.outcomes.map(({ status, amount }) => `${status} ${amount}`)).toEqual([
      'held 40',
      'succeeded 15',
      'succeeded 10',
    ])
    expect(result.settled.get('hold')).toMatchObject({ status: 'succeeded', capturedAmount: 25n })
    expect(result.changed).toMatchObject([
      { id: 'alice', balance: 75n, held: 0n, version: 6n, entryCount: 5n },
      { id: 'merchant', balance: 125n, held: 0n, version: 5n, entryCount: 5n },
    ])
  })

  it('keeps its amount from other transfers until it is released', () => {
    const commands = [hold(), transfer('a', 61n), transfer('b', 60n), release(), transfer('c', 40n)]
    const { outcomes } = applyCommands(inputOf(commands))
    expect(outcomes.map(({ failureCode }) => failureCode)).toEqual([
      null,
      'insufficient_funds',
      null,
      null,
      null,
    ])
  })

  it.each([
    ['the sweep comes by', noon, 'expired'],
    ['the sweep comes too early', after, 'held'],
  ] as const)(
    'past its time is expired where %s, also on frozen accounts',
    (_, holdUntil, status) => {
      const cast = {
        alice: { held: 40n, status: 'frozen' },
        merchant: { status: 'closed' },
      } as const
      const input = inputOf([], [parent({ holdUntil })], cast)
      const result = applyCommands({ ...input, expiring: ['hold', 'nobody'] })
      expect(result.settled.get('hold')?.status).toBe(status)
      expect(result.changed.map(({ held }) => held)).toEqual(status === 'held' ? [] : [0n])
    },
  )

  it('is released on frozen accounts, but not captured', () => {
    const cast = { alice: { held: 40n, status: 'frozen' } } as const
    const result = applyCommands(inputOf([capture(), release()], [parent({})], cast))
    expect(result.outcomes).toMatchObject([
      { status: 'failed', failureCode: 'account_frozen' },
      { status: 'succeeded', amount: 40n },
    ])
  })

  it('reserves what is there to the last unit, and not one more', () => {
    const of = (amount: bigint) => ({ ...hold(), leg: { ...leg, amount } }) as LedgerCommand
    expect(applyCommands(inputOf([of(100n)])).outcomes[0]?.status).toBe('held')
    expect(applyCommands(inputOf([of(101n)])).outcomes[0]?.failureCode).toBe('insufficient_funds')
  })

  it.each([
    ['of the world outside', 'external', 0n],
    ['on a large overdraft', 'internal', MAX_AMOUNT],
  ] as const)('%s never reserves more than a JSON number can hold', (_, kind, overdraftLimit) => {
    const cast = { alice: { kind, overdraftLimit, held: MAX_AMOUNT - 40n, balance: 100n } } as const
    const over = { ...hold(), id: 'over', leg: { ...leg, amount: 1n } } as LedgerCommand
    const { outcomes, changed } = applyCommands(inputOf([hold(), over], [], cast))
    expect(outcomes.map(({ failureCode }) => failureCode)).toEqual([null, 'balance_limit_exceeded'])
    expect(changed).toMatchObject([{ held: MAX_AMOUNT }])
  })

  it('whose capture would pass the largest balance stays as it was', () => {
    const cast = { ...held40, merchant: { balance: MAX_AMOUNT } }
    const result = applyCommands(inputOf([capture(1n)], [parent({})], cast))
    expect(result.outcomes[0]?.failureCode).toBe('balance_limit_exceeded')
    expect(result).toMatchObject({ entries: [], changed: [], changedParents: [] })
  })
})

describe('several legs', () => {
  it('are each funded at their step, and refunded as a whole, the other way round', () => {
    const result = applyCommands(inputOf([exchange(), refund('exchange')]))
    expect(result.outcomes).toMatchObject([
      { status: 'succeeded', amount: null },
      { status: 'succeeded', amount: null },
    ])
    expect(result.entries.map(({ accountId, amount }) => `${accountId} ${amount}`)).toEqual([
      'alice -40',
      'merchant 40',
      'merchant -70',
      'market 70',
      'market -70',
      'merchant 70',
      'merchant -40',
      'alice 40',
    ])
    expect(result.settled.get('exchange')?.refundedAmount).toBe(110n)
  })

  it('leave nothing behind where the last one is refused', () => {
    const result = applyCommands(inputOf([exchange()], [], { merchant: { balance: 29n } }))
    expect(result.outcomes).toEqual([
      {
        status: 'failed',
        failureCode: 'insufficient_funds',
        amount: null,
        versions: [
          { source: 3n, destination: 3n },
          { source: 3n, destination: 3n },
        ],
      },
    ])
    expect(result).toMatchObject({ entries: [], changed: [] })
  })
})

describe('a condition and a deadline', () => {
  const withMembers = (members: object): LedgerCommand => ({ ...transfer(), ...members })

  it.each<[string, object, string]>([
    ['a balance that is there', { condition: { sourceBalanceAtLeast: 100n } }, 'succeeded null'],
    [
      'a balance one short',
      { condition: { sourceBalanceAtLeast: 101n } },
      'failed condition_not_met',
    ],
    ['the version', { condition: { sourceVersion: 3n } }, 'succeeded null'],
    ['an earlier version', { condition: { sourceVersion: 2n } }, 'failed condition_not_met'],
    ['a later version', { condition: { sourceVersion: 4n } }, 'failed condition_not_met'],
    [
      'one of two',
      { condition: { sourceVersion: 3n, sourceBalanceAtLeast: 101n } },
      'failed condition_not_met',
    ],
    ['no condition', { condition: {} }, 'succeeded null'],
    ['a deadline just met', { executeBefore: after }, 'succeeded null'],
    ['a deadline just missed', { executeBefore: noon }, 'expired null'],
    [
      'a deadline and no condition met',
      { executeBefore: before, condition: { sourceVersion: 9n } },
      'expired null',
    ],
    ['patience that is over, with funds', { retryFundsUntil: before }, 'succeeded null'],
  ])('with %s', (_, members, ending) => {
    const [outcome] = applyCommands(inputOf([withMembers(members)])).outcomes
    expect(`${outcome?.status} ${outcome?.failureCode}`).toBe(ending)
  })

  it.each<[string, object, string]>([
    ['is put off until the client said', { retryFundsUntil: after }, 'deferred insufficient_funds'],
    ['is final from that moment on', { retryFundsUntil: noon }, 'failed insufficient_funds'],
    [
      'is final where its time is over',
      { retryFundsUntil: after, executeBefore: noon },
      'expired null',
    ],
    [
      'comes after the condition',
      { retryFundsUntil: after, condition: { sourceVersion: 9n } },
      'failed condition_not_met',
    ],
  ])('a lack of funds %s', (_, members, ending) => {
    const command = { ...transfer('transfer', 101n), ...members }
    const result = applyCommands(inputOf([command, refund('transfer')]))
    const [outcome, child] = result.outcomes
    expect(`${outcome?.status} ${outcome?.failureCode}`).toBe(ending)
    if (outcome?.status === 'deferred') expect(child?.failureCode).toBe('parent_not_settled')
    expect(result.settled.has('transfer')).toBe(outcome?.status !== 'deferred')
  })
})

describe('an atomic batch', () => {
  it('with a hold and its capture is carried out', () => {
    const { outcomes } = applyAtomically(inputOf([hold(), capture(), refund('capture')]))
    expect(outcomes.every(({ status }) => status !== 'failed')).toBe(true)
  })

  it('leaves no trace of what stood before the culprit, nor of what stands behind it', () => {
    const commands = [transfer(), hold(), transfer('culprit', 101n), transfer('last', 1n)]
    const result = applyAtomically(inputOf(commands))
    expect(result.outcomes.map(({ failureCode }) => failureCode)).toEqual([
      'batch_aborted',
      'batch_aborted',
      'insufficient_funds',
      'batch_aborted',
    ])
    expect(result).toMatchObject({ entries: [], changed: [], changedParents: [], settledAt: noon })
    expect([...result.settled.values()].every(({ status }) => status === 'failed')).toBe(true)
  })

  it('with one whose time is over expires that one, and aborts the others', () => {
    const late = { ...transfer('late', 1n), executeBefore: noon }
    const result = applyAtomically(inputOf([transfer(), late, refund('late')]))
    expect(result.outcomes.map(({ status, failureCode }) => failureCode ?? status)).toEqual([
      'batch_aborted',
      'expired',
      'batch_aborted',
    ])
    expect(result).toMatchObject({ entries: [], changed: [], changedParents: [] })
  })

  it('does not wait for the funds of one: it is all or none now', () => {
    const waits = { ...transfer('waits', 101n), retryFundsUntil: after } as LedgerCommand
    const { outcomes } = applyAtomically(inputOf([waits, transfer()]))
    expect(outcomes.map(({ failureCode }) => failureCode)).toEqual([
      'insufficient_funds',
      'batch_aborted',
    ])
  })
})

describe('an account with the same id in two tenants', () => {
  it('has its last entry where its own tenant moved money, not where only the other one did', () => {
    const other = 'tenant-b'
    const accounts = new Map([
      ...accountsOf(),
      ...byKey([...accountsOf().values()].map((account) => ({ ...account, tenantId: other }))),
    ])
    const commands = [transfer(), { ...hold(), tenantId: other }]
    const { changed } = applyCommands({ accounts, parents: new Map(), commands, now: noon })
    const reserved = changed.find((account) => account.tenantId === other)
    expect(reserved).toEqual({ ...base, tenantId: other, held: 40n, version: 4n })
  })
})
