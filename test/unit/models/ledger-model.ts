import { MAX_AMOUNT } from '@payonce/core/money'
import type { Condition, LedgerCommand, Outcome, ParentState } from '@payonce/core/ledger/apply'
import type { AccountState, Leg } from '@payonce/core/ledger/books'
import type { RefusalCode } from '@payonce/core/refusals'

/** One line of the model's only book. */
type ModelEntry = { tenantId: string; accountId: string; transferId: string; amount: bigint }

/** A transfer as it was noted. What was captured or refunded of it is counted from its children. */
export type ModelTransfer = {
  tenantId: string
  id: string
  kind: LedgerCommand['kind']
  parentId: string | null
  legs: readonly Leg[]
  status: ParentState['status']
  holdUntil: Date | null
  /** What had been captured or refunded of it before the model began. */
  capturedBefore: bigint
  refundedBefore: bigint
}

type Verdict = {
  status: Outcome['status']
  failureCode?: RefusalCode
  amount?: bigint
}

const done = (amount?: bigint): Verdict => ({
  status: 'succeeded',
  ...(amount === undefined ? {} : { amount }),
})
const no = (failureCode: RefusalCode): Verdict => ({ status: 'failed', failureCode })

/**
 * The ledger as a person would keep it with a pencil: one list of lines for everybody, to which each
 * leg adds two, and one list of transfers. Nothing is remembered besides; what is on an account, held,
 * captured or refunded is counted anew from all of them whenever somebody asks. A command is refused
 * when, written down, it would break a promise: then its lines are rubbed out again. It is slow,
 * shares no code with the product, and is only right.
 */
export class LedgerModel {
  readonly #openings: readonly AccountState[]
  readonly #entries: ModelEntry[] = []
  /** Each time that the reserves of an account changed without any money being moved. */
  readonly #reserves: { tenantId: string; accountId: string }[] = []
  readonly #transfers: ModelTransfer[]
  /** What each account holds for transfers that nobody told the model about. */
  readonly #otherwiseHeld: ReadonlyMap<AccountState, bigint>

  constructor(openings: readonly AccountState[], parents: readonly ParentState[] = []) {
    this.#openings = openings
    this.#transfers = parents.map((parent) => ({
      ...parent,
      parentId: null,
      capturedBefore: parent.capturedAmount,
      refundedBefore: parent.refundedAmount,
    }))
    this.#otherwiseHeld = new Map(
      openings.map((account) => [
        account,
        account.held - this.#remaindersOn(account.tenantId, account.id),
      ]),
    )
  }

  settle(command: LedgerCommand, now: Date): Outcome {
    const verdict = this.#judge(command, now)
    const legs = this.#legsOf(command)
    const { status, failureCode = null, amount = null } = verdict
    if (status !== 'deferred') {
      this.#transfers.push({
        tenantId: command.tenantId,
        id: command.id,
        kind: command.kind,
        parentId: 'parentId' in command ? command.parentId : null,
        legs: amount === null ? legs : legs.map((leg) => ({ ...leg, amount })),
        status,
        holdUntil: command.kind === 'hold' ? command.holdUntil : null,
        capturedBefore: 0n,
        refundedBefore: 0n,
      })
    }
    if (command.kind === 'capture') this.#closeIfUsedUp(command, status)
    const versions = legs.map(({ source, destination }) => ({
      source: this.versionOf(command.tenantId, source),
      destination: this.versionOf(command.tenantId, destination),
    }))
    return { status, failureCode, amount, versions }
  }

  /** A client called it off before it was carried out. */
  cancel(command: LedgerCommand): void {
    const legs = this.#legsOf(command)
    const { tenantId, id, kind } = command
    const holdUntil = kind === 'hold' ? command.holdUntil : null
    const never = { parentId: null, capturedBefore: 0n, refundedBefore: 0n }
    this.#transfers.push({ tenantId, id, kind, legs, holdUntil, status: 'canceled', ...never })
  }

  /** The sweep comes by with these holds. */
  sweep(holds: readonly string[], now: Date): void {
    for (const id of holds) this.#expireIfOver(this.transfer(id), now)
  }

  transfer(id: string): ModelTransfer | undefined {
    return this.#transfers.find((transfer) => transfer.id === id)
  }

  get transfers(): readonly ModelTransfer[] {
    return this.#transfers
  }

  balanceOf(tenantId: string, accountId: string): bigint {
    let balance = this.#opening(tenantId, accountId).balance
    for (const { amount } of this.#entriesOf(tenantId, accountId)) balance += amount
    return balance
  }

  heldOf(tenantId: string, accountId: string): bigint {
    const otherwise = this.#otherwiseHeld.get(this.#opening(tenantId, accountId)) ?? 0n
    return otherwise + this.#remaindersOn(tenantId, accountId)
  }

  versionOf(tenantId: string, accountId: string): bigint {
    const entryCount = this.#entriesOf(tenantId, accountId).length
    const reserves = this.#reserves.filter(
      (one) => one.tenantId === tenantId && one.accountId === accountId,
    )
    return this.#opening(tenantId, accountId).version + BigInt(entryCount + reserves.length)
  }

  /** How much the account could send before its limit stops it; undefined where it has none. */
  fundsOf(tenantId: string, accountId: string): bigint | undefined {
    const { kind, overdraftLimit } = this.#opening(tenantId, accountId)
    if (kind === 'external') return undefined
    return this.balanceOf(tenantId, accountId) - this.heldOf(tenantId, accountId) + overdraftLimit
  }

  capturedOf({ id, capturedBefore }: ModelTransfer): bigint {
    return capturedBefore + this.#sumOfChildren(id, 'capture')
  }

  refundedOf({ id, refundedBefore }: ModelTransfer): bigint {
    return refundedBefore + this.#sumOfChildren(id, 'refund')
  }

  /** What is still reserved for a hold. */
  remainderOf(hold: ModelTransfer): bigint {
    return hold.status === 'held' ? sumOf(hold.legs) - this.capturedOf(hold) : 0n
  }

  #judge(command: LedgerCommand, now: Date): Verdict {
    if (command.executeBefore !== null && now >= command.executeBefore) return { status: 'expired' }
    switch (command.kind) {
      case 'transfer':
        return this.#orLater(command, now, this.#judgeTransfer(command))
      case 'hold':
        return this.#orLater(command, now, this.#judgeHold(command))
      case 'capture':
        return this.#judgeCapture(command, now)
      case 'release':
        return this.#judgeRelease(command, now)
      case 'refund':
        return this.#judgeRefund(command)
    }
  }

  #orLater(
    { retryFundsUntil }: LedgerCommand & { kind: 'transfer' | 'hold' },
    now: Date,
    verdict: Verdict,
  ): Verdict {
    const isLater = retryFundsUntil !== null && now < retryFundsUntil
    const lacksFunds = verdict.failureCode === 'insufficient_funds'
    return isLater && lacksFunds ? { ...verdict, status: 'deferred' } : verdict
  }

  #judgeTransfer(command: LedgerCommand & { kind: 'transfer' }): Verdict {
    const code = this.#writeLegs(command, command.legs, command.condition)
    if (code !== undefined) return no(code)
    return command.legs.length === 1 ? done(sumOf(command.legs)) : done()
  }

  #judgeHold({ tenantId, leg, condition }: LedgerCommand & { kind: 'hold' }): Verdict {
    const code = this.#refusalOfState(tenantId, leg, condition)
    if (code !== undefined) return no(code)
    const funds = this.fundsOf(tenantId, leg.source)
    if (funds !== undefined && funds < leg.amount) return no('insufficient_funds')
    const held = this.heldOf(tenantId, leg.source) + leg.amount
    if (held > MAX_AMOUNT) return no('balance_limit_exceeded')
    this.#reserves.push({ tenantId, accountId: leg.source })
    return { status: 'held', amount: leg.amount }
  }

  #judgeCapture(command: LedgerCommand & { kind: 'capture' }, now: Date): Verdict {
    const hold = this.#openHold(command.parentId, now)
    if (typeof hold === 'string') return no(hold)
    const remainder = this.remainderOf(hold)
    const amount = command.amount ?? remainder
    if (amount > remainder) return no('capture_exceeds_remaining')
    const [leg] = hold.legs
    if (leg === undefined) throw new Error('a hold without a leg')
    const code = this.#refusalOfState(command.tenantId, leg, null)
    if (code !== undefined) return no(code)
    // What is captured was reserved, so that funds are no question any more.
    this.#write(command, { ...leg, amount })
    if (this.#isBeyond(command.tenantId, leg)) {
      this.#entries.length -= 2
      return no('balance_limit_exceeded')
    }
    return done(amount)
  }

  #closeIfUsedUp(
    { parentId, isFinal }: LedgerCommand & { kind: 'capture' },
    status: Outcome['status'],
  ): void {
    const hold = this.transfer(parentId)
    if (hold === undefined || status !== 'succeeded') return
    if (isFinal || this.remainderOf(hold) === 0n) hold.status = 'succeeded'
  }

  #judgeRelease(command: LedgerCommand & { kind: 'release' }, now: Date): Verdict {
    const hold = this.#openHold(command.parentId, now)
    if (typeof hold === 'string') return no(hold)
    const remainder = this.remainderOf(hold)
    this.#end(hold, 'released')
    return done(remainder)
  }

  #judgeRefund(command: LedgerCommand & { kind: 'refund' }): Verdict {
    const parent = this.transfer(command.parentId)
    if (parent === undefined) return no('parent_not_settled')
    if (parent.status === 'failed') return no('parent_failed')
    if (parent.status === 'canceled') return no('parent_canceled')
    if (parent.status === 'expired') return no('parent_expired')
    const remainder = sumOf(parent.legs) - this.refundedOf(parent)
    if (remainder === 0n) return no('already_refunded')
    const amount = command.amount ?? remainder
    if (amount > remainder) return no('refund_exceeds_remaining')
    const isWhole = parent.legs.length > 1
    const legs = this.#legsOf(command).map((leg) => (isWhole ? leg : { ...leg, amount }))
    const code = this.#writeLegs(command, legs, null)
    if (code !== undefined) return no(code)
    return isWhole ? done() : done(amount)
  }

  /** The hold, if something can still be taken from it, or else why not. */
  #openHold(id: string, now: Date): ModelTransfer | RefusalCode {
    const hold = this.transfer(id)
    this.#expireIfOver(hold, now)
    switch (hold?.status) {
      case undefined:
        return 'parent_not_settled'
      case 'held':
        return hold
      case 'succeeded':
        return 'hold_already_captured'
      case 'released':
        return 'hold_already_released'
      case 'expired':
        return 'hold_expired'
      case 'canceled':
        return 'parent_canceled'
      case 'failed':
        return 'parent_failed'
    }
  }

  #expireIfOver(hold: ModelTransfer | undefined, now: Date): void {
    if (hold?.status !== 'held' || hold.holdUntil === null) return
    if (now >= hold.holdUntil) this.#end(hold, 'expired')
  }

  #end(hold: ModelTransfer, status: 'released' | 'expired'): void {
    hold.status = status
    for (const { source } of hold.legs) {
      this.#reserves.push({ tenantId: hold.tenantId, accountId: source })
    }
  }

  /** Writes legs one by one; at the first that breaks a promise all of them are rubbed out again. */
  #writeLegs(
    command: LedgerCommand,
    legs: readonly Leg[],
    condition: Condition | null,
  ): RefusalCode | undefined {
    const before = this.#entries.length
    for (const leg of legs) {
      let code = this.#refusalOfState(command.tenantId, leg, condition)
      if (code === undefined) {
        this.#write(command, leg)
        code = this.#brokenPromise(command.tenantId, leg)
      }
      if (code !== undefined) {
        this.#entries.length = before
        return code
      }
    }
    return undefined
  }

  #refusalOfState(
    tenantId: string,
    { source, destination }: Leg,
    condition: Condition | null,
  ): RefusalCode | undefined {
    const statuses = [source, destination].map((id) => this.#opening(tenantId, id).status)
    if (statuses.includes('closed')) return 'account_closed'
    if (statuses.includes('frozen')) return 'account_frozen'
    const { sourceBalanceAtLeast: least, sourceVersion } = condition ?? {}
    if (least !== undefined && this.balanceOf(tenantId, source) < least) return 'condition_not_met'
    if (sourceVersion !== undefined && this.versionOf(tenantId, source) !== sourceVersion) {
      return 'condition_not_met'
    }
    return undefined
  }

  #brokenPromise(tenantId: string, leg: Leg): RefusalCode | undefined {
    if ((this.fundsOf(tenantId, leg.source) ?? 0n) < 0n) return 'insufficient_funds'
    return this.#isBeyond(tenantId, leg) ? 'balance_limit_exceeded' : undefined
  }

  #isBeyond(tenantId: string, { source, destination }: Leg): boolean {
    return [source, destination]
      .map((id) => this.balanceOf(tenantId, id))
      .some((balance) => balance > MAX_AMOUNT || balance < -MAX_AMOUNT)
  }

  #write({ tenantId, id }: LedgerCommand, { source, destination, amount }: Leg): void {
    this.#entries.push({ tenantId, accountId: source, transferId: id, amount: -amount })
    this.#entries.push({ tenantId, accountId: destination, transferId: id, amount })
  }

  /** What a command moves: its own legs, those of its hold, or those of a transfer the other way. */
  #legsOf(command: LedgerCommand): Leg[] {
    if (command.kind === 'transfer') return [...command.legs]
    if (command.kind === 'hold') return [command.leg]
    const legs = [...(this.transfer(command.parentId)?.legs ?? [])]
    if (command.kind !== 'refund') return legs
    return legs.toReversed().map(({ source, destination, amount }) => ({
      source: destination,
      destination: source,
      amount,
    }))
  }

  #sumOfChildren(id: string, kind: 'capture' | 'refund'): bigint {
    return this.#transfers
      .filter((one) => one.parentId === id && one.kind === kind && one.status === 'succeeded')
      .reduce((sum, { legs }) => sum + sumOf(legs), 0n)
  }

  #remaindersOn(tenantId: string, accountId: string): bigint {
    return this.#transfers
      .filter((one) => one.kind === 'hold' && one.tenantId === tenantId)
      .filter(({ legs }) => legs[0]?.source === accountId)
      .reduce((sum, hold) => sum + this.remainderOf(hold), 0n)
  }

  #entriesOf(tenantId: string, accountId: string): ModelEntry[] {
    return this.#entries.filter(
      (entry) => entry.tenantId === tenantId && entry.accountId === accountId,
    )
  }

  #opening(tenantId: string, accountId: string): AccountState {
    const opening = this.#openings.find(
      (account) => account.tenantId === tenantId && account.id === accountId,
    )
    if (opening === undefined) throw new Error(`the model knows no account ${accountId}`)
    return opening
  }
}

export function sumOf(legs: readonly Leg[]): bigint {
  return legs.reduce((sum, { amount }) => sum + amount, 0n)
}
