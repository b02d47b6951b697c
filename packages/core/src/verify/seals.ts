import { sealOf, type SealedEntry, type SealedTransfer } from '../ledger/seal.ts'
import { accountKey as keyOf } from '../ledger/books.ts'
import type { Check } from './check.ts'
import type { LegRow } from '../transfers/transfer-row.ts'

type FoundEntry = SealedEntry & { currency: string }
type FoundTransfer = Omit<SealedTransfer, 'legs'> & { legs: LegRow[] | null; settlementId: string }
type TransferName = { tenantId: string; id: string; settlementId: string }
type SettlementName = { chain: number; position: bigint; transferCount: number }

type SettlementRow = {
  chain: number
  position: bigint
  id: string
  seal: Buffer
  before: Buffer | null
  is_keyed: boolean
  tenant_ids: string[]
  transfer_ids: string[]
}

/** All that was settled in the seconds of one slice. */
type Slice = {
  entries: Map<string, FoundEntry[]>
  /** Those that no settlement has claimed so far. */
  transfers: Map<string, TransferName>
  settlements: SettlementName[]
}

/**
 * Brings settlements, transfers and entries together, slice by slice: the rows of each settlement
 * make its seal again, and the entries of each transfer are what it moved.
 */
export async function checkSeals(check: Check): Promise<void> {
  for (let index = 0; index < check.slices.count; index++) {
    const slice = await readSlice(check, index)
    for (const share of sharesOf(slice.settlements, ({ transferCount }) => transferCount)) {
      await checkShare(check, slice, share)
    }
    await checkUnsealed(check, slice)
    checkOrphans(check, slice)
  }
}

async function readSlice({ slices }: Check, index: number): Promise<Slice> {
  const slice: Slice = { entries: new Map(), transfers: new Map(), settlements: [] }
  for await (const fields of slices.read('settlements', index)) {
    const [chain = '', position = '', count = ''] = fields
    slice.settlements.push({
      chain: Number(chain),
      position: BigInt(position),
      transferCount: Number(count),
    })
  }
  for await (const [tenantId = '', id = '', settlementId = ''] of slices.read('transfers', index)) {
    slice.transfers.set(keyOf(tenantId, id), { tenantId, id, settlementId })
  }
  for await (const fields of slices.read('entries', index)) {
    const entry = toEntry(fields)
    const key = keyOf(entry.tenantId, entry.transferId)
    const known = slice.entries.get(key)
    if (known === undefined) slice.entries.set(key, [entry])
    else known.push(entry)
  }
  return slice
}

function toEntry(fields: readonly string[]): FoundEntry {
  const [tenantId = '', accountId = '', seq = '', transferId = ''] = fields
  const [amount = '', balanceAfter = '', createdAt = '', currency = ''] = fields.slice(4)
  return {
    tenantId,
    accountId,
    seq: BigInt(seq),
    transferId,
    amount: BigInt(amount),
    balanceAfter: BigInt(balanceAfter),
    createdAt: new Date(Number(createdAt)),
    currency,
  }
}

/** 2,000 transfers are read at a time, more where one settlement has more. */
const transfersPerShare = 2_000

function* sharesOf<T>(all: readonly T[], weightOf: (one: T) => number): Generator<T[], void> {
  let share: T[] = []
  let weight = 0
  for (const one of all) {
    if (share.length > 0 && weight + weightOf(one) > transfersPerShare) {
      yield share
      share = []
      weight = 0
    }
    share.push(one)
    weight += weightOf(one)
  }
  if (share.length > 0) yield share
}

async function checkShare(check: Check, slice: Slice, share: SettlementName[]): Promise<void> {
  const settlements = await readSettlements(check, share)
  const found = await readTransfers(check, {
    tenantIds: settlements.flatMap(({ tenant_ids }) => tenant_ids),
    ids: settlements.flatMap(({ transfer_ids }) => transfer_ids),
  })
  const transfers = new Map(found.map((one) => [keyOf(one.tenantId, one.id), one]))
  for (const settlement of settlements) {
    const listed = settlement.transfer_ids.map((id, index) =>
      keyOf(settlement.tenant_ids[index] ?? '', id),
    )
    for (const key of listed) {
      const transfer = transfers.get(key)
      checkMembership(check, settlement, key, transfer)
      slice.transfers.delete(key)
      if (transfer !== undefined) checkLines(check, slice, transfer)
    }
    checkSeal(check, settlement, {
      transfers: listed.flatMap((key) => transfers.get(key) ?? []),
      entries: listed.flatMap((key) => slice.entries.get(key) ?? []),
    })
    for (const key of listed) slice.entries.delete(key)
  }
  check.findings.checked('settlements_are_sealed', settlements.length)
  check.findings.checked('entries_match_transfers', found.length)
  check.onProgress(found.length)
}

function readSettlements({ read }: Check, share: readonly SettlementName[]) {
  return read<SettlementRow>(
    `SELECT settlements.chain, settlements.position, settlements.id, settlements.seal,
            settlements.is_keyed, settlements.tenant_ids, settlements.transfer_ids,
            before.seal AS before
       FROM unnest($1::smallint[], $2::bigint[]) AS named (chain, position)
       JOIN settlements ON settlements.chain = named.chain AND settlements.position = named.position
       LEFT JOIN settlements AS before ON before.chain = named.chain
                                      AND before.position = named.position - 1`,
    [share.map(({ chain }) => chain), share.map(({ position }) => position)],
  )
}

function readTransfers({ read }: Check, named: { tenantIds: string[]; ids: string[] }) {
  return read<FoundTransfer>(
    `SELECT transfers.tenant_id AS "tenantId", transfers.id,
            idempotency_key AS "idempotencyKey", kind, status, parent_id AS "parentId", source,
            destination, amount, currency, legs, description, metadata,
            failure_code AS "failureCode", source_version AS "sourceVersion",
            destination_version AS "destinationVersion", created_at AS "createdAt",
            settled_at AS "settledAt", settlement_id AS "settlementId"
       FROM unnest($1::uuid[], $2::uuid[]) AS named (tenant_id, id)
       JOIN transfers ON transfers.tenant_id = named.tenant_id AND transfers.id = named.id`,
    [named.tenantIds, named.ids],
  )
}

function nameOf({ chain, position, id }: SettlementRow) {
  return { table: 'settlements', ids: { chain: `${chain}`, position: `${position}`, id } }
}

function checkMembership(
  { findings }: Check,
  settlement: SettlementRow,
  key: string,
  transfer: FoundTransfer | undefined,
): void {
  findings.compare('settlements_are_sealed', nameOf(settlement), {
    what: `transfer ${key} of settlement`,
    expected: settlement.id,
    found: transfer?.settlementId ?? 'no row',
  })
}

function checkSeal(
  { findings, ledgerSecret }: Check,
  settlement: SettlementRow,
  rows: { transfers: readonly FoundTransfer[]; entries: readonly FoundEntry[] },
): void {
  const before = settlement.before ?? Buffer.alloc(0)
  const secret = settlement.is_keyed ? ledgerSecret : undefined
  findings.compare('settlements_are_sealed', nameOf(settlement), {
    what: 'seal',
    expected: sealOf(before, { id: settlement.id, ...rows }, secret).toString('hex'),
    found: settlement.seal.toString('hex'),
  })
}

/** Two lines per leg of what moved money, none of anything else. */
function checkLines(
  { findings }: Check,
  { entries }: Pick<Slice, 'entries'>,
  transfer: FoundTransfer,
): void {
  const found = entries.get(keyOf(transfer.tenantId, transfer.id)) ?? []
  findings.compare(
    'entries_match_transfers',
    { table: 'transfers', ids: { tenant_id: transfer.tenantId, id: transfer.id } },
    {
      what: 'entries',
      expected: told(linesOf(transfer)),
      found: told(found.map((one) => line(one.accountId, one.amount, one.currency))),
    },
  )
}

const movingKinds = new Set(['transfer', 'capture', 'refund'])

function linesOf(transfer: FoundTransfer): string[] {
  if (transfer.status !== 'succeeded' || !movingKinds.has(transfer.kind)) return []
  const { source, destination, amount, currency } = transfer
  const legs = transfer.legs ?? [{ source, destination, amount: amount ?? 0n, currency }]
  return legs.flatMap((leg) => [
    line(leg.source, -BigInt(leg.amount), leg.currency),
    line(leg.destination, BigInt(leg.amount), leg.currency),
  ])
}

function line(account: string | null, amount: bigint, currency: string | null): string {
  return `${account} ${amount} ${currency}`
}

function told(lines: readonly string[]): string {
  return lines.length === 0 ? 'none' : lines.toSorted().join(', ')
}

/** What says that it was settled in these seconds, and stands in no settlement. */
async function checkUnsealed(check: Check, slice: Slice): Promise<void> {
  for (const share of sharesOf([...slice.transfers.values()], () => 1)) {
    for (const { tenantId, id, settlementId } of share) {
      check.findings.fault('settlements_are_sealed', {
        table: 'transfers',
        ids: { tenant_id: tenantId, id },
        expected: `a settlement ${settlementId} that lists it`,
        found: 'none at its time',
      })
    }
    const found = await readTransfers(check, {
      tenantIds: share.map(({ tenantId }) => tenantId),
      ids: share.map(({ id }) => id),
    })
    for (const transfer of found) {
      checkLines(check, slice, transfer)
      slice.entries.delete(keyOf(transfer.tenantId, transfer.id))
    }
    check.findings.checked('entries_match_transfers', found.length)
  }
}

function checkOrphans({ findings }: Check, { entries }: Slice): void {
  for (const { tenantId, accountId, seq, transferId, createdAt } of [...entries.values()].flat()) {
    findings.fault('entries_match_transfers', {
      table: 'entries',
      ids: { tenant_id: tenantId, account_id: accountId, seq: `${seq}`, transfer_id: transferId },
      expected: `a transfer settled at ${createdAt.toISOString()}`,
      found: 'none',
    })
  }
}
