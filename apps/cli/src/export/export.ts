import type { Pool } from '@payonce/core/db/client'
import {
  exportAccounts,
  exportBalances,
  exportMovements,
  readExportedAccounts,
  type Movement,
} from '@payonce/core/ledger/export'
import {
  dateOf,
  formatAccount,
  formatAssertion,
  formatCommodity,
  formatMovement,
  formatOpening,
  formatOpeningPosting,
  journalHead,
  toPostedAccount,
  type PostedAccount,
} from './journal.ts'
import { SortedRuns } from './sorted-runs.ts'

export type ExportOptions = {
  pool: Pool
  tenantId: string
  /** What was settled before is summed up in one opening transaction. */
  from?: Date | undefined
  /** Nothing that was settled at or after it; at or below the horizon, so that nothing is missing. */
  before: Date
  /** Sorted runs of so many characters lie in files, unless given. */
  charactersPerRun?: number | undefined
  onProgress?(step: string, count: number): void
}

/**
 * The books of one tenant as a journal of hledger, piece by piece. Memory is bounded whatever the
 * size. The same history in the same range gives the same bytes. Throws for outages.
 */
export async function* exportJournal(options: ExportOptions): AsyncGenerator<string, void> {
  const { pool, tenantId, from, before, onProgress } = options
  const tell = (step: string, count: number) => onProgress?.(step, count)
  const range = { tenantId, before }
  yield journalHead
  yield* formatDeclarations(options)

  let lastDate: string | undefined
  if (from !== undefined) {
    let postings = 0
    for await (const accounts of exportBalances(pool, { tenantId, before: from })) {
      for (const account of accounts.filter(({ balance }) => balance !== 0n)) {
        if (postings === 0) yield formatOpening(dateOf(from))
        yield formatOpeningPosting(account)
        postings++
      }
      tell('opening balances', postings)
    }
    lastDate = dateOf(from)
  }

  const runs = new SortedRuns(options)
  try {
    let read = 0
    const accounts = new AccountNames(pool, tenantId)
    for await (const movements of exportMovements(pool, { ...range, from })) {
      const accountOf = await accounts.of(movements)
      for (const movement of movements) {
        runs.add({ key: orderOf(movement), text: formatMovement(movement, accountOf) })
      }
      tell('transfers read', (read += movements.length))
    }
    let written = 0
    for await (const { key, text } of runs.merged()) {
      yield text
      lastDate = key.slice(0, 'YYYY-MM-DD'.length)
      tell('transfers written', ++written)
    }
  } finally {
    runs.remove()
  }

  // Without a day there is nothing to close: no transaction was written.
  if (lastDate === undefined) return
  let closed = 0
  for await (const balances of exportBalances(pool, range)) {
    for (const balance of balances) yield formatAssertion(lastDate, balance)
    tell('closing balances', (closed += balances.length))
  }
}

async function* formatDeclarations(options: ExportOptions): AsyncGenerator<string, void> {
  const { pool, tenantId, before, onProgress } = options
  const currencies = new Set<string>()
  let count = 0
  for await (const accounts of exportAccounts(pool, { tenantId, before })) {
    for (const account of accounts) {
      currencies.add(account.currency)
      yield formatAccount(account)
    }
    onProgress?.('accounts', (count += accounts.length))
  }
  yield '\n'
  for (const currency of [...currencies].toSorted()) yield formatCommodity(currency)
}

/** In the order of settlement; what was settled together, in the order of its ids. */
function orderOf({ settledAt, settlementId, id }: Movement): string {
  return `${settledAt.toISOString()} ${settlementId} ${id}`
}

/** 50,000: some 10 MB, and the busy accounts of most tenants are among them. */
const mostNamesKept = 50_000

/** The names of the accounts that a page of movements touches. */
class AccountNames {
  readonly #pool: Pool
  readonly #tenantId: string
  readonly #known = new Map<string, PostedAccount>()

  constructor(pool: Pool, tenantId: string) {
    this.#pool = pool
    this.#tenantId = tenantId
  }

  async of(movements: readonly Movement[]): Promise<(id: string) => PostedAccount> {
    if (this.#known.size > mostNamesKept) this.#known.clear()
    const sides = movements.flatMap(({ legs }) =>
      legs.flatMap(({ source, destination }) => [source, destination]),
    )
    const missing = [...new Set(sides)].filter((id) => !this.#known.has(id))
    if (missing.length > 0) await this.#read(missing)
    return (id) => {
      const account = this.#known.get(id)
      if (account === undefined) throw new Error(`money moved on account ${id}, which is not there`)
      return account
    }
  }

  async #read(ids: readonly string[]): Promise<void> {
    for (const account of await readExportedAccounts(this.#pool, this.#tenantId, ids)) {
      this.#known.set(account.id, toPostedAccount(account))
    }
  }
}
