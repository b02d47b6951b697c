/*
 * The ledger as one clerk with one pencil would keep it, command by command. It shares no code with
 * the product: where the two disagree, one of them is wrong.
 */

export type ModelAccount = {
  kind: 'internal' | 'external'
  status: string
  limit: bigint
  balance: bigint
  held: bigint
  version: bigint
}

export type ModelLeg = { source: string; destination: string; amount: bigint }

export type ModelCommand = {
  id: string
  kind: 'transfer' | 'hold' | 'capture' | 'release' | 'refund'
  /** Of a transfer or hold; the others take the way of their parent. */
  legs: readonly ModelLeg[]
  parentId: string | null
  /** Of a capture or refund; null for all that is left. */
  amount: bigint | null
  isFinal: boolean
}

export type ModelOutcome = { status: string; code: string | null; amount: bigint | null }

export type ModelTransfer = {
  kind: ModelCommand['kind']
  status: string
  legs: readonly ModelLeg[]
  captured: bigint
  refunded: bigint
}

/** 2^53 - 1: no balance and no held amount is larger. */
const largest = 9_007_199_254_740_991n

export class LedgerModel {
  readonly accounts = new Map<string, ModelAccount>()
  readonly transfers = new Map<string, ModelTransfer>()

  /** Carries one command out, or refuses it. Every later one finds what it left. */
  carryOut(command: ModelCommand): ModelOutcome {
    const parent = this.transfers.get(command.parentId ?? '')
    const legs = this.#wayOf(command, parent)
    const outcome = this.#judge(command, legs, parent)
    const { amount, status } = outcome
    this.note(command.id, {
      kind: command.kind,
      status,
      legs: amount === null ? legs : legs.map((leg) => ({ ...leg, amount })),
    })
    return outcome
  }

  /** Takes down a transfer that nobody judged: it was canceled, or its time was over. */
  note(id: string, transfer: Pick<ModelTransfer, 'kind' | 'status' | 'legs'>): void {
    this.transfers.set(id, { ...transfer, captured: 0n, refunded: 0n })
  }

  /** The time of a hold is over. */
  expire(id: string): void {
    const hold = this.transfers.get(id)
    if (hold?.status === 'held') this.#letGo(hold, 'expired')
  }

  #wayOf(command: ModelCommand, parent: ModelTransfer | undefined): readonly ModelLeg[] {
    if (command.kind === 'transfer' || command.kind === 'hold') return command.legs
    const legs = parent?.legs ?? []
    if (command.kind !== 'refund') return legs
    return legs.toReversed().map(({ source, destination, amount }) => ({
      source: destination,
      destination: source,
      amount,
    }))
  }

  #judge(
    command: ModelCommand,
    legs: readonly ModelLeg[],
    parent: ModelTransfer | undefined,
  ): ModelOutcome {
    switch (command.kind) {
      case 'transfer':
        return this.#move(legs) ?? done(legs.length === 1 ? (legs[0]?.amount ?? null) : null)
      case 'hold':
        return this.#hold(legs)
      case 'capture':
        return this.#refusalOfHold(parent) ?? this.#capture(command, legs, parent)
      case 'release':
        return this.#refusalOfHold(parent) ?? this.#release(parent)
      case 'refund':
        return this.#refund(command, legs, parent)
    }
  }

  #hold([leg]: readonly ModelLeg[]): ModelOutcome {
    if (leg === undefined) return refused('account_not_found')
    const source = this.account(leg.source)
    const code =
      this.#refusalOfStatus(leg) ??
      (isShort(source, leg.amount) ? 'insufficient_funds' : undefined) ??
      (source.held + leg.amount > largest ? 'balance_limit_exceeded' : undefined)
    if (code !== undefined) return refused(code)
    source.held += leg.amount
    source.version += 1n
    return { status: 'held', code: null, amount: leg.amount }
  }

  #capture(
    command: ModelCommand,
    [leg]: readonly ModelLeg[],
    hold: ModelTransfer | undefined,
  ): ModelOutcome {
    if (hold === undefined || leg === undefined) return refused('parent_not_settled')
    const left = leg.amount - hold.captured
    const amount = command.amount ?? left
    if (amount > left) return refused('capture_exceeds_remaining')
    const code = this.#refusalOfStatus(leg) ?? this.#refusalOfSize({ ...leg, amount })
    if (code !== undefined) return refused(code)
    const isLast = command.isFinal || amount === left
    this.account(leg.source).held -= isLast ? left : amount
    this.#write({ ...leg, amount })
    hold.captured += amount
    if (isLast) hold.status = 'succeeded'
    return done(amount)
  }

  #release(hold: ModelTransfer | undefined): ModelOutcome {
    if (hold === undefined) return refused('parent_not_settled')
    return done(this.#letGo(hold, 'released'))
  }

  /** Ends what is left of a hold, and tells how much it was. */
  #letGo(hold: ModelTransfer, status: string): bigint {
    const [leg] = hold.legs
    if (leg === undefined) return 0n
    const left = leg.amount - hold.captured
    const source = this.account(leg.source)
    source.held -= left
    source.version += 1n
    hold.status = status
    return left
  }

  #refund(
    command: ModelCommand,
    legs: readonly ModelLeg[],
    parent: ModelTransfer | undefined,
  ): ModelOutcome {
    if (parent === undefined) return refused('parent_not_settled')
    if (parent.status !== 'succeeded') return refused(`parent_${parent.status}`)
    const left = parent.legs.reduce((sum, { amount }) => sum + amount, 0n) - parent.refunded
    const amount = command.amount ?? left
    if (left === 0n) return refused('already_refunded')
    if (amount > left) return refused('refund_exceeds_remaining')
    const isWhole = legs.length > 1
    const refusal = this.#move(isWhole ? legs : legs.map((leg) => ({ ...leg, amount })))
    if (refusal !== undefined) return refusal
    parent.refunded += amount
    return done(isWhole ? null : amount)
  }

  #refusalOfHold(hold: ModelTransfer | undefined): ModelOutcome | undefined {
    const codes: Record<string, string | undefined> = {
      held: undefined,
      canceled: 'parent_canceled',
      expired: 'hold_expired',
      failed: 'parent_failed',
      released: 'hold_already_released',
      succeeded: 'hold_already_captured',
    }
    const code = hold === undefined ? 'parent_not_settled' : codes[hold.status]
    return code === undefined ? undefined : refused(code)
  }

  /** All legs, or none of them: then the refusal of the first that cannot be written. */
  #move(legs: readonly ModelLeg[]): ModelOutcome | undefined {
    const written: ModelLeg[] = []
    for (const leg of legs) {
      const code =
        this.#refusalOfStatus(leg) ??
        (isShort(this.account(leg.source), leg.amount) ? 'insufficient_funds' : undefined) ??
        this.#refusalOfSize(leg)
      if (code !== undefined) {
        for (const one of written) this.#rubOut(one)
        return refused(code)
      }
      this.#write(leg)
      written.push(leg)
    }
    return undefined
  }

  #write({ source, destination, amount }: ModelLeg): void {
    const [from, to] = [this.account(source), this.account(destination)]
    from.balance -= amount
    from.version += 1n
    to.balance += amount
    to.version += 1n
  }

  #rubOut({ source, destination, amount }: ModelLeg): void {
    const [from, to] = [this.account(source), this.account(destination)]
    from.balance += amount
    from.version -= 1n
    to.balance -= amount
    to.version -= 1n
  }

  #refusalOfStatus({ source, destination }: ModelLeg): string | undefined {
    const statuses = [this.account(source).status, this.account(destination).status]
    if (statuses.includes('closed')) return 'account_closed'
    return statuses.includes('frozen') ? 'account_frozen' : undefined
  }

  #refusalOfSize({ source, destination, amount }: ModelLeg): string | undefined {
    const isTooLow = this.account(source).balance - amount < -largest
    const isTooHigh = this.account(destination).balance + amount > largest
    return isTooLow || isTooHigh ? 'balance_limit_exceeded' : undefined
  }

  account(name: string): ModelAccount {
    const account = this.accounts.get(name)
    if (account === undefined) throw new Error(`the model knows no account ${name}`)
    return account
  }
}

function isShort({ kind, balance, held, limit }: ModelAccount, amount: bigint): boolean {
  return kind === 'internal' && balance - held - amount < -limit
}

function done(amount: bigint | null): ModelOutcome {
  return { status: 'succeeded', code: null, amount }
}

function refused(code: string): ModelOutcome {
  return { status: 'failed', code, amount: null }
}
