import { isPost, keyName, readCalls, type Call, type Post } from './calls.ts'
import type {
  BookedAccount,
  BookedCommand,
  BookedEntry,
  BookedKey,
  Books,
  BookedTransfer,
} from '../books.ts'
import type { HistoryRecord } from '../history.ts'

/** History and books with the indexes that the invariants need, each made once. */
export type Evidence = {
  history: readonly HistoryRecord[]
  calls: readonly Call[]
  /** The posts of every key, under `keyName`. */
  posts: ReadonlyMap<string, readonly Post[]>
  tenants: ReadonlySet<string>
  books: Books
  keys: ReadonlyMap<string, BookedKey>
  transfers: ReadonlyMap<string, BookedTransfer>
  commands: ReadonlyMap<string, BookedCommand>
  /** Under `accountName`. */
  accounts: ReadonlyMap<string, BookedAccount>
  /** Of every account, in the order of `seq`. */
  entries: ReadonlyMap<string, readonly BookedEntry[]>
  entriesByTransfer: ReadonlyMap<string, readonly BookedEntry[]>
  /** The tenant of every transfer that was accepted, settled or not. */
  owners: ReadonlyMap<string, string>
}

export function gatherEvidence(history: readonly HistoryRecord[], books: Books): Evidence {
  const calls = readCalls(history)
  return {
    history,
    calls,
    posts: groupBy(calls.filter(isPost), (post) => keyName(post.tenant, post.operation.key)),
    tenants: new Set(calls.map(({ tenant }) => tenant)),
    books,
    keys: new Map(books.keys.map((key) => [keyName(key.tenantId, key.idempotencyKey), key])),
    transfers: new Map(books.transfers.map((transfer) => [transfer.id, transfer])),
    commands: new Map(books.commands.map((command) => [command.id, command])),
    accounts: new Map(
      books.accounts.map((account) => [accountName(account.tenantId, account.id), account]),
    ),
    entries: entriesInOrder(books.entries),
    entriesByTransfer: groupBy(books.entries, ({ transferId }) => transferId),
    owners: ownersOf(books),
  }
}

/** An account among those of all tenants. */
export function accountName(tenantId: string, accountId: string): string {
  return `${tenantId}/${accountId}`
}

export function groupBy<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const name = nameOf(item)
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [item])
    else group.push(item)
  }
  return groups
}

/** -1, 0 or 1, as `sort` wants it: a bigint is no answer to that. */
export function compareBigints(a: bigint, b: bigint): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function entriesInOrder(entries: readonly BookedEntry[]) {
  const groups = groupBy(entries, ({ tenantId, accountId }) => accountName(tenantId, accountId))
  return new Map(
    [...groups].map(([name, group]) => [
      name,
      group.toSorted((a, b) => compareBigints(a.seq, b.seq)),
    ]),
  )
}

function ownersOf({ keys, transfers }: Books): Map<string, string> {
  const accepted = keys.filter(({ resource }) => resource === 'transfer')
  return new Map([
    ...accepted.map(({ resourceId, tenantId }) => [resourceId, tenantId] as const),
    ...transfers.map(({ id, tenantId }) => [id, tenantId] as const),
  ])
}

/** The legs of a transfer with the versions that they were judged at; none where it has no accounts. */
export function legsOf(transfer: BookedTransfer) {
  const { legs, source, destination, amount, sourceVersion, destinationVersion } = transfer
  if (legs !== null) return legs
  if (source === null || destination === null) return []
  return [{ source, destination, amount: amount ?? 0n, sourceVersion, destinationVersion }]
}

/** Whether a transfer moved money: what only reserves has no entries. */
export function hasMoved({ status, kind }: BookedTransfer): boolean {
  return status === 'succeeded' && kind !== 'hold' && kind !== 'release'
}
