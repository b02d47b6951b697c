import {
  commandColumns,
  toAcceptedCommand,
  toUnsettledTransfer,
  toTransfer,
  transferColumns,
  type CommandRow,
  type TransferRow,
} from './transfer-row.ts'
import type { Queryable } from '../db/client.ts'
import type { TransferRef } from '../ids.ts'
import type { AcceptedCommand, Transfer } from './transfer.ts'

/** A transfer from the moment of its acceptance on, or undefined where the tenant has none such. */
export async function findTransfer(db: Queryable, ref: TransferRef): Promise<Transfer | undefined> {
  const [settled] = await findSettled(db, [ref])
  if (settled !== undefined) return settled
  const row = await findCommandRow(db, ref)
  const queued = row && toUnsettledTransfer(row)
  if (queued === undefined) return undefined
  // It may have been settled between the two looks: a status never goes back to queued.
  const [settledSince] = await findSettled(db, [ref])
  return settledSince ?? queued
}

/** Those of the transfers that are settled, in no particular order. */
export async function findSettled(
  db: Queryable,
  refs: readonly TransferRef[],
): Promise<Transfer[]> {
  const { rows } = await db.query<TransferRow>(
    `SELECT ${transferColumns}
       FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, id)
      CROSS JOIN LATERAL (
        SELECT * FROM transfers
         WHERE transfers.tenant_id = wanted.tenant_id AND transfers.id = wanted.id
         LIMIT 1
      ) AS transfers`,
    [refs.map(({ tenantId }) => tenantId), refs.map(({ transferId }) => transferId)],
  )
  return rows.map(toTransfer)
}

/** What an accepted request asked for, while its payload is kept and this version can read it. */
export async function findAcceptedCommand(
  db: Queryable,
  ref: TransferRef,
): Promise<AcceptedCommand | undefined> {
  const row = await findCommandRow(db, ref)
  return row && toAcceptedCommand(row)
}

async function findCommandRow(
  db: Queryable,
  ref: TransferRef,
): Promise<(CommandRow & { now: Date }) | undefined> {
  const { rows } = await db.query<CommandRow & { now: Date }>(
    `SELECT ${commandColumns}, clock_timestamp() AS now FROM commands WHERE tenant_id = $1 AND id = $2`,
    [ref.tenantId, ref.transferId],
  )
  return rows[0]
}
