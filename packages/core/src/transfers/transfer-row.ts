import { isRefusalCode } from '../refusals.ts'
import {
  decodeCommand,
  queuedTransfer,
  type AcceptedCommand,
  type Metadata,
  type SettledStatus,
  type Transfer,
} from './transfer.ts'

/** A row of `transfers`, as Postgres gives it. */
export type TransferRow = {
  tenant_id: string
  id: string
  idempotency_key: string
  kind: Transfer['kind']
  status: SettledStatus
  source: string
  destination: string
  amount: bigint
  currency: string
  description: string | null
  metadata: Metadata | null
  failure_code: string | null
  created_at: Date
  settled_at: Date
}

/** A row of `commands`. */
export type CommandRow = {
  tenant_id: string
  id: string
  idempotency_key: string
  accepted_at: Date
  due_at: Date
  command: unknown
}

/** The columns of `TransferRow`, of a table or alias named `transfers`. */
export const transferColumns = `transfers.tenant_id, transfers.id, transfers.idempotency_key,
  transfers.kind, transfers.status, transfers.source, transfers.destination, transfers.amount,
  transfers.currency, transfers.description, transfers.metadata, transfers.failure_code,
  transfers.created_at, transfers.settled_at`

/** The columns of `CommandRow`, of a table or alias named `commands`. */
export const commandColumns = `commands.tenant_id, commands.id, commands.idempotency_key,
  commands.accepted_at, commands.due_at, commands.command`

export function toTransfer(row: TransferRow): Transfer {
  return {
    tenantId: row.tenant_id,
    id: row.id,
    kind: row.kind,
    status: row.status,
    source: row.source,
    destination: row.destination,
    amount: row.amount,
    currency: row.currency,
    description: row.description,
    metadata: row.metadata ?? {},
    idempotencyKey: row.idempotency_key,
    failureCode: toFailureCode(row.failure_code),
    createdAt: row.created_at,
    settledAt: row.settled_at,
  }
}

/** A code that this version does not know was written by a newer one: it is shown as a failure. */
function toFailureCode(code: string | null): Transfer['failureCode'] {
  if (code === null) return null
  return isRefusalCode(code) ? code : 'internal_error'
}

/** Undefined where only a newer version can read the command: see `decodeCommand`. */
export function toAcceptedCommand(row: CommandRow): AcceptedCommand | undefined {
  const command = decodeCommand(row.command)
  if (command === undefined) return undefined
  return {
    tenantId: row.tenant_id,
    id: row.id,
    idempotencyKey: row.idempotency_key,
    acceptedAt: row.accepted_at,
    dueAt: row.due_at,
    command,
  }
}

/** The transfer of a command that is not settled; undefined where only a newer version can read it. */
export function toQueuedTransfer(row: CommandRow): Transfer | undefined {
  const accepted = toAcceptedCommand(row)
  return accepted === undefined ? undefined : queuedTransfer(accepted)
}
