import * as fc from 'fast-check'
import { MAX_AMOUNT } from '@payonce/core/money'
import {
  applyCommands,
  type Condition,
  type LedgerCommand,
  type LedgerInput,
  type LedgerResult,
  type Outcome,
  type ParentState,
} from '@payonce/core/ledger/apply'
import { accountKey, type AccountState, type Leg } from '@payonce/core/ledger/books'
import { LedgerModel, sumOf, type ModelTransfer } from './ledger-model.ts'

/** What is settled together, at one moment. */
export type Batch = {
  /** Called off just before. */
  canceled: readonly LedgerCommand[]
  /** Holds that the sweep comes by with, before the commands. */
  expiring: readonly string[]
  /** A command that had to wait for funds comes again in the next batch. */
  commands: readonly LedgerCommand[]
  now: Date
}

/** Accounts and holds as they stand, and the batches that are then carried out, one by one. */
export type History = {
  openings: readonly AccountState[]
  holds: readonly ParentState[]
  batches: readonly Batch[]
}

/** One batch as it was carried out, with all that was known before and after it. */
export type Step = {
  before: ReadonlyMap<string, AccountState>
  parentsBefore: ReadonlyMap<string, ParentState>
  /** Those that were not settled before. */
  commands: readonly LedgerCommand[]
  input: LedgerInput
  now: Date
  result: LedgerResult
  after: ReadonlyMap<string, AccountState>
  /** Every settled transfer, as Postgres would have it. */
  parentsAfter: ReadonlyMap<string, ParentState>
}

/** Carries a history out as settlement does: what a batch changed is what the next one finds. */
export function play({ openings, holds, batches }: History): Step[] {
  let accounts = byKey(openings)
  let transfers = new Map(holds.map((hold) => [hold.id, hold]))
  return batches.map(({ canceled, expiring, commands: all, now }) => {
    for (const command of canceled) transfers.set(command.id, canceledState(command))
    const [before, parentsBefore] = [accounts, transfers]
    const commands = all.filter(({ id }) => !transfers.has(id))
    const named = commands.flatMap((one) => ('parentId' in one ? [one.parentId] : []))
    const parents = new Map(
      [...transfers].filter(([id]) => named.includes(id) || expiring.includes(id)),
    )
    const input = { accounts, parents, commands, expiring, now }
    const result = applyCommands(input)
    accounts = new Map([...before, ...byKey(result.changed)])
    const settled = commands.flatMap(({ id }) => result.settled.get(id) ?? [])
    transfers = new Map([
      ...transfers,
      ...[...result.changedParents, ...settled].map((one) => [one.id, one] as const),
    ])
    return {
      before,
      parentsBefore,
      commands,
      input,
      now,
      result,
      after: accounts,
      parentsAfter: transfers,
    }
  })
}

/** What the model says about every command of a history. */
export function judge({ openings, holds, batches }: History): {
  model: LedgerModel
  outcomes: Outcome[]
} {
  const model = new LedgerModel(openings, holds)
  const outcomes = batches.flatMap(({ canceled, expiring, commands, now }) => {
    for (const command of canceled) model.cancel(command)
    const known = new Set(model.transfers.map(({ id }) => id))
    model.sweep(expiring, now)
    return commands.filter(({ id }) => !known.has(id)).map((command) => model.settle(command, now))
  })
  return { model, outcomes }
}

function canceledState(command: LedgerCommand): ParentState {
  const { tenantId, id, kind } = command
  return {
    tenantId,
    id,
    kind,
    status: 'canceled',
    legs: command.kind === 'transfer' ? command.legs : command.kind === 'hold' ? [command.leg] : [],
    capturedAmount: 0n,
    refundedAmount: 0n,
    holdUntil: command.kind === 'hold' ? command.holdUntil : null,
  }
}

export function byKey(accounts: readonly AccountState[]): Map<string, AccountState> {
  return new Map(accounts.map((account) => [accountKey(account.tenantId, account.id), account]))
}

/** The same history, all of it at one moment: nothing is tried again, and the sweep comes first. */
export function atOneMoment({ openings, holds, batches }: History, now: Date): History {
  const seen = new Set<string>()
  return {
    openings,
    holds,
    batches: batches.map((batch, index) => ({
      canceled: batch.canceled,
      expiring: index === 0 ? holds.map(({ id }) => id) : [],
      commands: batch.commands.filter(({ id }) => !seen.has(id) && seen.add(id)),
      now,
    })),
  }
}

/** The same history as one single batch, at the time of its last one. */
export function asOneBatch({ openings, holds, batches }: History): History {
  const whole: Batch = {
    canceled: batches.flatMap(({ canceled }) => canceled),
    expiring: batches.flatMap(({ expiring }) => expiring),
    commands: batches.flatMap(({ commands }) => commands),
    now: batches.at(-1)?.now ?? new Date(0),
  }
  return { openings, holds, batches: [whole] }
}

/** The same history, each command in a batch of its own. */
export function oneByOne({ openings, holds, batches }: History): History {
  const single = batches.flatMap(({ canceled, expiring, commands, now }): Batch[] => [
    { canceled, expiring, commands: [], now },
    ...commands.map((command) => ({ canceled: [], expiring: [], commands: [command], now })),
  ])
  return { openings, holds, batches: single }
}

const tenants = ['tenant-a', 'tenant-b'] as const
/** The tenants' accounts bear the same ids, so that whoever forgets the tenant mixes them up. */
const accountIds = ['alice', 'merchant', 'market', 'world'] as const

const largeOrSmall = fc.oneof(
  { weight: 3, arbitrary: fc.bigInt({ min: 0n, max: 50n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: MAX_AMOUNT - 50n, max: MAX_AMOUNT }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: MAX_AMOUNT }) },
)

function momentUntil(latest: string): fc.Arbitrary<Date> {
  return fc.date({
    min: new Date('2026-01-01T00:00:00.000Z'),
    max: new Date(latest),
    noInvalidDate: true,
  })
}

const moment = momentUntil('2026-01-01T00:00:01.000Z')
/** Before, between or after the times at which the batches are carried out. */
const deadline = momentUntil('2026-01-01T00:00:02.000Z')

const statuses = fc.oneof(
  { weight: 10, arbitrary: fc.constant('open' as const) },
  { weight: 1, arbitrary: fc.constantFrom('frozen' as const, 'closed' as const) },
)

/** An account in any state that the ledger allows: see the CHECKs of the accounts table. */
function openings(tenantId: string, id: string): fc.Arbitrary<AccountState> {
  return fc
    .record({
      kind: fc.constantFrom('internal' as const, 'internal' as const, 'external' as const),
      status: statuses,
      isNegative: fc.boolean(),
      magnitude: largeOrSmall,
      held: fc.oneof(fc.constant(0n), largeOrSmall),
      spareLimit: largeOrSmall,
      isNew: fc.boolean(),
      version: fc.bigInt({ min: 0n, max: 1_000n }),
      entryCount: fc.bigInt({ min: 1n, max: 1_000n }),
      lastEntryAt: moment,
    })
    .map((drawn): AccountState => {
      const balance = drawn.isNew ? 0n : drawn.isNegative ? -drawn.magnitude : drawn.magnitude
      const held = drawn.isNew ? 0n : drawn.held
      const needed = held > balance ? held - balance : 0n
      const overdraftLimit = needed + drawn.spareLimit
      const isAllowed = drawn.kind === 'external' || overdraftLimit <= MAX_AMOUNT
      return {
        tenantId,
        id,
        kind: isAllowed ? drawn.kind : 'external',
        status: drawn.status,
        balance,
        held,
        overdraftLimit: overdraftLimit <= MAX_AMOUNT ? overdraftLimit : MAX_AMOUNT,
        version: drawn.version,
        entryCount: drawn.isNew ? 0n : drawn.entryCount,
        lastEntryAt: drawn.isNew ? null : drawn.lastEntryAt,
      }
    })
}

/** Of what an account holds, a part for one hold that later commands may name. */
type OpeningHold = { isKnown: boolean; percent: bigint; captured: bigint; holdUntil: Date }

const openingHolds: fc.Arbitrary<OpeningHold> = fc.record({
  isKnown: fc.boolean(),
  percent: fc.bigInt({ min: 1n, max: 100n }),
  captured: fc.bigInt({ min: 0n, max: 9n }),
  holdUntil: deadline,
})

function toOpeningHold(account: AccountState, drawn: OpeningHold): ParentState[] {
  const { tenantId, id, held } = account
  const remainder = (held * drawn.percent) / 100n
  if (!drawn.isKnown || remainder === 0n) return []
  const capturedAmount = remainder + drawn.captured > MAX_AMOUNT ? 0n : drawn.captured
  const destination = accountIds[(accountIds.findIndex((one) => one === id) + 1) % 4] ?? 'world'
  return [
    {
      tenantId,
      id: `hold of ${tenantId}'s ${id}`,
      kind: 'hold',
      status: 'held',
      legs: [{ source: id, destination, amount: remainder + capturedAmount }],
      capturedAmount,
      refundedAmount: 0n,
      holdUntil: drawn.holdUntil,
    },
  ]
}

/** A wish for a command. What it names and its amount may depend on what there is at that moment. */
type Wish = {
  tenantId: string
  kind: LedgerCommand['kind']
  pairs: readonly (readonly [source: string, destination: string])[]
  amount: bigint
  aim: 'any' | 'edge' | 'room'
  off: bigint
  parent: { of: 'recent' | 'fitting' | 'ended' | 'any' | 'missing'; index: number }
  isFinal: boolean
  condition: 'none' | 'balance' | 'version'
  retryFundsUntil: Date | null
  executeBefore: Date | null
  holdUntil: Date
  isCanceled: boolean
}

const pairs = accountIds.flatMap((source) =>
  accountIds
    .filter((destination) => destination !== source)
    .map((destination) => [source, destination] as const),
)

/** Mostly the first, else one of the others. */
function mostly<T>(usual: T, ...others: readonly fc.Arbitrary<T>[]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: 5 * others.length, arbitrary: fc.constant(usual) },
    ...others.map((arbitrary) => ({ weight: 1, arbitrary })),
  )
}

const wishes: fc.Arbitrary<Wish> = fc.record({
  tenantId: fc.constantFrom(...tenants),
  kind: fc.constantFrom(
    ...(['transfer', 'transfer', 'transfer', 'hold', 'hold', 'hold'] as const),
    ...([
      'capture',
      'capture',
      'capture',
      'capture',
      'release',
      'release',
      'refund',
      'refund',
      'refund',
    ] as const),
  ),
  pairs: fc.oneof(
    { weight: 2, arbitrary: fc.tuple(fc.constantFrom(...pairs)) },
    {
      weight: 1,
      arbitrary: fc.array(fc.constantFrom(...pairs), { minLength: 2, maxLength: 3 }),
    },
  ),
  amount: largeOrSmall,
  aim: fc.constantFrom('any' as const, 'any' as const, 'edge' as const, 'room' as const),
  off: fc.constantFrom(-1n, 0n, 0n, 1n),
  parent: fc.record({
    of: fc.constantFrom(
      ...(['recent', 'recent', 'fitting', 'fitting', 'ended', 'ended', 'any', 'missing'] as const),
    ),
    index: fc.nat({ max: 30 }),
  }),
  isFinal: mostly(false, fc.constant(true)),
  condition: mostly<Wish['condition']>('none', fc.constantFrom('balance', 'version')),
  retryFundsUntil: mostly<Date | null>(null, deadline),
  executeBefore: mostly<Date | null>(null, deadline),
  holdUntil: mostly(new Date('2026-01-02T00:00:00.000Z'), deadline, deadline),
  isCanceled: mostly(false, fc.constant(true)),
})

function within(amount: bigint): bigint {
  if (amount < 1n) return 1n
  return amount > MAX_AMOUNT ? MAX_AMOUNT : amount
}

/** Aims at the very edge: exactly the funds of the source, or the room of the destination, or one off. */
function legOf(wish: Wish, pair: Wish['pairs'][number], model: LedgerModel): Leg {
  const [source, destination] = pair
  const room = MAX_AMOUNT - model.balanceOf(wish.tenantId, destination)
  const edge = { any: undefined, edge: model.fundsOf(wish.tenantId, source), room }[wish.aim]
  return { source, destination, amount: within(edge === undefined ? wish.amount : edge + wish.off) }
}

function conditionOf(wish: Wish, source: string, model: LedgerModel): Condition | null {
  const { tenantId, condition, off } = wish
  if (condition === 'none') return null
  if (condition === 'version') return { sourceVersion: model.versionOf(tenantId, source) - off }
  return { sourceBalanceAtLeast: model.balanceOf(tenantId, source) + off }
}

/** A part of what is left, or exactly all of it, or one off or more. Null takes all of it. */
function amountOfChild(wish: Wish, remainder: bigint): bigint | null {
  if (wish.aim === 'room') return null
  if (wish.aim === 'edge' || remainder === 0n) return within(remainder + wish.off)
  const isTooMuch = wish.amount > MAX_AMOUNT - 50n
  return isTooMuch ? wish.amount : 1n + (wish.amount % remainder)
}

function parentOf({ tenantId, kind, parent }: Wish, model: LedgerModel): ModelTransfer | undefined {
  const kinds = kind === 'refund' ? ['transfer', 'capture'] : ['hold']
  const all = model.transfers.filter((one) => one.tenantId === tenantId && kinds.includes(one.kind))
  const fitting = all.filter(({ status }) => status === (kind === 'refund' ? 'succeeded' : 'held'))
  const from = {
    recent: fitting.slice(-1),
    fitting,
    ended: all.filter((one) => !fitting.includes(one) && one.status !== 'failed'),
    any: all,
    missing: [],
  }[parent.of]
  return from[parent.index % from.length]
}

function toCommand(wish: Wish, index: number, model: LedgerModel): LedgerCommand {
  const { tenantId, kind, executeBefore, retryFundsUntil, isFinal, holdUntil } = wish
  const base = { tenantId, id: `transfer-${index}`, executeBefore }
  if (kind === 'transfer') {
    const legs = wish.pairs.map((pair) => legOf(wish, pair, model))
    const condition = legs.length > 1 ? null : conditionOf(wish, legs[0]?.source ?? '', model)
    return { ...base, kind, legs, condition, retryFundsUntil }
  }
  if (kind === 'hold') {
    const leg = legOf(wish, wish.pairs[0] ?? ['alice', 'merchant'], model)
    const condition = conditionOf(wish, leg.source, model)
    return { ...base, executeBefore: holdUntil, kind, leg, condition, retryFundsUntil, holdUntil }
  }
  const parent = parentOf(wish, model)
  if (kind === 'release') return { ...base, kind, parentId: parent?.id ?? later(index) }
  if (parent === undefined) {
    const missing = { ...base, parentId: later(index), amount: null }
    return kind === 'capture' ? { ...missing, kind, isFinal } : { ...missing, kind }
  }
  const parentId = parent.id
  if (kind === 'capture') {
    const amount = amountOfChild(wish, model.remainderOf(parent))
    return { ...base, kind, parentId, amount, isFinal }
  }
  const remainder = sumOf(parent.legs) - model.refundedOf(parent)
  const isWhole = parent.legs.length > 1
  return { ...base, kind, parentId, amount: isWhole ? null : amountOfChild(wish, remainder) }
}

/** Nobody has it, or it comes later: which is the same for the one that builds on it. */
function later(index: number): string {
  return `transfer-${index + 2}`
}

type DrawnBatch = { wishes: readonly Wish[]; isSwept: boolean; now: Date }

function toBatches(
  accounts: readonly AccountState[],
  holds: readonly ParentState[],
  drawn: readonly DrawnBatch[],
): Batch[] {
  const model = new LedgerModel(accounts, holds)
  let index = 0
  let waiting: LedgerCommand[] = []
  return drawn.map(({ wishes: wished, isSwept, now }): Batch => {
    const canceled = wished
      .filter((wish) => wish.isCanceled && (wish.kind === 'transfer' || wish.kind === 'hold'))
      .map((wish) => {
        const command = toCommand(wish, index, model)
        index += 1
        return { ...command, id: `canceled-${index}` }
      })
    for (const command of canceled) model.cancel(command)
    const expiring = isSwept
      ? model.transfers.filter(({ kind }) => kind === 'hold').map(({ id }) => id)
      : []
    model.sweep(expiring, now)
    const commands: LedgerCommand[] = []
    const again = waiting
    waiting = []
    const settle = (command: LedgerCommand) => {
      commands.push(command)
      if (model.settle(command, now).status === 'deferred') waiting.push(command)
    }
    for (const command of again) settle(command)
    for (const wish of wished.filter(({ isCanceled }) => !isCanceled)) {
      settle(toCommand(wish, index, model))
      index += 1
    }
    return { canceled, expiring, commands, now }
  })
}

/** Any history of a few accounts that keep meeting each other, cut into batches anywhere. */
export const histories: fc.Arbitrary<History> = fc
  .record({
    openings: fc.tuple(
      ...tenants.flatMap((tenantId) => accountIds.map((id) => openings(tenantId, id))),
    ),
    holds: fc.array(openingHolds, { minLength: 8, maxLength: 8 }),
    batches: fc.array(
      fc.record({
        wishes: fc.array(wishes, { minLength: 2, maxLength: 10 }),
        isSwept: mostly(false, fc.constant(true), fc.constant(true)),
        now: moment,
      }),
      { minLength: 1, maxLength: 5, size: 'max' },
    ),
  })
  .map((drawn): History => {
    const holds = drawn.openings.flatMap((account, index) => {
      const hold = drawn.holds[index]
      return hold === undefined ? [] : toOpeningHold(account, hold)
    })
    return {
      openings: drawn.openings,
      holds,
      batches: toBatches(drawn.openings, holds, drawn.batches),
    }
  })
