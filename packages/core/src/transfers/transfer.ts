import canonicalize from 'canonicalize'
import type { RefusalCode } from '../refusals.ts'

export type Metadata = Readonly<Record<string, string>>

/** What one accepted request asks for, as it is stored: the part that any version can read. */
export type TransferCommand = {
  kind: 'transfer'
  source: string
  destination: string
  amount: bigint
  currency: string
  description: string | null
  metadata: Metadata
  /** Until when a lack of funds is waited out; null where it ends the transfer at once. */
  retryFundsUntil: Date | null
}

/** A command with the facts of its acceptance. */
export type AcceptedCommand = {
  tenantId: string
  id: string
  idempotencyKey: string
  acceptedAt: Date
  dueAt: Date
  command: TransferCommand
}

export type SettledStatus = 'succeeded' | 'failed' | 'canceled'
export type TransferStatus = 'queued' | SettledStatus

/** One command, one transfer, one id: accepted, and perhaps settled. */
export type Transfer = {
  tenantId: string
  id: string
  kind: TransferCommand['kind']
  status: TransferStatus
  source: string
  destination: string
  amount: bigint
  currency: string
  description: string | null
  metadata: Metadata
  idempotencyKey: string
  failureCode: RefusalCode | null
  createdAt: Date
  settledAt: Date | null
}

/** The transfer of a command that has been accepted and not settled. */
export function queuedTransfer(accepted: Omit<AcceptedCommand, 'dueAt'>): Transfer {
  const { retryFundsUntil: _, ...command } = accepted.command
  return {
    ...command,
    tenantId: accepted.tenantId,
    id: accepted.id,
    status: 'queued',
    idempotencyKey: accepted.idempotencyKey,
    failureCode: null,
    createdAt: accepted.acceptedAt,
    settledAt: null,
  }
}

export function isSettled(transfer: Transfer): boolean {
  return transfer.status !== 'queued'
}

/** The version that this process writes, and the only one that it can read. */
const commandVersion = 1

/** The stored form of a command. Amounts are JSON numbers: they are exact up to 2^53 - 1. */
export function encodeCommand(command: TransferCommand): string {
  const { metadata, description, amount, retryFundsUntil, ...rest } = command
  return JSON.stringify({
    v: commandVersion,
    ...rest,
    amount: Number(amount),
    ...(description === null ? {} : { description }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(retryFundsUntil === null
      ? {}
      : { on_insufficient_funds: { retry_until: retryFundsUntil.toISOString() } }),
  })
}

const knownMembers = new Set([
  'v',
  'kind',
  'source',
  'destination',
  'amount',
  'currency',
  'description',
  'metadata',
  'on_insufficient_funds',
])

type StoredCommand = Pick<TransferCommand, 'kind' | 'source' | 'destination' | 'currency'> & {
  v: number
  amount: number
  description?: string
  metadata?: Metadata
  on_insufficient_funds?: { retry_until: string }
}

/**
 * Reads a stored command. Returns undefined where it has a version, kind or member that this
 * process does not know: a newer process wrote it, and only a newer worker may settle it.
 */
export function decodeCommand(stored: unknown): TransferCommand | undefined {
  if (typeof stored !== 'object' || stored === null) return undefined
  const command = stored as StoredCommand
  if (command.v !== commandVersion || command.kind !== 'transfer') return undefined
  if (!Object.keys(command).every((member) => knownMembers.has(member))) return undefined
  return {
    kind: command.kind,
    source: command.source,
    destination: command.destination,
    amount: BigInt(command.amount),
    currency: command.currency,
    description: command.description ?? null,
    metadata: command.metadata ?? {},
    retryFundsUntil:
      command.on_insufficient_funds === undefined
        ? null
        : new Date(command.on_insufficient_funds.retry_until),
  }
}

/**
 * The names, as JSON pointers, of the members in which two commands differ. None where they ask for
 * the same in other words: a default that was spelled out, or null for a member left out.
 */
export function differingMembers(a: TransferCommand, b: TransferCommand): string[] {
  const membersOf = (command: TransferCommand) =>
    new Map(Object.entries(JSON.parse(encodeCommand(command)) as Record<string, unknown>))
  const [left, right] = [membersOf(a), membersOf(b)]
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((name) => canonicalText(left.get(name)) !== canonicalText(right.get(name)))
    .map((name) => `/${name}`)
}

function canonicalText(value: unknown): string {
  return value === undefined ? '' : (canonicalize(value) ?? '')
}

/** An empty set of pairs is stored as null: most transfers have none. */
export function metadataText(metadata: Metadata): string | null {
  return Object.keys(metadata).length === 0 ? null : JSON.stringify(metadata)
}
