import { inTransaction } from '../db/transaction.ts'
import { jsonText } from '../db/parameters.ts'
import { recordEvents } from '../events/event.ts'
import { sealSettlement, type SealedTransfer } from '../ledger/seal.ts'
import { endDeferral } from './defer.ts'
import { findAcceptedCommand, findSettled } from './find.ts'
import { expiryOf, nullIfEmpty, type AcceptedCommand, type Transfer } from './transfer.ts'
import type { NewEvent } from '../events/event.ts'
import type { LegRow } from './transfer-row.ts'
import type { Pool, Tx } from '../db/client.ts'
import type { NewId, TransferRef } from '../ids.ts'

export type CancelResult =
  | { result: 'canceled'; transfer: Transfer }
  | { result: 'already_settled'; transfer: Transfer }
  /** Only the whole batch could be canceled, since its items are settled all or none. */
  | { result: 'part_of_atomic_batch' }
  | { result: 'not_found' }

export type CancelOptions = { pool: Pool; newId: NewId; ledgerSecret?: string | undefined }

/**
 * Cancels a transfer that is not settled. It takes the place of the outcome in `transfers`, so that
 * the unique key lets either the cancel or the settlement win, never both. Safe to repeat: a
 * transfer that is canceled already is `canceled`. Throws only for outages.
 */
export async function cancelTransfer(
  options: CancelOptions,
  ref: TransferRef,
): Promise<CancelResult> {
  const ended = await endUnmoved(options, ref, { status: 'canceled', failureCode: null })
  if (ended === 'part_of_atomic_batch') return { result: ended }
  if (ended === undefined) return { result: 'not_found' }
  return {
    result: ended.status === 'canceled' ? 'canceled' : 'already_settled',
    transfer: ended,
  }
}

/**
 * Ends a transfer that cannot be carried out as `failed: internal_error`: an operator's decision about
 * a command that throws however often it is tried. Returns the transfer as it is then: a settlement
 * may have won. Undefined where this version cannot read the command or there is none.
 */
export async function failTransfer(
  options: CancelOptions,
  ref: TransferRef,
): Promise<Transfer | 'part_of_atomic_batch' | undefined> {
  return endUnmoved(options, ref, { status: 'failed', failureCode: 'internal_error' })
}

type Ending =
  | { status: 'canceled'; failureCode: null }
  | { status: 'failed'; failureCode: 'internal_error' }

async function endUnmoved(
  { pool, newId, ledgerSecret }: CancelOptions,
  ref: TransferRef,
  ending: Ending,
): Promise<Transfer | 'part_of_atomic_batch' | undefined> {
  const accepted = await findAcceptedCommand(pool, ref)
  const isPart = accepted !== undefined && accepted.command.atomicBatchId !== null
  const [transfer] = await inTransaction(pool, {}, async (tx) => {
    if (accepted !== undefined && !isPart) {
      const settlementId = newId()
      const ended = await insertEnded(tx, accepted, ending, settlementId)
      // Only of a command that is ended by now: one that only a newer process can read stays put
      // aside, since behind the sweep's watermark nothing else would ever find it again.
      await endDeferral(tx, ref)
      // Last, since the chain is locked until the commit.
      if (ended !== undefined) {
        await recordEvents(tx, [eventOf(accepted, ending)], ended.settledAt)
        await sealSettlement(
          tx,
          { id: settlementId, transfers: [ended], entries: [] },
          ledgerSecret,
        )
      }
    }
    // A new statement: it sees the settlement that the insert waited for.
    return findSettled(tx, [ref])
  })
  return transfer ?? (isPart ? 'part_of_atomic_batch' : undefined)
}

/** Its only one: what was not carried out never changes again. */
function eventOf({ tenantId, id, command }: AcceptedCommand, { status }: Ending): NewEvent {
  const { callbackUrl } = command
  return {
    tenantId,
    type: `transfer.${status}`,
    objectId: id,
    sequence: 1,
    state: null,
    callbackUrl,
  }
}

/** Undefined where the transfer is settled: here the other one may win, since no money moves. */
async function insertEnded(
  tx: Tx,
  accepted: AcceptedCommand,
  { status, failureCode }: Ending,
  settlementId: string,
): Promise<SealedTransfer | undefined> {
  const { command } = accepted
  const legs = command.legs?.map((leg): LegRow => ({ ...leg, amount: Number(leg.amount) })) ?? null
  const metadata = nullIfEmpty(command.metadata)
  const { rows } = await tx.query<{ settled_at: Date }>(
    `INSERT INTO transfers (tenant_id, id, idempotency_key, kind, status, parent_id, source,
                            destination, amount, currency, legs, description, metadata,
                            captured_amount, refunded_amount, execute_at, expires_at,
                            settlement_id, created_at, failure_code, callback_url, settled_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, $14, $15, $16, $17, $18,
             $19, date_trunc('milliseconds', clock_timestamp()))
     ON CONFLICT DO NOTHING
     RETURNING settled_at`,
    [
      accepted.tenantId,
      accepted.id,
      accepted.idempotencyKey,
      command.kind,
      status,
      command.parentId,
      command.source,
      command.destination,
      command.amount,
      command.currency,
      jsonText(legs),
      command.description,
      jsonText(metadata),
      command.executeAt,
      expiryOf(accepted),
      settlementId,
      accepted.acceptedAt,
      failureCode,
      command.callbackUrl,
    ],
  )
  const settledAt = rows[0]?.settled_at
  if (settledAt === undefined) return undefined
  return {
    ...command,
    tenantId: accepted.tenantId,
    id: accepted.id,
    idempotencyKey: accepted.idempotencyKey,
    status,
    legs,
    metadata,
    failureCode,
    sourceVersion: null,
    destinationVersion: null,
    createdAt: accepted.acceptedAt,
    settledAt,
  }
}
