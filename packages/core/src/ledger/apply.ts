import { Books, accountKey, type AccountState, type Cause, type Entry, type Leg } from './books.ts'
import type { RefusalCode } from '../refusals.ts'

/** What has to hold of the source when the command is carried out, as its client asked. */
export type Condition = {
  sourceBalanceAtLeast?: bigint
  sourceVersion?: bigint
}

type Base = Cause & {
  /** A command that is found unexecuted at this time is not carried out any more. */
  executeBefore: Date | null
}

/** The part of a command that the ledger judges. */
export type LedgerCommand =
  | (Base & {
      kind: 'transfer'
      /** Applied in their order, each funded at its step; all of them, or none. */
      legs: readonly Leg[]
      condition: Condition | null
      /** Until when a lack of funds is no refusal, but put off. */
      retryFundsUntil: Date | null
    })
  | (Base & {
      kind: 'hold'
      leg: Leg
      condition: Condition | null
      retryFundsUntil: Date | null
      /** When what is left of the hold is released. */
      holdUntil: Date
    })
  | (Base & {
      kind: 'capture'
      parentId: string
      /** Null for all that is left. */
      amount: bigint | null
      /** Whether the rest is released. */
      isFinal: boolean
    })
  | (Base & { kind: 'release'; parentId: string })
  | (Base & {
      kind: 'refund'
      parentId: string
      /** Null for all that is left. */
      amount: bigint | null
    })

export type ParentStatus = 'succeeded' | 'failed' | 'canceled' | 'expired' | 'held' | 'released'

/** What the ledger knows of a settled transfer that others build on, while it holds its lock. */
export type ParentState = Cause & {
  kind: LedgerCommand['kind']
  status: ParentStatus
  /** One leg, but for a multi-leg transfer. */
  legs: readonly Leg[]
  capturedAmount: bigint
  /** Of a multi-leg transfer, which is refunded as a whole: the sum of its legs, or 0. */
  refundedAmount: bigint
  /** When what is left of a hold is released; null for all others. */
  holdUntil: Date | null
}

export type Outcome = {
  status: 'succeeded' | 'failed' | 'held' | 'expired' | 'deferred'
  failureCode: RefusalCode | null
  /** What was moved, reserved or released; null where nothing was, or several legs were. */
  amount: bigint | null
  /** The versions of the accounts of each leg: of the state it was judged at, or made. */
  versions: { source: bigint; destination: bigint }[]
}

/** Something that happened to a transfer, with what it was like right after. */
export type LedgerFact = {
  fact: 'succeeded' | 'failed' | 'expired' | 'held' | 'released' | 'captured' | 'refunded'
  transfer: ParentState
}

export type LedgerResult = {
  /** One per command, in their order. */
  outcomes: Outcome[]
  entries: Entry[]
  /** The accounts that changed, as they are afterwards. */
  changed: AccountState[]
  /** The given parents that changed, as they are afterwards. */
  changedParents: ParentState[]
  /** Each command that was settled, by its id, as later commands have left it. */
  settled: ReadonlyMap<string, ParentState>
  /** What happened to which transfer, in order: what a child does to its parent comes after it. */
  facts: readonly LedgerFact[]
  /** When all of it happened: never before the last entry of an account that changed. */
  settledAt: Date
}

export type LedgerInput = {
  /** Every account that a command or its parent names, under `accountKey`. */
  accounts: ReadonlyMap<string, AccountState>
  /** Every settled parent that a command names, under its id. */
  parents: ReadonlyMap<string, ParentState>
  commands: readonly LedgerCommand[]
  /** Holds whose time may be over: those past it are expired, before any command. */
  expiring?: readonly string[]
  /** Taken after the locks. */
  now: Date
}

/**
 * Carries commands out, one after the other, in double entry. Pure: it changes none of its
 * arguments, reads no clock, and gives the same result for the same arguments. A missing account is
 * a bug and throws; a missing parent is one that is not settled.
 *
 * A refusal leaves everything as it was. Promises of every result: entries come in pairs that sum to
 * zero; each account's entries continue its chain without a gap; no internal account has less than
 * `-overdraftLimit` available at any step; no balance leaves ±MAX_AMOUNT; a hold's captures and
 * releases never exceed it, nor a transfer's refunds.
 */
export function applyCommands(input: LedgerInput): LedgerResult {
  const ledger = new Ledger(input)
  ledger.expire(input.expiring ?? [])
  const outcomes = input.commands.map((command) => ledger.apply(command))
  return ledger.result(outcomes)
}

/**
 * As `applyCommands`, all or none: where one command is refused, none has any effect. The first one
 * that was refused keeps its code, the others get `batch_aborted`.
 */
export function applyAtomically(input: LedgerInput): LedgerResult {
  const result = applyCommands(input)
  if (result.outcomes.every(({ status }) => status === 'expired')) return result
  const culprit = result.outcomes.findIndex(({ status }) => !carriedOut.has(status))
  if (culprit < 0) return result
  const nothing = new Ledger(input)
  const outcomes = input.commands.map((command, index) => {
    const { status, failureCode } = result.outcomes[index] ?? {}
    if (index !== culprit) return nothing.refuse(command, 'batch_aborted')
    return status === 'expired'
      ? nothing.giveUp(command)
      : nothing.refuse(command, failureCode ?? 'batch_aborted')
  })
  return nothing.result(outcomes)
}

const carriedOut: ReadonlySet<Outcome['status']> = new Set(['succeeded', 'held'])

class Ledger {
  readonly #books: Books
  readonly #now: Date
  readonly #given: ReadonlyMap<string, ParentState>
  readonly #parents = new Map<string, ParentState>()
  readonly #facts: LedgerFact[] = []

  constructor({ accounts, parents, now }: LedgerInput) {
    this.#books = new Books(accounts)
    this.#given = parents
    this.#now = now
  }

  apply(command: LedgerCommand): Outcome {
    const { executeBefore } = command
    if (executeBefore !== null && executeBefore <= this.#now) {
      return this.giveUp(command)
    }
    switch (command.kind) {
      case 'transfer':
        return this.#transfer(command)
      case 'hold':
        return this.#hold(command)
      case 'capture':
        return this.#capture(command)
      case 'release':
        return this.#release(command)
      case 'refund':
        return this.#refund(command)
    }
  }

  /** Releases what is left of holds whose time is over. Works on frozen accounts too. */
  expire(holds: readonly string[]): void {
    for (const id of holds) {
      const hold = this.#parent(id)
      if (hold !== undefined && this.#isOver(hold)) this.#expireHold(hold)
    }
  }

  result(outcomes: Outcome[]): LedgerResult {
    const changed = this.#books.changed()
    const settledAt = latest(this.#now, changed)
    const posted = new Set(
      this.#books.entries.map((one) => accountKey(one.tenantId, one.accountId)),
    )
    for (const account of changed) {
      if (posted.has(accountKey(account.tenantId, account.id))) account.lastEntryAt = settledAt
    }
    return {
      outcomes,
      entries: this.#books.entries,
      changed,
      changedParents: [...this.#parents.values()].filter((parent) => {
        const given = this.#given.get(parent.id)
        return given !== undefined && !isSameParent(given, parent)
      }),
      settled: this.#parents,
      facts: this.#facts,
      settledAt,
    }
  }

  #transfer(command: LedgerCommand & { kind: 'transfer' }): Outcome {
    const refusal = this.#books.allOrNothing(() => {
      for (const leg of command.legs) {
        const code = this.#refusalOfLeg(command, leg, command.condition)
        if (code !== undefined) return code
        this.#books.move(command, leg)
      }
      return undefined
    })
    if (refusal !== undefined) return this.#refuseOrDefer(command, refusal)
    const amount = command.legs.length === 1 ? (command.legs[0]?.amount ?? null) : null
    return this.#carryOut(command, 'succeeded', amount)
  }

  #hold(command: LedgerCommand & { kind: 'hold' }): Outcome {
    const source = this.#books.account(command, command.leg.source)
    const destination = this.#books.account(command, command.leg.destination)
    const refusal =
      this.#books.refusalOfStatus(source, destination) ??
      refusalOfCondition(source, command.condition) ??
      this.#books.refusalOfFunds(source, command.leg.amount) ??
      this.#books.refusalOfHeld(source, command.leg.amount)
    if (refusal !== undefined) return this.#refuseOrDefer(command, refusal)
    this.#books.reserve(source, command.leg.amount)
    return this.#carryOut(command, 'held', command.leg.amount)
  }

  #capture(command: LedgerCommand & { kind: 'capture' }): Outcome {
    const hold = this.#parent(command.parentId)
    const refusal = this.#refusalOfHold(hold)
    if (hold === undefined || refusal !== undefined) {
      return this.refuse(command, refusal ?? 'parent_not_settled')
    }
    const left = leftOfHold(hold)
    const amount = command.amount ?? left
    if (amount > left) return this.refuse(command, 'capture_exceeds_remaining')
    const leg = { ...onlyLeg(hold), amount }
    const source = this.#books.account(command, leg.source)
    const destination = this.#books.account(command, leg.destination)
    const code =
      this.#books.refusalOfStatus(source, destination) ??
      this.#books.refusalOfLimits(source, destination, amount)
    if (code !== undefined) return this.refuse(command, code)
    const isLast = command.isFinal || amount === left
    this.#books.move(command, leg, isLast ? left : amount)
    const outcome = this.#carryOut(command, 'succeeded', amount)
    hold.capturedAmount += amount
    if (isLast) hold.status = 'succeeded'
    this.#note(isLast ? 'succeeded' : 'captured', hold)
    return outcome
  }

  #release(command: LedgerCommand & { kind: 'release' }): Outcome {
    const hold = this.#parent(command.parentId)
    const refusal = this.#refusalOfHold(hold)
    if (hold === undefined || refusal !== undefined) {
      return this.refuse(command, refusal ?? 'parent_not_settled')
    }
    const amount = leftOfHold(hold)
    this.#releaseRest(hold)
    const outcome = this.#carryOut(command, 'succeeded', amount)
    hold.status = 'released'
    this.#note('released', hold)
    return outcome
  }

  #refund(command: LedgerCommand & { kind: 'refund' }): Outcome {
    const parent = this.#parent(command.parentId)
    if (parent === undefined) return this.refuse(command, 'parent_not_settled')
    if (parent.status !== 'succeeded') return this.refuse(command, refusalOfParent(parent))
    const whole = parent.legs.reduce((sum, { amount }) => sum + amount, 0n)
    const left = whole - parent.refundedAmount
    const amount = command.amount ?? left
    if (left === 0n) return this.refuse(command, 'already_refunded')
    if (amount > left) return this.refuse(command, 'refund_exceeds_remaining')
    const isWhole = parent.legs.length > 1
    requireRefundable(command, parent, isWhole && amount !== whole)
    const back = parent.legs.toReversed().map((leg) => ({
      source: leg.destination,
      destination: leg.source,
      amount: isWhole ? leg.amount : amount,
    }))
    const refusal = this.#books.allOrNothing(() => {
      for (const leg of back) {
        const code = this.#refusalOfLeg(command, leg, null)
        if (code !== undefined) return code
        this.#books.move(command, leg)
      }
      return undefined
    })
    if (refusal !== undefined) return this.refuse(command, refusal)
    const outcome = this.#carryOut(command, 'succeeded', isWhole ? null : amount)
    parent.refundedAmount += amount
    this.#note('refunded', parent)
    return outcome
  }

  /** The order of the checks is part of the contract: state, then condition, then funds. */
  #refusalOfLeg(
    cause: Cause,
    { source, destination, amount }: Leg,
    condition: Condition | null,
  ): RefusalCode | undefined {
    const from = this.#books.account(cause, source)
    const to = this.#books.account(cause, destination)
    return (
      this.#books.refusalOfStatus(from, to) ??
      refusalOfCondition(from, condition) ??
      this.#books.refusalOfFunds(from, amount) ??
      this.#books.refusalOfLimits(from, to, amount)
    )
  }

  /** A hold that is found past its time is expired here and now, before any sweep comes by. */
  #refusalOfHold(hold: ParentState | undefined): RefusalCode | undefined {
    if (hold === undefined) return 'parent_not_settled'
    if (this.#isOver(hold)) this.#expireHold(hold)
    return hold.status === 'held' ? undefined : refusalOfParent(hold)
  }

  #isOver(hold: ParentState): boolean {
    return hold.status === 'held' && hold.holdUntil !== null && hold.holdUntil <= this.#now
  }

  #expireHold(hold: ParentState): void {
    this.#releaseRest(hold)
    hold.status = 'expired'
    this.#note('expired', hold)
  }

  #releaseRest(hold: ParentState): void {
    const source = this.#books.account(hold, onlyLeg(hold).source)
    this.#books.reserve(source, -leftOfHold(hold))
  }

  #note(fact: LedgerFact['fact'], transfer: ParentState): void {
    this.#facts.push({ fact, transfer: { ...transfer } })
  }

  #parent(id: string): ParentState | undefined {
    const known = this.#parents.get(id)
    if (known !== undefined) return known
    const given = this.#given.get(id)
    if (given === undefined) return undefined
    const copy = { ...given }
    this.#parents.set(id, copy)
    return copy
  }

  #refuseOrDefer(
    command: LedgerCommand & { kind: 'transfer' | 'hold' },
    code: RefusalCode,
  ): Outcome {
    const { retryFundsUntil } = command
    const mayWait = retryFundsUntil !== null && this.#now < retryFundsUntil
    if (code === 'insufficient_funds' && mayWait) {
      return { ...this.#outcome(command, null), status: 'deferred', failureCode: code }
    }
    return this.refuse(command, code)
  }

  /** Its time is over, and nobody wants it carried out any more. */
  giveUp(command: LedgerCommand): Outcome {
    const expired: Outcome = {
      ...this.#outcome(command, null),
      status: 'expired',
      failureCode: null,
    }
    this.#remember(command, expired)
    return expired
  }

  refuse(command: LedgerCommand, failureCode: RefusalCode): Outcome {
    const refused: Outcome = { ...this.#outcome(command, null), status: 'failed', failureCode }
    this.#remember(command, refused)
    return refused
  }

  #carryOut(command: LedgerCommand, status: 'succeeded' | 'held', amount: bigint | null): Outcome {
    const outcome: Outcome = { ...this.#outcome(command, amount), status, failureCode: null }
    this.#remember(command, outcome)
    return outcome
  }

  #outcome(command: LedgerCommand, amount: bigint | null): Pick<Outcome, 'amount' | 'versions'> {
    const versions = this.#legsOf(command).map(({ source, destination }) => ({
      source: this.#books.account(command, source).version,
      destination: this.#books.account(command, destination).version,
    }))
    return { amount, versions }
  }

  #legsOf(command: LedgerCommand): readonly Leg[] {
    if (command.kind === 'transfer') return command.legs
    if (command.kind === 'hold') return [command.leg]
    const legs = this.#parent(command.parentId)?.legs ?? []
    if (command.kind !== 'refund') return legs
    return legs.toReversed().map(({ source, destination, amount }) => ({
      source: destination,
      destination: source,
      amount,
    }))
  }

  /** What is settled here may be the parent of a later command. */
  #remember(command: LedgerCommand, { status, amount }: Outcome): void {
    if (status === 'deferred') return
    const legs = this.#legsOf(command)
    const settled: ParentState = {
      tenantId: command.tenantId,
      id: command.id,
      kind: command.kind,
      status,
      legs: amount === null ? legs : legs.map((leg) => ({ ...leg, amount })),
      capturedAmount: 0n,
      refundedAmount: 0n,
      holdUntil: command.kind === 'hold' ? command.holdUntil : null,
    }
    this.#parents.set(command.id, settled)
    this.#note(status, settled)
  }
}

function refusalOfCondition(
  source: AccountState,
  condition: Condition | null,
): RefusalCode | undefined {
  const { sourceBalanceAtLeast, sourceVersion } = condition ?? {}
  const isMet =
    (sourceBalanceAtLeast === undefined || source.balance >= sourceBalanceAtLeast) &&
    (sourceVersion === undefined || source.version === sourceVersion)
  return isMet ? undefined : 'condition_not_met'
}

const refusalByStatus = {
  canceled: 'parent_canceled',
  expired: 'hold_expired',
  failed: 'parent_failed',
  held: 'parent_not_settled',
  released: 'hold_already_released',
  succeeded: 'hold_already_captured',
} as const satisfies Record<ParentStatus, RefusalCode>

function refusalOfParent({ kind, status }: ParentState): RefusalCode {
  if (status === 'expired' && kind !== 'hold') return 'parent_expired'
  return refusalByStatus[status]
}

/** Such a refund is refused before its acceptance, since kind and legs never change. */
function requireRefundable(
  { id }: Cause,
  { kind, legs }: ParentState,
  isPartOfLegs: boolean,
): void {
  if (kind !== 'transfer' && kind !== 'capture') throw new Error(`refund ${id}: of a ${kind}`)
  if (isPartOfLegs) throw new Error(`refund ${id}: of a part of ${legs.length} legs`)
}

/** What a hold still reserves. */
export function leftOfHold(hold: Pick<ParentState, 'status' | 'legs' | 'capturedAmount'>): bigint {
  if (hold.status !== 'held') return 0n
  return (hold.legs[0]?.amount ?? 0n) - hold.capturedAmount
}

function onlyLeg({ id, legs }: ParentState): Leg {
  const leg = legs[0]
  if (leg === undefined) throw new Error(`transfer ${id} has no leg`)
  return leg
}

function isSameParent(a: ParentState, b: ParentState): boolean {
  return (
    a.status === b.status &&
    a.capturedAmount === b.capturedAmount &&
    a.refundedAmount === b.refundedAmount
  )
}

function latest(now: Date, accounts: Iterable<AccountState>): Date {
  let time = now
  for (const { lastEntryAt } of accounts) {
    if (lastEntryAt !== null && lastEntryAt > time) time = lastEntryAt
  }
  return time
}
