import * as fc from 'fast-check'
import { MAX_AMOUNT } from '@payonce/core/money'
import {
  accountKey,
  applyCommands,
  type AccountState,
  type LedgerCommand,
  type LedgerResult,
} from '@payonce/core/ledger/apply'
import { LedgerModel, type ModelOutcome } from './ledger-model.ts'

/** Accounts as they stand, and the batches that are then carried out on them, one by one. */
export type History = {
  openings: readonly AccountState[]
  batches: readonly { commands: readonly LedgerCommand[]; now: Date }[]
}

/** One batch as it was carried out, with the accounts before and after it. */
export type Step = {
  before: ReadonlyMap<string, AccountState>
  commands: readonly LedgerCommand[]
  now: Date
  result: LedgerResult
  after: ReadonlyMap<string, AccountState>
}

/** Carries a history out as settlement does: what a batch changed is what the next one finds. */
export function play({ openings, batches }: History): Step[] {
  let accounts = byKey(openings)
  return batches.map(({ commands, now }) => {
    const before = accounts
    const result = applyCommands(before, commands, now)
    accounts = new Map([...before, ...byKey(result.changed)])
    return { before, commands, now, result, after: accounts }
  })
}

/** What the model says about every command of a history. */
export function judge({ openings, batches }: History): {
  model: LedgerModel
  outcomes: ModelOutcome[]
} {
  const model = new LedgerModel(openings)
  const commands = batches.flatMap((batch) => batch.commands)
  return { model, outcomes: commands.map((command) => model.settle(command)) }
}

export function byKey(accounts: readonly AccountState[]): Map<string, AccountState> {
  return new Map(accounts.map((account) => [accountKey(account.tenantId, account.id), account]))
}

/** The same history as one single batch, at the time of its last one. */
export function asOneBatch({ openings, batches }: History): History {
  const now = batches.at(-1)?.now ?? new Date(0)
  return { openings, batches: [{ commands: batches.flatMap(({ commands }) => commands), now }] }
}

/** The same history, all of it at one moment. */
export function atOneMoment({ openings, batches }: History, now: Date): History {
  return { openings, batches: batches.map(({ commands }) => ({ commands, now })) }
}

const tenants = ['tenant-a', 'tenant-b'] as const
/** The tenants' accounts bear the same ids, so that whoever forgets the tenant mixes them up. */
const accountIds = ['alice', 'merchant', 'market', 'world'] as const

const largeOrSmall = fc.oneof(
  { weight: 3, arbitrary: fc.bigInt({ min: 0n, max: 50n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: MAX_AMOUNT - 50n, max: MAX_AMOUNT }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: MAX_AMOUNT }) },
)

const moment = fc.date({
  min: new Date('2026-01-01T00:00:00.000Z'),
  max: new Date('2026-01-01T00:00:01.000Z'),
  noInvalidDate: true,
})

const statuses = fc.oneof(
  { weight: 8, arbitrary: fc.constant('open' as const) },
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

/** A wish for a transfer. Its amount may depend on what the accounts have at that moment. */
type Wish = {
  tenantId: string
  pair: readonly [source: string, destination: string]
  amount: bigint
  aim: 'any' | 'funds' | 'room'
  off: bigint
}

const pairs = accountIds.flatMap((source) =>
  accountIds
    .filter((destination) => destination !== source)
    .map((destination) => [source, destination] as const),
)

const wishes: fc.Arbitrary<Wish> = fc.record({
  tenantId: fc.constantFrom(...tenants),
  pair: fc.constantFrom(...pairs),
  amount: largeOrSmall,
  aim: fc.constantFrom('any' as const, 'any' as const, 'funds' as const, 'room' as const),
  off: fc.constantFrom(-1n, 0n, 1n),
})

/** Aims at the very edge: exactly the funds of the source, or the room of the destination, or one off. */
function amountOf(wish: Wish, model: LedgerModel): bigint {
  const [source, destination] = wish.pair
  const room = MAX_AMOUNT - model.balanceOf(wish.tenantId, destination)
  const edge = {
    any: undefined,
    funds: model.fundsOf(wish.tenantId, source),
    room,
  }[wish.aim]
  const amount = edge === undefined ? wish.amount : edge + wish.off
  if (amount < 1n) return 1n
  return amount > MAX_AMOUNT ? MAX_AMOUNT : amount
}

function toCommands(
  openingStates: readonly AccountState[],
  drawn: readonly Wish[],
): LedgerCommand[] {
  const model = new LedgerModel(openingStates)
  return drawn.map((wish, index) => {
    const [source, destination] = wish.pair
    const { tenantId } = wish
    const amount = amountOf(wish, model)
    const command = { tenantId, id: `transfer-${index}`, source, destination, amount }
    model.settle(command)
    return command
  })
}

/** Any history of a few accounts that keep meeting each other, cut into batches anywhere. */
export const histories: fc.Arbitrary<History> = fc
  .record({
    openings: fc.tuple(
      ...tenants.flatMap((tenantId) => accountIds.map((id) => openings(tenantId, id))),
    ),
    wishes: fc.array(wishes, { minLength: 1, maxLength: 30 }),
    cuts: fc.array(fc.nat({ max: 30 }), { maxLength: 4 }),
    times: fc.array(moment, { minLength: 6, maxLength: 6 }),
  })
  .map((drawn): History => {
    const commands = toCommands(drawn.openings, drawn.wishes)
    const edges = [...new Set([0, ...drawn.cuts, commands.length])]
      .filter((edge) => edge <= commands.length)
      .toSorted((a, b) => a - b)
    const batches = edges.slice(1).map((end, index) => ({
      commands: commands.slice(edges[index], end),
      now: drawn.times[index] ?? new Date('2026-01-01T00:00:00.000Z'),
    }))
    return { openings: drawn.openings, batches }
  })
