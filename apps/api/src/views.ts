import { eventIdOf } from '@payonce/core/events/event'
import { encodeId } from '@payonce/core/ids'
import { available } from '@payonce/core/ledger/books'
import { isSettled } from '@payonce/core/transfers/transfer'
import {
  viewBatchHead,
  viewFailure,
  viewTransfer,
  type BatchHead,
} from '@payonce/core/transfers/transfer-view'
import type { Account } from '@payonce/core/ledger/account'
import type { AccountEntry, TrialBalance } from '@payonce/core/ledger/entry'
import type { AcceptedItem, Batch } from '@payonce/core/transfers/batch'
import type { DryRun } from '@payonce/core/transfers/dry-run'
import type { Attempt, Delivery } from '@payonce/core/webhooks/delivery'
import type { Endpoint, EndpointHealth } from '@payonce/core/webhooks/endpoint'
import type { Recovery } from '@payonce/core/webhooks/recovery'

/*
 * Domain to wire. Members stand in a fixed order: a replay is rendered again and must give the same
 * bytes, after an upgrade too, so a member of the answer to an acceptance never changes its place.
 */

/** A batch as it was accepted: the same bytes for ever, whatever became of it. */
export function viewAcceptedBatch(
  batch: BatchHead,
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

export function viewEndpoint(endpoint: Endpoint) {
  return {
    id: encodeId('endpoint', endpoint.id),
    object: 'webhook_endpoint',
    url: endpoint.url,
    description: endpoint.description,
    event_types: endpoint.eventTypes,
    rate_limit: endpoint.rateLimit,
    ed25519: endpoint.publicKey !== null,
    public_key: endpoint.publicKey,
    status: endpoint.status,
    disabled_reason: endpoint.disabledReason,
    disabled_at: endpoint.disabledAt?.toISOString() ?? null,
    health: viewHealth(endpoint.health),
    created_at: endpoint.createdAt.toISOString(),
  }
}

function viewHealth(health: EndpointHealth) {
  return {
    state: health.failures === 0 ? 'healthy' : health.probeAt === null ? 'failing' : 'resting',
    failures: health.failures,
    failing_since: health.failingSince?.toISOString() ?? null,
    next_probe_at: health.probeAt?.toISOString() ?? null,
    last_success_at: health.lastSuccessAt?.toISOString() ?? null,
    last_failure_at: health.lastFailureAt?.toISOString() ?? null,
  }
}

export function viewDelivery(delivery: Delivery) {
  return {
    id: encodeId('delivery', delivery.id),
    object: 'webhook_delivery',
    endpoint: delivery.isCallback ? null : encodeId('endpoint', delivery.endpointId),
    url: delivery.url,
    event: encodeId('event', eventIdOf(delivery.event)),
    event_type: delivery.event.type,
    status: delivery.status,
    next_due_at: delivery.nextDueAt?.toISOString() ?? null,
    created_at: delivery.createdAt.toISOString(),
    ended_at: delivery.endedAt?.toISOString() ?? null,
    attempts: delivery.attempts.map(viewAttempt),
  }
}

function viewAttempt(attempt: Attempt) {
  return {
    attempt: attempt.attempt,
    started_at: attempt.startedAt.toISOString(),
    duration_ms: attempt.durationMs,
    status_code: attempt.statusCode,
    error: attempt.error,
    answer: attempt.answer,
  }
}

export function viewRecovery(recovery: Recovery) {
  return {
    id: encodeId('recovery', recovery.id),
    object: 'webhook_recovery',
    endpoint: encodeId('endpoint', recovery.endpointId),
    since: recovery.since.toISOString(),
    status: recovery.status,
    examined: recovery.examined,
    recovered: recovery.recovered,
    created_at: recovery.createdAt.toISOString(),
    ended_at: recovery.endedAt?.toISOString() ?? null,
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
