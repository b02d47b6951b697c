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

/** The part of a command that the ledger judges. */
export type LedgerCommand = {
  tenantId: string
  id: string
  source: string
  destination: string
  amount: bigint
}

export type Outcome = (
  | { status: 'succeeded'; failureCode: null }
  | { status: 'failed'; failureCode: RefusalCode }
) & {
  /** The versions of both accounts after this command: the state that it was judged at, or made. */
  sourceVersion: bigint
  destinationVersion: bigint
}

export type Entry = {
  tenantId: string
  accountId: string
  seq: bigint
  transferId: string
  amount: bigint
  balanceAfter: bigint
}

export type LedgerResult = {
  /** One per command, in their order. */
  outcomes: Outcome[]
  entries: Entry[]
  /** The accounts that changed, as they are afterwards. */
  changed: AccountState[]
  /** When all of it happened: never before the last entry of an account that changed. */
  settledAt: Date
}

/** Names an account among those of all tenants. */
export function accountKey(tenantId: string, accountId: string): string {
  return `${tenantId}/${accountId}`
}

/**
 * Carries commands out on accounts, one after the other, in double entry. Pure: it changes none of
 * its arguments, reads no clock, and gives the same result for the same arguments.
 *
 * `accounts` holds every account that a command names, under `accountKey`; a missing one is a bug
 * and throws. `now` is taken after the accounts were locked. A refusal leaves both accounts as they
 * were. Promises of every result: entries come in pairs that sum to zero; each account's entries
 * continue its chain without a gap; no internal account has less than `-overdraftLimit` available
 * at any step; no balance leaves ±MAX_AMOUNT.
 */
export function applyCommands(
  accounts: ReadonlyMap<string, AccountState>,
  commands: readonly LedgerCommand[],
  now: Date,
): LedgerResult {
  const working = new Map<string, AccountState>()
  const entries: Entry[] = []
  const changed = new Set<AccountState>()

  function accountOf(command: LedgerCommand, accountId: string): AccountState {
    const key = accountKey(command.tenantId, accountId)
    const known = working.get(key)
    if (known !== undefined) return known
    const account = accounts.get(key)
    if (account === undefined) throw new Error(`transfer ${command.id}: no account ${accountId}`)
    const copy = { ...account }
    working.set(key, copy)
    return copy
  }

  const outcomes = commands.map((command): Outcome => {
    const source = accountOf(command, command.source)
    const destination = accountOf(command, command.destination)
    const failureCode = refusalOf(source, destination, command.amount)
    if (failureCode === undefined) {
      entries.push(
        post(source, command, -command.amount),
        post(destination, command, command.amount),
      )
      changed.add(source).add(destination)
    }
    const versions = { sourceVersion: source.version, destinationVersion: destination.version }
    return failureCode === undefined
      ? { status: 'succeeded', failureCode: null, ...versions }
      : { status: 'failed', failureCode, ...versions }
  })

  const settledAt = latest(now, changed)
  for (const account of changed) account.lastEntryAt = settledAt
  return { outcomes, entries, changed: [...changed], settledAt }
}

/** The order of the checks is part of the contract: state before funds, source before destination. */
function refusalOf(
  source: AccountState,
  destination: AccountState,
  amount: bigint,
): RefusalCode | undefined {
  if (source.status === 'closed' || destination.status === 'closed') return 'account_closed'
  if (source.status === 'frozen' || destination.status === 'frozen') return 'account_frozen'
  if (source.kind === 'internal' && available(source) - amount < -source.overdraftLimit) {
    return 'insufficient_funds'
  }
  if (source.balance - amount < -MAX_AMOUNT || destination.balance + amount > MAX_AMOUNT) {
    return 'balance_limit_exceeded'
  }
  return undefined
}

/** What an account can spend: its balance less what its open holds reserve. */
export function available(account: Pick<AccountState, 'balance' | 'held'>): bigint {
  return account.balance - account.held
}

function post(account: AccountState, command: LedgerCommand, amount: bigint): Entry {
  account.balance += amount
  account.version += 1n
  account.entryCount += 1n
  return {
    tenantId: account.tenantId,
    accountId: account.id,
    seq: account.entryCount,
    transferId: command.id,
    amount,
    balanceAfter: account.balance,
  }
}

function latest(now: Date, accounts: Iterable<AccountState>): Date {
  let time = now
  for (const { lastEntryAt } of accounts) {
    if (lastEntryAt !== null && lastEntryAt > time) time = lastEntryAt
  }
  return time
}
