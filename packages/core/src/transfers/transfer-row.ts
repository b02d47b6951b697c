import { isRefusalCode } from '../refusals.ts'
import { decodeCommand } from './command.ts'
import {
  acceptedTransfer,
  type AcceptedCommand,
  type CurrencyLeg,
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
  parent_id: string | null
  source: string | null
  destination: string | null
  amount: bigint | null
  currency: string | null
  legs: LegRow[] | null
  description: string | null
  metadata: Metadata | null
  captured_amount: bigint
  refunded_amount: bigint
  execute_at: Date | null
  expires_at: Date | null
  failure_code: string | null
  created_at: Date
  settled_at: Date
}

/** A leg as it lies in `transfers.legs`. */
export type LegRow = Omit<CurrencyLeg, 'amount'> & {
  amount: number
  source_version?: number
  destination_version?: number
}

/** A row of `commands`, with whether its time had come when it was read. */
export type CommandRow = {
  tenant_id: string
  id: string
  idempotency_key: string
  accepted_at: Date
  due_at: Date | null
  command: unknown
}

/** The columns of `TransferRow`, of a table or alias named `transfers`. */
export const transferColumns = `transfers.tenant_id, transfers.id, transfers.idempotency_key,
  transfers.kind, transfers.status, transfers.parent_id, transfers.source, transfers.destination,
  transfers.amount, transfers.currency, transfers.legs, transfers.description, transfers.metadata,
  transfers.captured_amount, transfers.refunded_amount, transfers.execute_at, transfers.expires_at,
  transfers.failure_code, transfers.created_at, transfers.settled_at`

/** The columns of `CommandRow`, of a table or alias named `commands`. */
export const commandColumns = `commands.tenant_id, commands.id, commands.idempotency_key,
  commands.accepted_at, commands.due_at, commands.command`

export function toTransfer(row: TransferRow): Transfer {
  return {
    tenantId: row.tenant_id,
    id: row.id,
    kind: row.kind,
    status: row.status,
    parentId: row.parent_id,
    source: row.source,
    destination: row.destination,
    amount: row.amount,
    currency: row.currency,
    legs: row.legs?.map(toLeg) ?? null,
    description: row.description,
    metadata: row.metadata ?? {},
    capturedAmount: row.captured_amount,
    refundedAmount: row.refunded_amount,
    executeAt: row.execute_at,
    expiresAt: row.expires_at,
    idempotencyKey: row.idempotency_key,
    failureCode: toFailureCode(row.failure_code),
    createdAt: row.created_at,
    settledAt: row.settled_at,
  }
}

export function toLeg({ source, destination, amount, currency }: LegRow): CurrencyLeg {
  return { source, destination, amount: BigInt(amount), currency }
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
export function toUnsettledTransfer(row: CommandRow & { now: Date }): Transfer | undefined {
  const accepted = toAcceptedCommand(row)
  return accepted === undefined ? undefined : acceptedTransfer(accepted, row.now)
}
