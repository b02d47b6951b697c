import { inTransaction } from '../db/transaction.ts'
import { findAcceptedCommand, findSettled } from './find.ts'
import { metadataText, type AcceptedCommand, type Transfer } from './transfer.ts'
import type { Pool, Tx } from '../db/client.ts'
import type { NewId, TransferRef } from '../ids.ts'

export type CancelResult =
  | { result: 'canceled'; transfer: Transfer }
  | { result: 'already_settled'; transfer: Transfer }
  | { result: 'not_found' }

export type CancelOptions = { pool: Pool; newId: NewId }

/**
 * Cancels a transfer that is not settled. It takes the place of the outcome in `transfers`, so that
 * the unique key lets either the cancel or the settlement win, never both. Safe to repeat: a
 * transfer that is canceled already is `canceled`. Throws only for outages.
 */
export async function cancelTransfer(
  options: CancelOptions,
  ref: TransferRef,
): Promise<CancelResult> {
  const transfer = await endUnmoved(options, ref, { status: 'canceled', failureCode: null })
  if (transfer === undefined) return { result: 'not_found' }
  return { result: transfer.status === 'canceled' ? 'canceled' : 'already_settled', transfer }
}

/**
 * Ends a transfer that cannot be carried out as `failed: internal_error`: an operator's decision about
 * a command that throws however often it is tried. Returns the transfer as it is then: a settlement
 * may have won. Undefined where this version cannot read the command, or there is none.
 */
export function failTransfer(
  options: CancelOptions,
  ref: TransferRef,
): Promise<Transfer | undefined> {
  return endUnmoved(options, ref, { status: 'failed', failureCode: 'internal_error' })
}

type Ending =
  | { status: 'canceled'; failureCode: null }
  | { status: 'failed'; failureCode: 'internal_error' }

async function endUnmoved(
  { pool, newId }: CancelOptions,
  ref: TransferRef,
  ending: Ending,
): Promise<Transfer | undefined> {
  const [transfer] = await inTransaction(pool, {}, async (tx) => {
    const accepted = await findAcceptedCommand(tx, ref)
    if (accepted !== undefined) {
      await insertEnded(tx, accepted, ending, newId())
      // Only of a command that is ended by now: one that only a newer process can read stays put
      // aside, since behind the sweep's watermark nothing else would ever find it again.
      await tx.query('DELETE FROM deferred WHERE tenant_id = $1 AND transfer_id = $2', [
        ref.tenantId,
        ref.transferId,
      ])
    }
    // A new statement: it sees the settlement that the insert waited for.
    return findSettled(tx, [ref])
  })
  return transfer
}

/** Does nothing where the transfer is settled: here the other one may win, since no money moves. */
async function insertEnded(
  tx: Tx,
  { tenantId, id, idempotencyKey, acceptedAt, command }: AcceptedCommand,
  { status, failureCode }: Ending,
  settlementId: string,
): Promise<void> {
  await tx.query(
    `INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, source, destination,
                            amount, currency, description, metadata, settlement_id, created_at,
                            failure_code, settled_at)
     VALUES ($1, $2, $3, $4, $13, $5, $6, $7, $8, $9, $10, $11, $12, $14,
             date_trunc('milliseconds', clock_timestamp()))
     ON CONFLICT DO NOTHING`,
    [
      tenantId,
      id,
      idempotencyKey,
      command.kind,
      command.source,
      command.destination,
      command.amount,
      command.currency,
      command.description,
      metadataText(command.metadata),
      settlementId,
      acceptedAt,
      status,
      failureCode,
    ],
  )
}
