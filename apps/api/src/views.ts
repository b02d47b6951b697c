import { encodeId } from '@payonce/core/ids'
import { available } from '@payonce/core/ledger/books'
import { refusalMessages, type RefusalCode } from '@payonce/core/refusals'
import { isSettled, type CurrencyLeg, type Transfer } from '@payonce/core/transfers/transfer'
import type { Account } from '@payonce/core/ledger/account'
import type { AccountEntry, TrialBalance } from '@payonce/core/ledger/entry'
import type { AcceptedItem, Batch } from '@payonce/core/transfers/batch'
import type { DryRun } from '@payonce/core/transfers/dry-run'

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
  const { kind, legs, executeAt, expiresAt } = transfer
  return {
    id: encodeId('transfer', transfer.id),
    object: 'transfer',
    kind,
    status: transfer.status,
    source: viewAccountId(transfer.source),
    destination: viewAccountId(transfer.destination),
    amount: transfer.amount === null ? null : Number(transfer.amount),
    currency: transfer.currency,
    ...(legs === null ? {} : { legs: legs.map(viewLeg) }),
    description: transfer.description,
    metadata: canonical(transfer.metadata),
    idempotency_key: transfer.idempotencyKey,
    parent: transfer.parentId === null ? null : encodeId('transfer', transfer.parentId),
    ...(kind === 'hold' ? { captured_amount: Number(transfer.capturedAmount) } : {}),
    // Several legs are refunded as a whole, and have no one amount.
    ...((kind === 'transfer' || kind === 'capture') && legs === null
      ? { refunded_amount: Number(transfer.refundedAmount) }
      : {}),
    ...(executeAt === null ? {} : { execute_at: executeAt.toISOString() }),
    ...(expiresAt === null ? {} : { expires_at: expiresAt.toISOString() }),
    failure: viewFailure(transfer.failureCode),
    created_at: transfer.createdAt.toISOString(),
    settled_at: transfer.settledAt?.toISOString() ?? null,
  }
}

function viewAccountId(id: string | null): string | null {
  return id === null ? null : encodeId('account', id)
}

function viewLeg({ source, destination, amount, currency }: CurrencyLeg) {
  return {
    source: encodeId('account', source),
    destination: encodeId('account', destination),
    amount: Number(amount),
    currency,
  }
}

function viewFailure(code: RefusalCode | null) {
  return code === null ? null : { code, message: refusalMessages[code] }
}

type AcceptedBatch = Pick<
  Batch,
  'id' | 'idempotencyKey' | 'isAtomic' | 'executeAt' | 'expiresAt' | 'createdAt'
>

/** A batch as it was accepted: the same bytes for ever, whatever became of it. */
export function viewAcceptedBatch(
  batch: AcceptedBatch,
  items: readonly (AcceptedItem & { idempotencyKey: string })[],
) {
  return {
    ...viewBatchHead(batch),
    total: items.length,
    transfers: items.map(({ transferId, isReplay, idempotencyKey }, index) => ({
      index,
      id: encodeId('transfer', transferId),
      idempotency_key: idempotencyKey,
      ...(isReplay ? { replayed: true } : {}),
    })),
  }
}

/** A batch with what has become of it. */
export function viewBatch(batch: Batch) {
  const { items } = batch
  const counts: Record<string, number> = {}
  for (const { status } of items) counts[status] = (counts[status] ?? 0) + 1
  return {
    ...viewBatchHead(batch),
    is_settled: items.every((item) => isSettled(item)),
    total: items.length,
    counts,
    transfers: items.map((item, index) => ({
      index,
      id: encodeId('transfer', item.transferId),
      idempotency_key: item.idempotencyKey,
      ...(item.isReplay ? { replayed: true } : {}),
      status: item.status,
      failure: viewFailure(item.failureCode),
    })),
  }
}

function viewBatchHead(batch: AcceptedBatch) {
  return {
    id: encodeId('batch', batch.id),
    object: 'transfer_batch',
    atomic: batch.isAtomic,
    idempotency_key: batch.idempotencyKey,
    ...(batch.executeAt === null ? {} : { execute_at: batch.executeAt.toISOString() }),
    ...(batch.expiresAt === null ? {} : { expires_at: batch.expiresAt.toISOString() }),
    created_at: batch.createdAt.toISOString(),
  }
}

/** What a request would do now, with the balances of the accounts that it would change. */
export function viewDryRun({ transfers, accounts }: DryRun) {
  return {
    object: 'dry_run',
    transfers: transfers.map(viewTransfer),
    accounts: accounts.map((account) => ({
      id: encodeId('account', account.id),
      balance: Number(account.balance),
      held: Number(account.held),
      available: Number(available(account)),
      version: Number(account.version),
    })),
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
