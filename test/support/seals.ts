import {
  CHAIN_COUNT,
  sealOf,
  type SealedEntry,
  type SealedTransfer,
} from '@payonce/core/ledger/seal'
import type { Pool } from '@payonce/core/db/client'

type SettlementRow = {
  chain: number
  position: bigint
  id: string
  seal: Buffer
  tenant_ids: string[]
  transfer_ids: string[]
}

type Faults = { chain: number; position: number; fault: string }[]

/**
 * Makes every seal again from the rows as they are now, and returns where it differs from the one
 * that is stored; behind the first one that differs, a chain is built on what is stored.
 */
export async function findBrokenSeals(db: Pool, secret?: string): Promise<Faults> {
  const { rows: settlements } = await db.query<SettlementRow>(
    'SELECT * FROM settlements ORDER BY chain, position',
  )
  const { rows: heads } = await db.query<{ chain: number; length: bigint; seal: Buffer }>(
    'SELECT * FROM ledger_chains ORDER BY chain',
  )
  const transfers = await transfersBySettlement(db)
  const entries = await entriesByTransfer(db)
  const faults: Faults = []
  const ends = Array.from({ length: CHAIN_COUNT }, (): { length: bigint; seal: Buffer } => ({
    length: 0n,
    seal: Buffer.alloc(0),
  }))
  for (const { chain, position, id, seal, transfer_ids } of settlements) {
    const end = ends[chain]
    if (end === undefined) throw new Error(`there is no chain ${chain}`)
    const told = (fault: string) => faults.push({ chain, position: Number(position), fault })
    if (position !== end.length + 1n) told('a gap')
    const settled = transfers.get(id) ?? []
    const expected = settled.map((transfer) => transfer.id).toSorted()
    if (expected.join() !== transfer_ids.toSorted().join()) told('other transfers')
    const posted = settled.flatMap((transfer) => entries.get(transfer.id) ?? [])
    const again = sealOf(end.seal, { id, transfers: settled, entries: posted }, secret)
    if (!again.equals(seal)) told('another seal')
    ends[chain] = { length: position, seal }
  }
  for (const { chain, length, seal } of heads) {
    const end = ends[chain]
    if (end?.length !== length || !end.seal.equals(seal)) {
      faults.push({ chain, position: Number(length), fault: 'another head' })
    }
  }
  const sealed = new Set(settlements.map(({ id }) => id))
  for (const id of transfers.keys()) {
    if (!sealed.has(id)) faults.push({ chain: -1, position: 0, fault: `${id} is not sealed` })
  }
  return faults
}

async function transfersBySettlement(db: Pool): Promise<Map<string, SealedTransfer[]>> {
  const { rows } = await db.query<SealedTransfer & { settlementId: string }>(
    `SELECT tenant_id AS "tenantId", id, idempotency_key AS "idempotencyKey", kind, status,
            parent_id AS "parentId", source, destination, amount, currency, legs, description,
            metadata, failure_code AS "failureCode", source_version AS "sourceVersion",
            destination_version AS "destinationVersion", created_at AS "createdAt",
            settled_at AS "settledAt", settlement_id AS "settlementId"
       FROM transfers`,
  )
  return grouped(rows, ({ settlementId }) => settlementId)
}

async function entriesByTransfer(db: Pool): Promise<Map<string, SealedEntry[]>> {
  const { rows } = await db.query<SealedEntry>(
    `SELECT tenant_id AS "tenantId", account_id AS "accountId", seq,
            transfer_id AS "transferId", amount, balance_after AS "balanceAfter",
            created_at AS "createdAt"
       FROM entries`,
  )
  return grouped(rows, ({ transferId }) => transferId)
}

function grouped<T>(rows: readonly T[], nameOf: (row: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const row of rows) {
    const name = nameOf(row)
    groups.set(name, [...(groups.get(name) ?? []), row])
  }
  return groups
}
