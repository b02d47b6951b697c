import { accountName, groupBy, type Evidence } from './evidence.ts'
import { chainsOf, placeSteps, type Placed, type Step } from './placements.ts'
import type { BookedLimit, BookedTransfer } from '../books.ts'
import type { Report } from './finding.ts'

/** 7: the entries of an account are numbered without a gap, each balance the one before and its amount. */
export function checkChains({ entries }: Evidence, report: Report): void {
  for (const [account, chain] of entries) {
    let seq = 0n
    let balance = 0n
    for (const entry of chain) {
      report.saw()
      const where = `account ${account}, entry ${entry.seq}, transfer ${entry.transferId}`
      if (entry.seq !== seq + 1n) report.breach(where, `expected entry ${seq + 1n}`)
      if (entry.balanceAfter !== balance + entry.amount) {
        report.breach(
          where,
          `${balance} and ${entry.amount} is ${balance + entry.amount}, it says ${entry.balanceAfter}`,
        )
      }
      seq = entry.seq
      balance = entry.balanceAfter
    }
  }
}

/** 8: at no step has an internal account less available than the limit of that time allows. */
export function checkLimits(evidence: Evidence, report: Report): void {
  const steps = placeSteps(evidence)
  const limits = groupBy(evidence.books.limits, (limit) =>
    accountName(limit.tenantId, limit.accountId),
  )
  for (const [name, chain] of chainsOf(steps)) {
    if (evidence.accounts.get(name)?.kind !== 'internal') continue
    walk(evidence, { name, chain, limits: limits.get(name) ?? [] }, report)
  }
}

type Account = { name: string; chain: readonly Placed[]; limits: readonly BookedLimit[] }

function walk(evidence: Evidence, { name, chain, limits }: Account, report: Report): void {
  const entries = evidence.entries.get(name) ?? []
  const holds = new Holds(evidence)
  let balance = 0n
  let next = 0
  for (const { step, placement } of chain) {
    if (!placement.isMaker) continue
    const { cause } = step
    if (cause.type === 'transfer' && takesEntries(cause.transfer)) {
      next += Number(placement.made)
      balance = entries[next - 1]?.balanceAfter ?? balance
    }
    holds.follow(step, name)
    report.saw()
    const limit = limits.findLast(({ version }) => version <= placement.version)
    const lowest = -(limit?.overdraftLimit ?? 0n)
    if (balance - holds.held >= lowest) continue
    report.breach(
      `account ${name}, version ${placement.version}`,
      `available is ${balance} - ${holds.held}, and the limit is ${lowest}`,
    )
  }
}

function takesEntries({ kind }: BookedTransfer): boolean {
  return kind !== 'hold' && kind !== 'release'
}

/** What an account holds, step by step. */
class Holds {
  held = 0n
  readonly #left = new Map<string, bigint>()
  readonly #evidence: Evidence

  constructor(evidence: Evidence) {
    this.#evidence = evidence
  }

  follow({ cause }: Step, account: string): void {
    if (cause.type === 'expiry') this.#take(cause.hold.id, undefined)
    if (cause.type !== 'transfer') return
    const { id, kind, amount, parentId, tenantId, source } = cause.transfer
    const isSource = source !== null && accountName(tenantId, source) === account
    if (!isSource) return
    if (kind === 'hold') this.#reserve(id, amount ?? 0n)
    if (kind === 'release') this.#take(parentId ?? '', undefined)
    if (kind === 'capture') {
      const isFinal = this.#evidence.commands.get(id)?.command.final === true
      this.#take(parentId ?? '', isFinal ? undefined : (amount ?? 0n))
    }
  }

  #reserve(hold: string, amount: bigint): void {
    this.#left.set(hold, amount)
    this.held += amount
  }

  /** Undefined takes all that is left. */
  #take(hold: string, amount: bigint | undefined): void {
    const left = this.#left.get(hold) ?? 0n
    const taken = amount ?? left
    this.#left.set(hold, left - taken)
    this.held -= taken
  }
}
