import { MAX_AMOUNT } from '@payonce/core/money'
import type { AccountState, LedgerCommand } from '@payonce/core/ledger/apply'
import type { RefusalCode } from '@payonce/core/refusals'

/** One line of the model's only book. */
type ModelEntry = { tenantId: string; accountId: string; transferId: string; amount: bigint }

export type ModelOutcome = {
  failureCode: RefusalCode | null
  sourceVersion: bigint
  destinationVersion: bigint
}

/**
 * The ledger as a person would keep it with a pencil: one list of lines for everybody, to which a
 * transfer adds two. Nothing is remembered besides; a balance is counted anew from all lines whenever
 * somebody asks. A transfer is refused when, written down, it would break a promise: then its lines
 * are rubbed out again. It is slow, shares no code with the product, and is only right.
 */
export class LedgerModel {
  readonly #openings: readonly AccountState[]
  readonly #entries: ModelEntry[] = []

  constructor(openings: readonly AccountState[]) {
    this.#openings = openings
  }

  settle(command: LedgerCommand): ModelOutcome {
    const failureCode = this.#refusalOf(command)
    if (failureCode === null) this.#write(command)
    return {
      failureCode,
      sourceVersion: this.versionOf(command.tenantId, command.source),
      destinationVersion: this.versionOf(command.tenantId, command.destination),
    }
  }

  balanceOf(tenantId: string, accountId: string): bigint {
    let balance = this.#opening(tenantId, accountId).balance
    for (const { amount } of this.#entriesOf(tenantId, accountId)) balance += amount
    return balance
  }

  versionOf(tenantId: string, accountId: string): bigint {
    const entryCount = this.#entriesOf(tenantId, accountId).length
    return this.#opening(tenantId, accountId).version + BigInt(entryCount)
  }

  /** How much the account could send before its limit stops it; undefined where it has none. */
  fundsOf(tenantId: string, accountId: string): bigint | undefined {
    const { kind, held, overdraftLimit } = this.#opening(tenantId, accountId)
    if (kind === 'external') return undefined
    return this.balanceOf(tenantId, accountId) - held + overdraftLimit
  }

  #refusalOf(command: LedgerCommand): RefusalCode | null {
    const parties = [command.source, command.destination]
    const statuses = parties.map((id) => this.#opening(command.tenantId, id).status)
    if (statuses.includes('closed')) return 'account_closed'
    if (statuses.includes('frozen')) return 'account_frozen'
    this.#write(command)
    try {
      const isOverdrawn = parties.some((id) => (this.fundsOf(command.tenantId, id) ?? 0n) < 0n)
      if (isOverdrawn) return 'insufficient_funds'
      const balances = parties.map((id) => this.balanceOf(command.tenantId, id))
      const isBeyond = balances.some((balance) => balance > MAX_AMOUNT || balance < -MAX_AMOUNT)
      return isBeyond ? 'balance_limit_exceeded' : null
    } finally {
      this.#entries.length -= 2
    }
  }

  #write({ tenantId, id, source, destination, amount }: LedgerCommand): void {
    this.#entries.push({ tenantId, accountId: source, transferId: id, amount: -amount })
    this.#entries.push({ tenantId, accountId: destination, transferId: id, amount })
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
