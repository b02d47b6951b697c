import { accountName, hasMoved, legsOf, type Evidence } from './evidence.ts'
import type { BookedTransfer } from '../books.ts'
import type { Report } from './finding.ts'

/** 1: the balances of a currency sum to zero in every read of all of them. */
export function checkConservation({ history }: Evidence, report: Report): void {
  for (const record of history) {
    if (record.type !== 'snapshot') continue
    for (const { tenant, currency, balance } of record.sums) {
      report.saw()
      if (BigInt(balance) === 0n) continue
      const where = `tenant ${tenant}, ${currency}, read at ${record.at} ms`
      report.breach(where, `the balances sum to ${balance}, expected 0`)
    }
  }
}

/** 2: a transfer that moved money has two entries per leg that sum to zero, every other has none. */
export function checkPairs(
  { books, transfers, entriesByTransfer }: Evidence,
  report: Report,
): void {
  for (const transfer of books.transfers) {
    report.saw()
    const expected = expectedEntries(transfer).toSorted()
    const found = (entriesByTransfer.get(transfer.id) ?? [])
      .map(({ accountId, amount }) => `${amount} on ${accountId}`)
      .toSorted()
    if (expected.join() === found.join()) continue
    report.breach(
      `${transfer.kind} ${transfer.id}, ${transfer.status}`,
      `expected ${expected.length} entries (${expected.join('; ')}), found ${found.length} (${found.join('; ')})`,
    )
  }
  for (const [id, entries] of entriesByTransfer) {
    if (transfers.has(id)) continue
    report.breach(`transfer ${id}`, `${entries.length} entries, and no such transfer`)
  }
}

function expectedEntries(transfer: BookedTransfer): string[] {
  if (!hasMoved(transfer)) return []
  return legsOf(transfer).flatMap(({ source, destination, amount }) => [
    `${-amount} on ${source}`,
    `${amount} on ${destination}`,
  ])
}

/** 6: a balance is the sum of its entries, and what is held the open remainder of its holds. */
export function checkBalances({ books, entries, accounts }: Evidence, report: Report): void {
  const held = openRemainders(books.transfers)
  for (const account of books.accounts) {
    report.saw()
    const name = accountName(account.tenantId, account.id)
    const own = entries.get(name) ?? []
    const sum = own.reduce((total, { amount }) => total + amount, 0n)
    expectEqual(report, name, 'balance', account.balance, sum)
    expectEqual(report, name, 'number of entries', account.entryCount, BigInt(own.length))
    expectEqual(report, name, 'held amount', account.held, held.get(name) ?? 0n)
  }
  for (const name of entries.keys()) {
    if (!accounts.has(name))
      report.breach(`account ${name}`, 'it has entries, and there is no such account')
  }
}

function expectEqual(
  report: Report,
  account: string,
  what: string,
  found: bigint,
  counted: bigint,
): void {
  if (found === counted) return
  report.breach(`account ${account}`, `its ${what} is ${found}, counted together it is ${counted}`)
}

function openRemainders(transfers: readonly BookedTransfer[]): Map<string, bigint> {
  const held = new Map<string, bigint>()
  for (const { status, tenantId, source, amount, capturedAmount } of transfers) {
    if (status !== 'held' || source === null) continue
    const name = accountName(tenantId, source)
    held.set(name, (held.get(name) ?? 0n) + (amount ?? 0n) - capturedAmount)
  }
  return held
}
