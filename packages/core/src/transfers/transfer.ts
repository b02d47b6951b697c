import type { RefusalCode } from '../refusals.ts'

/** What a command asks for; a transfer's kind is its command's. */
export type Kind = 'transfer' | 'hold' | 'capture' | 'release' | 'refund'

export type Metadata = Readonly<Record<string, string>>

/** One amount from one account to another, in one currency. */
export type CurrencyLeg = {
  source: string
  destination: string
  amount: bigint
  currency: string
}

/** What has to hold of the source when the transfer is carried out. */
export type TransferCondition = {
  sourceBalanceAtLeast?: bigint
  sourceVersion?: bigint
}

/**
 * What one accepted request asks for. Source, destination, amount and currency are null where there
 * are several legs; the amount is null too where a capture, release or refund takes all that is left.
 */
export type TransferCommand = {
  kind: Kind
  /** The transfer that a capture, release or refund builds on. */
  parentId: string | null
  source: string | null
  destination: string | null
  amount: bigint | null
  currency: string | null
  legs: readonly CurrencyLeg[] | null
  description: string | null
  metadata: Metadata
  /** Whether a capture releases the rest of its hold. */
  isFinal: boolean
  executeAt: Date | null
  expiresAt: Date | null
  /** Until when a lack of funds is waited out; null where it ends the transfer at once. */
  retryFundsUntil: Date | null
  condition: TransferCondition | null
  /** The batch that settles it together with others, all or none; null for all other commands. */
  atomicBatchId: string | null
  /** Where its events are sent besides the tenant's endpoints. */
  callbackUrl: string | null
}

/** A command with the facts of its acceptance. */
export type AcceptedCommand = {
  tenantId: string
  id: string
  idempotencyKey: string
  acceptedAt: Date
  /** When it may be settled; null where only its batch may be. */
  dueAt: Date | null
  command: TransferCommand
}

export type SettledStatus = 'succeeded' | 'failed' | 'canceled' | 'expired' | 'held' | 'released'
export type TransferStatus = 'scheduled' | 'queued' | SettledStatus

/** One command, one transfer, one id: accepted, and perhaps settled. */
export type Transfer = Pick<
  TransferCommand,
  | 'kind'
  | 'parentId'
  | 'source'
  | 'destination'
  | 'amount'
  | 'currency'
  | 'legs'
  | 'description'
  | 'metadata'
  | 'executeAt'
  | 'expiresAt'
> & {
  tenantId: string
  id: string
  status: TransferStatus
  idempotencyKey: string
  /** What was captured of a hold. */
  capturedAmount: bigint
  /** What was refunded; of several legs, which are refunded as a whole, the sum or 0. */
  refundedAmount: bigint
  failureCode: RefusalCode | null
  createdAt: Date
  settledAt: Date | null
}

/** 7 days: how long a hold reserves its amount where its client does not say. */
const defaultHoldMs = 7 * 24 * 3_600_000

/** When a command is given up, or its hold released; null where there is no such time. */
export function expiryOf({
  command,
  acceptedAt,
}: Pick<AcceptedCommand, 'command' | 'acceptedAt'>): Date | null {
  const { kind, executeAt, expiresAt } = command
  if (expiresAt !== null || kind !== 'hold') return expiresAt
  const begin = executeAt !== null && executeAt > acceptedAt ? executeAt : acceptedAt
  return new Date(begin.getTime() + defaultHoldMs)
}

/**
 * The transfer of a command that has been accepted and not settled. Its status is the one at this
 * moment: of acceptance, for the answer to it, so that a replay of it says the same for ever.
 */
export function acceptedTransfer(
  accepted: Omit<AcceptedCommand, 'dueAt'>,
  now: Date = accepted.acceptedAt,
): Transfer {
  const { command } = accepted
  return {
    tenantId: accepted.tenantId,
    id: accepted.id,
    kind: command.kind,
    status: command.executeAt !== null && command.executeAt > now ? 'scheduled' : 'queued',
    parentId: command.parentId,
    source: command.source,
    destination: command.destination,
    amount: command.amount,
    currency: command.currency,
    legs: command.legs,
    description: command.description,
    metadata: command.metadata,
    executeAt: command.executeAt,
    expiresAt: expiryOf(accepted),
    idempotencyKey: accepted.idempotencyKey,
    capturedAmount: 0n,
    refundedAmount: 0n,
    failureCode: null,
    createdAt: accepted.acceptedAt,
    settledAt: null,
  }
}

export function isSettled({ status }: Pick<Transfer, 'status'>): boolean {
  return status !== 'queued' && status !== 'scheduled'
}

/** Whether its status never changes any more. */
export function isTerminal(transfer: Pick<Transfer, 'status'>): boolean {
  return isSettled(transfer) && transfer.status !== 'held'
}

/** Every account that a command or transfer names. */
export function accountsOf({
  source,
  destination,
  legs,
}: Pick<TransferCommand, 'source' | 'destination' | 'legs'>): string[] {
  const named = [
    source,
    destination,
    ...(legs ?? []).flatMap((leg) => [leg.source, leg.destination]),
  ]
  return named.filter((account) => account !== null)
}

/** An empty set of pairs is stored as null: most transfers have none. */
export function nullIfEmpty(metadata: Metadata): Metadata | null {
  return Object.keys(metadata).length === 0 ? null : metadata
}
