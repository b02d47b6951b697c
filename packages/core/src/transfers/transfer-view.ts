import { encodeId } from '../ids.ts'
import { canonicalMetadata } from '../metadata.ts'
import { refusalMessages, type RefusalCode } from '../refusals.ts'
import type { Batch } from './batch.ts'
import type { CurrencyLeg, Transfer } from './transfer.ts'

/*
 * Domain to wire. Members stand in a fixed order: a replay is rendered again and must give the same
 * bytes, after an upgrade too, so a member of the answer to an acceptance never changes its place.
 */

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
    metadata: canonicalMetadata(transfer.metadata),
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

export function viewFailure(code: RefusalCode | null) {
  return code === null ? null : { code, message: refusalMessages[code] }
}

/** What a batch is, whatever became of its items. */
export type BatchHead = Pick<
  Batch,
  'id' | 'idempotencyKey' | 'isAtomic' | 'executeAt' | 'expiresAt' | 'createdAt'
>

export function viewBatchHead(batch: BatchHead) {
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
