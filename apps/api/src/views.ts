import { encodeId } from '@payonce/core/ids'
import { refusalMessages } from '@payonce/core/refusals'
import type { Account } from '@payonce/core/ledger/account'
import type { AccountEntry, TrialBalance } from '@payonce/core/ledger/entry'
import type { Transfer } from '@payonce/core/transfers/transfer'

/*
 * Domain to wire. Members stand in a fixed order: a replay is rendered again and must give the same
 * bytes, after an upgrade too, so a member of the answer to an acceptance never changes its place.
 */

export function viewAccount(account: Account) {
  return {
    id: encodeId('account', account.id),
    object: 'account',
    kind: account.kind,
    currency: account.currency,
    status: account.status,
    name: account.name,
    reference: account.reference,
    balance: Number(account.balance),
    held: Number(account.held),
    available: Number(account.balance - account.held),
    overdraft_limit: Number(account.overdraftLimit),
    version: Number(account.version),
    metadata: canonical(account.metadata),
    created_at: account.createdAt.toISOString(),
  }
}

export function viewTransfer(transfer: Transfer) {
  return {
    id: encodeId('transfer', transfer.id),
    object: 'transfer',
    kind: transfer.kind,
    status: transfer.status,
    source: encodeId('account', transfer.source),
    destination: encodeId('account', transfer.destination),
    amount: Number(transfer.amount),
    currency: transfer.currency,
    description: transfer.description,
    metadata: canonical(transfer.metadata),
    idempotency_key: transfer.idempotencyKey,
    parent: null,
    failure:
      transfer.failureCode === null
        ? null
        : { code: transfer.failureCode, message: refusalMessages[transfer.failureCode] },
    created_at: transfer.createdAt.toISOString(),
    settled_at: transfer.settledAt?.toISOString() ?? null,
  }
}

export function viewEntry(entry: AccountEntry, account: Pick<Account, 'id' | 'currency'>) {
  return {
    object: 'entry',
    account: encodeId('account', account.id),
    seq: Number(entry.seq),
    transfer: encodeId('transfer', entry.transferId),
    amount: Number(entry.amount),
    currency: account.currency,
    balance_after: Number(entry.balanceAfter),
    created_at: entry.createdAt.toISOString(),
  }
}

export function viewTrialBalance(rows: readonly TrialBalance[]) {
  return {
    object: 'trial_balance',
    data: rows.map((row) => ({
      currency: row.currency,
      balance: Number(row.balance),
      accounts: Number(row.accounts),
      entries: Number(row.entries),
    })),
  }
}

export function viewList<T>(data: readonly T[], nextCursor: string | undefined) {
  return {
    object: 'list',
    data,
    has_more: nextCursor !== undefined,
    next_cursor: nextCursor ?? null,
  }
}

/**
 * Pairs by their keys' code units, as RFC 8785 orders them, however they were sent or stored. Keys
 * that look like array indexes come first, as JavaScript writes them: one fixed order all the same.
 */
function canonical(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
