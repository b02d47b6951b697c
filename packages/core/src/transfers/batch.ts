import { inTransaction } from '../db/transaction.ts'
import { isLockTimeout } from '../db/transient.ts'
import { KeyInFlightError, matches, readKeys, type KnownKey } from '../idempotency/known-key.ts'
import { insertRequests } from './request-row.ts'
import type { Clock } from '../clock.ts'
import type { Pool, Queryable, Tx } from '../db/client.ts'
import type { RefusalCode } from '../refusals.ts'
import type { Dispatcher } from '../queue/dispatch.ts'
import type { TransferCommand, TransferStatus } from './transfer.ts'

/** The most items of one batch. */
export const MAX_BATCH_ITEMS = 10_000

export type BatchItemRequest = {
  /** The id that the transfer gets, unless the item's own key is known already. */
  id: string
  idempotencyKey: string
  fingerprint: Buffer
  command: TransferCommand
}

export type BatchRequest = {
  tenantId: string
  id: string
  idempotencyKey: string
  fingerprint: Buffer
  /** All or none, in one transaction; else each item by itself. */
  isAtomic: boolean
  executeAt: Date | null
  expiresAt: Date | null
  /** Where its completion is told besides the tenant's endpoints. */
  callbackUrl: string | null
  items: readonly BatchItemRequest[]
}

/** An item as it was accepted: its transfer, which is an earlier one where its key was known. */
export type AcceptedItem = { transferId: string; isReplay: boolean }

export type BatchAcceptance =
  | { result: 'accepted' | 'replayed'; id: string; createdAt: Date; items: AcceptedItem[] }
  /** The batch's key belongs to another request. */
  | { result: 'mismatched'; known: KnownKey }
  /** The key of one item belongs to another request: nothing of the batch is accepted. */
  | { result: 'item_mismatched'; position: number; known: KnownKey }
  /** The key of one item of an atomic batch was used before, so that it cannot be all or none. */
  | { result: 'item_known'; position: number; known: KnownKey }

export type BatchOptions = { pool: Pool; dispatcher: Dispatcher; clock: Clock }

/** 2 s: what a client waits for a twin before it is told to come back. */
const lockTimeoutMs = 2_000

/**
 * Stores a batch durably under its key, with all of its items or none, and rings for it. Throws
 * `KeyInFlightError` or an outage; the same request may then be sent again.
 */
export async function acceptBatch(
  { pool, dispatcher, clock }: BatchOptions,
  request: BatchRequest,
): Promise<BatchAcceptance> {
  const acceptance = await tryToAccept(pool, request)
  if (acceptance.result !== 'accepted') return acceptance
  clock.observe(acceptance.createdAt)
  const { tenantId, id, idempotencyKey, executeAt } = request
  // What is scheduled for later is rung by the sweep when its time has come.
  const isDueAtOnce = executeAt === null || executeAt <= acceptance.createdAt
  if (isDueAtOnce) dispatcher.ring([{ ref: { tenantId, batchId: id }, idempotencyKey }])
  return acceptance
}

/** Ends the transaction without a trace, and says why. */
class BatchRefused extends Error {
  readonly acceptance: BatchAcceptance
  constructor(acceptance: BatchAcceptance) {
    super(`the batch was ${acceptance.result}`)
    this.acceptance = acceptance
  }
}

async function tryToAccept(pool: Pool, request: BatchRequest): Promise<BatchAcceptance> {
  try {
    return await inTransaction(pool, { lockTimeoutMs }, (tx) => acceptAll(tx, request))
  } catch (error) {
    if (error instanceof BatchRefused) return error.acceptance
    if (isLockTimeout(error)) throw new KeyInFlightError('a key is in flight', { cause: error })
    throw error
  }
}

async function acceptAll(tx: Tx, request: BatchRequest): Promise<BatchAcceptance> {
  const { tenantId, isAtomic, executeAt } = request
  // The batch's key goes in with those of its items, by their order: see insertRequests.
  const inserted = await insertRequests(tx, [
    { ...request, resource: 'batch', isDue: isAtomic, executeAt },
    ...request.items.map((item) => ({
      ...item,
      tenantId,
      resource: 'transfer' as const,
      isDue: !isAtomic,
      executeAt,
    })),
  ])
  const createdAt = inserted.get(request.id) ?? (await replay(tx, request))
  const items = await resolveItems(tx, request, inserted)
  await insertBatch(tx, request, createdAt, items)
  return { result: 'accepted', id: request.id, createdAt, items }
}

/** Leaves the transaction with what is known of the batch's key. */
async function replay(tx: Tx, request: BatchRequest): Promise<never> {
  const [known] = await readKeys(tx, [request])
  if (known === undefined) throw new Error('a key that conflicted is gone')
  if (!matches(known, request.fingerprint)) throw new BatchRefused({ result: 'mismatched', known })
  throw new BatchRefused({
    // The id is this request's own where an earlier try was committed and its answer lost.
    result: known.resourceId === request.id ? 'accepted' : 'replayed',
    id: known.resourceId,
    createdAt: known.acceptedAt,
    items: await readItems(tx, request.tenantId, known.resourceId),
  })
}

async function resolveItems(
  tx: Tx,
  { tenantId, items, isAtomic }: BatchRequest,
  inserted: ReadonlyMap<string, Date>,
): Promise<AcceptedItem[]> {
  const others = items.filter(({ id }) => !inserted.has(id))
  // A second statement: the snapshot of the first may not see the row that it waited for.
  const keys = others.map(({ idempotencyKey }) => ({ tenantId, idempotencyKey }))
  const found = await readKeys(tx, keys)
  const known = new Map(others.map(({ id }, index) => [id, found[index]]))
  return items.map(({ id, fingerprint }, position) => {
    if (inserted.has(id)) return { transferId: id, isReplay: false }
    const earlier = known.get(id)
    if (earlier === undefined) throw new Error('a key that conflicted is gone')
    if (!matches(earlier, fingerprint)) {
      throw new BatchRefused({ result: 'item_mismatched', position, known: earlier })
    }
    if (isAtomic) throw new BatchRefused({ result: 'item_known', position, known: earlier })
    return { transferId: earlier.resourceId, isReplay: true }
  })
}

async function insertBatch(
  tx: Tx,
  { tenantId, id, idempotencyKey, isAtomic, executeAt, expiresAt, callbackUrl }: BatchRequest,
  createdAt: Date,
  items: readonly AcceptedItem[],
): Promise<void> {
  await tx.query(
    `WITH batch AS (
       INSERT INTO transfer_batches (tenant_id, id, idempotency_key, is_atomic, item_count,
                                     execute_at, expires_at, created_at, callback_url,
                                     next_check_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $11, greatest($6::timestamptz, $8::timestamptz))
     )
     INSERT INTO batch_items (tenant_id, batch_id, position, transfer_id, is_replay)
     SELECT $1, $2, position - 1, transfer_id, is_replay
       FROM unnest($9::uuid[], $10::boolean[]) WITH ORDINALITY
         AS item (transfer_id, is_replay, position)`,
    [
      tenantId,
      id,
      idempotencyKey,
      isAtomic,
      items.length,
      executeAt,
      expiresAt,
      createdAt,
      items.map(({ transferId }) => transferId),
      items.map(({ isReplay }) => isReplay),
      callbackUrl,
    ],
  )
}

/** The items of a batch as they were accepted, in the order in which they were sent. */
export async function readItems(
  db: Queryable,
  tenantId: string,
  batchId: string,
): Promise<AcceptedItem[]> {
  const { rows } = await db.query<AcceptedItem>(
    `SELECT transfer_id AS "transferId", is_replay AS "isReplay" FROM batch_items
      WHERE tenant_id = $1 AND batch_id = $2
      ORDER BY position`,
    [tenantId, batchId],
  )
  return rows
}

/** An item with what became of it. */
export type BatchItem = AcceptedItem & {
  idempotencyKey: string | null
  status: TransferStatus
  failureCode: RefusalCode | null
}

export type Batch = {
  tenantId: string
  id: string
  idempotencyKey: string
  isAtomic: boolean
  executeAt: Date | null
  expiresAt: Date | null
  createdAt: Date
  items: BatchItem[]
}

/** Batches without their items, in no particular order. */
export async function findBatchHeads(
  db: Queryable,
  refs: readonly { tenantId: string; id: string }[],
): Promise<Omit<Batch, 'items'>[]> {
  if (refs.length === 0) return []
  const { rows } = await db.query<Omit<Batch, 'items'>>(
    `SELECT ${headColumns} FROM transfer_batches
      WHERE (tenant_id, id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))`,
    [refs.map(({ tenantId }) => tenantId), refs.map(({ id }) => id)],
  )
  return rows
}

const headColumns = `tenant_id AS "tenantId", id, idempotency_key AS "idempotencyKey",
  is_atomic AS "isAtomic", execute_at AS "executeAt", expires_at AS "expiresAt",
  created_at AS "createdAt"`

/** A batch with the outcome of each item, or undefined where the tenant has none such. */
export async function findBatch(
  db: Queryable,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<Batch | undefined> {
  const { rows } = await db.query<Omit<Batch, 'items'> & { isScheduled: boolean }>(
    `SELECT ${headColumns},
            coalesce(execute_at > clock_timestamp(), false) AS "isScheduled"
       FROM transfer_batches
      WHERE tenant_id = $1 AND id = $2`,
    [tenantId, id],
  )
  const row = rows[0]
  if (row === undefined) return undefined
  const { isScheduled, ...batch } = row
  return { ...batch, items: await readOutcomes(db, batch, isScheduled ? 'scheduled' : 'queued') }
}

async function readOutcomes(
  db: Queryable,
  { tenantId, id }: Pick<Batch, 'tenantId' | 'id'>,
  unsettled: TransferStatus,
): Promise<BatchItem[]> {
  const { rows } = await db.query<BatchItem>(
    `SELECT batch_items.transfer_id AS "transferId", is_replay AS "isReplay",
            coalesce(transfers.idempotency_key, commands.idempotency_key) AS "idempotencyKey",
            coalesce(transfers.status, $3) AS status, transfers.failure_code AS "failureCode"
       FROM batch_items
       LEFT JOIN transfers ON transfers.tenant_id = $1 AND transfers.id = batch_items.transfer_id
       LEFT JOIN commands ON transfers.id IS NULL AND commands.tenant_id = $1
                         AND commands.id = batch_items.transfer_id
      WHERE batch_items.tenant_id = $1 AND batch_id = $2
      ORDER BY position`,
    [tenantId, id, unsettled],
  )
  return rows
}
