import { accountKey, type AccountState } from '../ledger/books.ts'
import { singleLeg } from './ledger-command.ts'
import { toLeg, type LegRow } from './transfer-row.ts'
import type { Queryable, Tx } from '../db/client.ts'
import type { TransferRef } from '../ids.ts'
import type { ParentState } from '../ledger/apply.ts'

type AccountRow = {
  tenant_id: string
  id: string
  kind: AccountState['kind']
  status: AccountState['status']
  balance: bigint
  held: bigint
  overdraft_limit: bigint
  version: bigint
  entry_count: bigint
  last_entry_at: Date | null
}

export type WantedAccounts = { tenantId: string; accounts: readonly string[] }

/**
 * Locks the accounts in the order of their ids, the same everywhere, so that no two transactions
 * wait for each other. NO KEY UPDATE is enough: nobody changes an account's id.
 */
export function lockAccounts(
  tx: Tx,
  wanted: readonly WantedAccounts[],
): Promise<Map<string, AccountState>> {
  return selectAccounts(tx, wanted, 'FOR NO KEY UPDATE OF accounts')
}

/** As `lockAccounts`, without a lock: for what writes nothing. */
export function readAccounts(
  db: Queryable,
  wanted: readonly WantedAccounts[],
): Promise<Map<string, AccountState>> {
  return selectAccounts(db, wanted, '')
}

async function selectAccounts(
  db: Queryable,
  wanted: readonly WantedAccounts[],
  lock: string,
): Promise<Map<string, AccountState>> {
  const pairs = new Map<string, [tenantId: string, accountId: string]>()
  for (const { tenantId, accounts } of wanted) {
    for (const id of accounts) pairs.set(accountKey(tenantId, id), [tenantId, id])
  }
  const { rows } = await db.query<AccountRow>(
    `SELECT accounts.tenant_id, accounts.id, kind, status, balance, held, overdraft_limit, version,
            entry_count, last_entry_at
       FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
       JOIN accounts ON accounts.tenant_id = wanted.tenant_id AND accounts.id = wanted.id
      ORDER BY accounts.tenant_id, accounts.id
        ${lock}`,
    [[...pairs.values()].map(([tenantId]) => tenantId), [...pairs.values()].map(([, id]) => id)],
  )
  return new Map(rows.map((row) => [accountKey(row.tenant_id, row.id), toAccountState(row)]))
}

function toAccountState(row: AccountRow): AccountState {
  return {
    tenantId: row.tenant_id,
    id: row.id,
    kind: row.kind,
    status: row.status,
    balance: row.balance,
    held: row.held,
    overdraftLimit: row.overdraft_limit,
    version: row.version,
    entryCount: row.entry_count,
    lastEntryAt: row.last_entry_at,
  }
}

type ParentRow = {
  tenant_id: string
  id: string
  kind: ParentState['kind']
  status: ParentState['status']
  source: string | null
  destination: string | null
  amount: bigint | null
  currency: string | null
  legs: LegRow[] | null
  captured_amount: bigint
  refunded_amount: bigint
  expires_at: Date | null
}

/**
 * Locks settled transfers that others build on, in the order of their ids, after the accounts. What
 * is returned is how they are once the lock is held; one that is not settled is not among them.
 */
export function lockParents(
  tx: Tx,
  refs: readonly TransferRef[],
): Promise<Map<string, ParentState>> {
  return selectParents(tx, refs, 'FOR NO KEY UPDATE OF transfers')
}

/** As `lockParents`, without a lock: for what writes nothing. */
export function readParents(
  db: Queryable,
  refs: readonly TransferRef[],
): Promise<Map<string, ParentState>> {
  return selectParents(db, refs, '')
}

async function selectParents(
  db: Queryable,
  refs: readonly TransferRef[],
  lock: string,
): Promise<Map<string, ParentState>> {
  if (refs.length === 0) return new Map()
  const { rows } = await db.query<ParentRow>(
    `SELECT transfers.tenant_id, transfers.id, kind, status, source, destination, amount, currency,
            legs, captured_amount, refunded_amount, expires_at
       FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS named (tenant_id, id)) AS wanted
       JOIN transfers ON transfers.tenant_id = wanted.tenant_id AND transfers.id = wanted.id
      ORDER BY transfers.tenant_id, transfers.id
        ${lock}`,
    [refs.map(({ tenantId }) => tenantId), refs.map(({ transferId }) => transferId)],
  )
  return new Map(rows.map((row) => [row.id, toParentState(row)]))
}

function toParentState(row: ParentRow): ParentState {
  const single = singleLeg(row)
  return {
    tenantId: row.tenant_id,
    id: row.id,
    kind: row.kind,
    status: row.status,
    legs: row.legs?.map(toLeg) ?? (single === undefined ? [] : [single]),
    capturedAmount: row.captured_amount,
    refundedAmount: row.refunded_amount,
    holdUntil: row.kind === 'hold' ? row.expires_at : null,
  }
}
