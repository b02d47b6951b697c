import canonicalize from 'canonicalize'
import type { CurrencyLeg, Kind, Metadata, TransferCommand } from './transfer.ts'

/*
 * The stored form of commands. It carries a version, and a process that meets a version, kind or
 * member that it does not know leaves the command for a newer worker: see `decodeCommand`.
 */

/** The version that this process writes, and the only one that it can read. */
const commandVersion = 1

/** What is stored: members that say nothing are left out, and amounts are exact up to 2^53 - 1. */
type StoredCommand = {
  v: number
  kind: Kind
  parent_id?: string
  source?: string
  destination?: string
  amount?: number
  currency?: string
  legs?: StoredLeg[]
  description?: string
  metadata?: Metadata
  final?: true
  execute_at?: string
  expires_at?: string
  on_insufficient_funds?: { retry_until: string }
  if?: { source_balance_at_least?: number; source_version?: number }
  atomic_batch_id?: string
  callback_url?: string
}

type StoredLeg = Omit<CurrencyLeg, 'amount'> & { amount: number }

const knownMembers: Record<keyof StoredCommand, true> = {
  v: true,
  kind: true,
  parent_id: true,
  source: true,
  destination: true,
  amount: true,
  currency: true,
  legs: true,
  description: true,
  metadata: true,
  final: true,
  execute_at: true,
  expires_at: true,
  on_insufficient_funds: true,
  if: true,
  atomic_batch_id: true,
  callback_url: true,
}

const knownLegMembers: Record<keyof StoredLeg, true> = {
  source: true,
  destination: true,
  amount: true,
  currency: true,
}

const knownConditions: Record<keyof NonNullable<StoredCommand['if']>, true> = {
  source_balance_at_least: true,
  source_version: true,
}

const knownRetryMembers = { retry_until: true }

const knownKinds: Record<Kind, true> = {
  transfer: true,
  hold: true,
  capture: true,
  release: true,
  refund: true,
}

export function encodeCommand(command: TransferCommand): string {
  return JSON.stringify(toStored(command))
}

function toStored(command: TransferCommand): StoredCommand {
  const { condition, metadata } = command
  return withoutAbsent({
    v: commandVersion,
    kind: command.kind,
    parent_id: command.parentId ?? undefined,
    source: command.source ?? undefined,
    destination: command.destination ?? undefined,
    amount: command.amount === null ? undefined : Number(command.amount),
    currency: command.currency ?? undefined,
    legs: command.legs?.map((leg) => ({ ...leg, amount: Number(leg.amount) })),
    description: command.description ?? undefined,
    metadata: Object.keys(metadata).length === 0 ? undefined : metadata,
    final: command.isFinal ? true : undefined,
    execute_at: command.executeAt?.toISOString(),
    expires_at: command.expiresAt?.toISOString(),
    on_insufficient_funds: command.retryFundsUntil
      ? { retry_until: command.retryFundsUntil.toISOString() }
      : undefined,
    if:
      condition === null
        ? undefined
        : withoutAbsent({
            source_balance_at_least: toNumber(condition.sourceBalanceAtLeast),
            source_version: toNumber(condition.sourceVersion),
          }),
    atomic_batch_id: command.atomicBatchId ?? undefined,
    callback_url: command.callbackUrl ?? undefined,
  })
}

type WithoutAbsent<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** JSON leaves out what is undefined; this says so to the types. */
function withoutAbsent<T extends object>(members: T): WithoutAbsent<T> {
  return members as WithoutAbsent<T>
}

function toNumber(value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : Number(value)
}

/**
 * Reads a stored command. Returns undefined where it has a version, kind or member that this
 * process does not know: a newer process wrote it, and only a newer worker may settle it.
 */
export function decodeCommand(stored: unknown): TransferCommand | undefined {
  if (typeof stored !== 'object' || stored === null) return undefined
  const command = stored as StoredCommand
  if (command.v !== commandVersion || !Object.hasOwn(knownKinds, command.kind)) return undefined
  if (!hasOnlyKnown(command)) return undefined
  const condition = command.if
  return {
    kind: command.kind,
    parentId: command.parent_id ?? null,
    source: command.source ?? null,
    destination: command.destination ?? null,
    amount: command.amount === undefined ? null : BigInt(command.amount),
    currency: command.currency ?? null,
    legs: command.legs?.map((leg) => ({ ...leg, amount: BigInt(leg.amount) })) ?? null,
    description: command.description ?? null,
    metadata: command.metadata ?? {},
    isFinal: command.final ?? false,
    executeAt: toDate(command.execute_at),
    expiresAt: toDate(command.expires_at),
    retryFundsUntil: toDate(command.on_insufficient_funds?.retry_until),
    condition:
      condition === undefined
        ? null
        : {
            ...(condition.source_balance_at_least === undefined
              ? {}
              : { sourceBalanceAtLeast: BigInt(condition.source_balance_at_least) }),
            ...(condition.source_version === undefined
              ? {}
              : { sourceVersion: BigInt(condition.source_version) }),
          },
    atomicBatchId: command.atomic_batch_id ?? null,
    callbackUrl: command.callback_url ?? null,
  }
}

/** What a newer process added deep inside counts as much: a condition unread is one not kept. */
function hasOnlyKnown(command: StoredCommand): boolean {
  return (
    hasOnly(command, knownMembers) &&
    (command.legs ?? []).every((leg) => hasOnly(leg, knownLegMembers)) &&
    hasOnly(command.if ?? {}, knownConditions) &&
    hasOnly(command.on_insufficient_funds ?? {}, knownRetryMembers)
  )
}

function hasOnly(members: object, known: object): boolean {
  return Object.keys(members).every((member) => Object.hasOwn(known, member))
}

function toDate(text: string | undefined): Date | null {
  return text === undefined ? null : new Date(text)
}

/**
 * The names, as JSON pointers, of the members in which two commands differ. None where they ask for
 * the same in other words: a default that was spelled out, or null for a member left out.
 */
export function differingMembers(a: TransferCommand, b: TransferCommand): string[] {
  const [left, right] = [a, b].map((command) => new Map(Object.entries(toStored(command))))
  const names = new Set([...(left?.keys() ?? []), ...(right?.keys() ?? [])])
  return [...names]
    .filter((name) => canonicalText(left?.get(name)) !== canonicalText(right?.get(name)))
    .map((name) => `/${name}`)
}

function canonicalText(value: unknown): string {
  return value === undefined ? '' : (canonicalize(value) ?? '')
}
