import { MAX_AMOUNT } from '../money.ts'
import type { RefusalCode } from '../refusals.ts'

/** What the ledger knows of an account while it holds the account's lock. */
export type AccountState = {
  tenantId: string
  id: string
  kind: 'internal' | 'external'
  status: 'open' | 'frozen' | 'closed'
  balance: bigint
  held: bigint
  overdraftLimit: bigint
  /** Rises by one with every change of balance, held, status or limit. */
  version: bigint
  /** The `seq` of the last entry, 0 before the first. */
  entryCount: bigint
  lastEntryAt: Date | null
}

export type Entry = {
  tenantId: string
  accountId: string
  seq: bigint
  transferId: string
  amount: bigint
  balanceAfter: bigint
}

/** One amount on its way from one account to another. */
export type Leg = { source: string; destination: string; amount: bigint }

/** The transfer for which something is written. */
export type Cause = { tenantId: string; id: string }

/** Names an account among those of all tenants. */
export function accountKey(tenantId: string, accountId: string): string {
  return `${tenantId}/${accountId}`
}

/** What an account can spend: its balance less what its open holds reserve. */
export function available(account: Pick<AccountState, 'balance' | 'held'>): bigint {
  return account.balance - account.held
}

/**
 * Accounts as they become while commands are carried out on them, one after the other. Works on
 * copies: what it was given stays as it was. Its methods check nothing but what they say; the order
 * of the checks is apply.ts's.
 */
export class Books {
  readonly entries: Entry[] = []
  readonly #before: ReadonlyMap<string, AccountState>
  readonly #accounts = new Map<string, AccountState>()
  #undo: { account: AccountState; before: AccountState }[] = []

  constructor(accounts: ReadonlyMap<string, AccountState>) {
    this.#before = accounts
  }

  /** The account as it is now. A missing one is a bug of the caller, who has to lock them all. */
  account({ tenantId, id }: Cause, accountId: string): AccountState {
    const key = accountKey(tenantId, accountId)
    const known = this.#accounts.get(key)
    if (known !== undefined) return known
    const given = this.#before.get(key)
    if (given === undefined) throw new Error(`transfer ${id}: no account ${accountId}`)
    const copy = { ...given }
    this.#accounts.set(key, copy)
    return copy
  }

  /** Closed comes before frozen: what is closed never opens again. */
  refusalOfStatus(...accounts: readonly AccountState[]): RefusalCode | undefined {
    if (accounts.some(({ status }) => status === 'closed')) return 'account_closed'
    if (accounts.some(({ status }) => status === 'frozen')) return 'account_frozen'
    return undefined
  }

  /** Whether an account has so much to spend. The world outside always has. */
  refusalOfFunds(source: AccountState, amount: bigint): RefusalCode | undefined {
    const isCovered = available(source) - amount >= -source.overdraftLimit
    return source.kind === 'external' || isCovered ? undefined : 'insufficient_funds'
  }

  refusalOfLimits(
    source: AccountState,
    destination: AccountState,
    amount: bigint,
  ): RefusalCode | undefined {
    const isWithin =
      source.balance - amount >= -MAX_AMOUNT && destination.balance + amount <= MAX_AMOUNT
    return isWithin ? undefined : 'balance_limit_exceeded'
  }

  /** What is held is bounded as a balance is: holds of the world outside need no funds. */
  refusalOfHeld(source: AccountState, amount: bigint): RefusalCode | undefined {
    return source.held + amount <= MAX_AMOUNT ? undefined : 'balance_limit_exceeded'
  }

  /** Moves an amount in double entry; of the source's holds, `released` ends with it. */
  move(cause: Cause, { source, destination, amount }: Leg, released = 0n): void {
    const from = this.account(cause, source)
    this.#change(from, { held: from.held - released })
    this.#post(cause, from, -amount)
    this.#post(cause, this.account(cause, destination), amount)
  }

  /** Reserves an amount, or ends the reservation of one where it is negative. */
  reserve(account: AccountState, amount: bigint): void {
    this.#change(account, { held: account.held + amount, version: account.version + 1n })
  }

  #post(cause: Cause, account: AccountState, amount: bigint): void {
    this.#change(account, {
      balance: account.balance + amount,
      version: account.version + 1n,
      entryCount: account.entryCount + 1n,
    })
    this.entries.push({
      tenantId: account.tenantId,
      accountId: account.id,
      seq: account.entryCount,
      transferId: cause.id,
      amount,
      balanceAfter: account.balance,
    })
  }

  #change(account: AccountState, change: Partial<AccountState>): void {
    this.#undo.push({ account, before: { ...account } })
    Object.assign(account, change)
  }

  /** Runs `work`; where it returns a refusal, everything that it changed is as before. */
  allOrNothing(work: () => RefusalCode | undefined): RefusalCode | undefined {
    const firstEntry = this.entries.length
    this.#undo = []
    const refusal = work()
    if (refusal !== undefined) {
      for (const { account, before } of this.#undo.toReversed()) Object.assign(account, before)
      this.entries.length = firstEntry
    }
    this.#undo = []
    return refusal
  }

  /** The accounts that are no longer as they were given. */
  changed(): AccountState[] {
    return [...this.#accounts].flatMap(([key, account]) =>
      account.version === this.#before.get(key)?.version ? [] : [account],
    )
  }
}
