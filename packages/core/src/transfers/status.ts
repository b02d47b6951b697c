import { isTransient } from '../db/transient.ts'
import { createGroupCommit } from '../group-commit.ts'
import { findSettled } from './find.ts'
import type { Queryable } from '../db/client.ts'
import type { TransferRef } from '../ids.ts'
import type { TransferStatus } from './transfer.ts'

/** Tells the present status of a transfer that was accepted. Rejects in an outage. */
export type StatusReader = (ref: TransferRef) => Promise<TransferStatus>

/**
 * Every replay tells the status of its transfer. Those that come together share one query, so that a
 * flood of replays asks the ledger little: one query each had halved the rate of their answers.
 */
export function createStatusReader(db: Queryable): StatusReader {
  async function readStatuses(refs: readonly TransferRef[]): Promise<TransferStatus[]> {
    const settled = await findSettled(db, refs)
    const statuses = new Map(
      settled.map(({ tenantId, id, status }) => [`${tenantId}/${id}`, status]),
    )
    return refs.map(
      ({ tenantId, transferId }) => statuses.get(`${tenantId}/${transferId}`) ?? 'queued',
    )
  }

  const group = createGroupCommit<TransferRef, TransferStatus>({
    flush: readStatuses,
    maxItems: 500,
    maxPending: 20_000,
    isTransient,
  })
  return group.submit
}
