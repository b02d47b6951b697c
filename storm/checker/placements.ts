import {
  accountName,
  compareBigints,
  groupBy,
  hasMoved,
  legsOf,
  type Evidence,
} from './evidence.ts'
import type { BookedTransfer } from '../books.ts'

/*
 * Where in an account's versions something stands. What changed the account made a version; what was
 * refused, or touched only the other account, was judged at one, after whatever made it.
 */

export type Placement = {
  account: string
  version: bigint
  /** Whether it made this version, and not only looked at it. */
  isMaker: boolean
  /** How many versions it made, the last of them `version`: several legs make several. */
  made: bigint
}

export type Step = { cause: Cause; placements: Placement[] }

/** What happened. Expiries and changes of an account have no row among the transfers. */
export type Cause =
  | { type: 'transfer'; transfer: BookedTransfer }
  | { type: 'expiry'; hold: BookedTransfer }
  | { type: 'account'; account: string; status: string | undefined; limit: bigint | undefined }

/** Holds as the accounts see them: one that expired after it was held had reserved its amount. */
function wasHeld({ id, kind, status }: BookedTransfer, heldIds: ReadonlySet<string>): boolean {
  if (kind !== 'hold') return false
  if (status === 'held' || status === 'succeeded' || status === 'released') return true
  return status === 'expired' && heldIds.has(id)
}

/** Every step that has a place in the versions of an account. Those judged at no version have none. */
export function placeSteps(evidence: Evidence): Step[] {
  const { books } = evidence
  const heldIds = new Set(
    books.events.filter(({ type }) => type === 'transfer.held').map(({ objectId }) => objectId),
  )
  const settled = books.transfers.flatMap((transfer): Step[] => {
    const placements = placementsOf(transfer, wasHeld(transfer, heldIds))
    const cause: Cause = { type: 'transfer', transfer }
    return placements.length === 0 ? [] : [{ cause, placements }]
  })
  const steps = [...settled, ...placeAccountChanges(evidence)]
  return [...steps, ...placeExpiries(evidence, steps, heldIds)]
}

function placementsOf(transfer: BookedTransfer, wasHeld: boolean): Placement[] {
  const { tenantId, status, kind } = transfer
  if (status === 'canceled') return []
  const reserves = wasHeld || (kind === 'release' && status === 'succeeded')
  const moves = hasMoved(transfer)
  const placements = new Map<string, Placement>()
  const place = (accountId: string, version: bigint | null, isMaker: boolean) => {
    if (version === null) return
    const account = accountName(tenantId, accountId)
    const known = placements.get(account)
    const made = (known?.made ?? 0n) + (isMaker ? 1n : 0n)
    placements.set(account, { account, version, made, isMaker: made > 0n })
  }
  for (const leg of legsOf(transfer)) {
    place(leg.source, leg.sourceVersion, moves || reserves)
    place(leg.destination, leg.destinationVersion, moves)
  }
  return [...placements.values()]
}

/** An account's own event tells the version that it made, where it changed status or limit. */
function placeAccountChanges({ books }: Evidence): Step[] {
  const limits = new Map<string, bigint>()
  for (const { tenantId, accountId, overdraftLimit } of books.limits) {
    const account = accountName(tenantId, accountId)
    if (!limits.has(account)) limits.set(account, overdraftLimit)
  }
  const statuses = new Map<string, string>()
  return books.events.flatMap(({ type, tenantId, objectId, state }) => {
    const account = accountName(tenantId, objectId)
    const after = type === 'account.updated' ? readState(state) : undefined
    if (after === undefined) return []
    const { status, limit, version } = after
    const isSame = (statuses.get(account) ?? 'open') === status && limits.get(account) === limit
    statuses.set(account, status)
    limits.set(account, limit)
    if (isSame) return []
    const cause: Cause = { type: 'account', account, status, limit }
    return [{ cause, placements: [makerOf(account, version)] }]
  })
}

function readState(state: unknown) {
  const { version, status, overdraft_limit: limit } = (state ?? {}) as Record<string, unknown>
  if (typeof version !== 'number' || typeof limit !== 'number') return undefined
  return { version: BigInt(version), limit: BigInt(limit), status: String(status) }
}

function makerOf(account: string, version: bigint): Placement {
  return { account, version, isMaker: true, made: 1n }
}

/**
 * The end of a hold's time makes a version and notes it nowhere. But the versions that nothing else
 * made are these, and the events of the expiries stand in the same order.
 */
function placeExpiries(evidence: Evidence, steps: readonly Step[], heldIds: Set<string>): Step[] {
  const expired = evidence.books.events.flatMap(({ type, objectId }) => {
    const hold = evidence.transfers.get(objectId)
    return type === 'transfer.expired' && hold !== undefined && heldIds.has(objectId) ? [hold] : []
  })
  const sourceOf = ({ tenantId, source }: BookedTransfer) => accountName(tenantId, source ?? '')
  if (expired.length === 0) return []
  const chains = chainsOf(steps)
  return [...groupBy(expired, sourceOf)].flatMap(([account, holds]) => {
    const last = evidence.accounts.get(account)?.version ?? 0n
    const free = freeVersions(chains.get(account) ?? [], last)
    return holds.flatMap((hold, index) => {
      const version = free[index]
      if (version === undefined) return []
      return [{ cause: { type: 'expiry', hold } as const, placements: [makerOf(account, version)] }]
    })
  })
}

/** The versions up to the last that no step of the chain made. */
function freeVersions(chain: readonly Placed[], last: bigint): bigint[] {
  const made = new Set<bigint>()
  for (const { placement } of chain) {
    if (!placement.isMaker) continue
    for (let back = 0n; back < placement.made; back += 1n) made.add(placement.version - back)
  }
  const free: bigint[] = []
  for (let version = 1n; version <= last; version += 1n) if (!made.has(version)) free.push(version)
  return free
}

export type Placed = { step: Step; placement: Placement }

/**
 * The steps of each account in the order in which they came: what made a version stands before what
 * was judged at it.
 */
export function chainsOf(steps: readonly Step[]): ReadonlyMap<string, Placed[]> {
  const chains = new Map<string, Placed[]>()
  for (const step of steps) {
    for (const placement of step.placements) {
      const chain = chains.get(placement.account)
      if (chain === undefined) chains.set(placement.account, [{ step, placement }])
      else chain.push({ step, placement })
    }
  }
  for (const chain of chains.values()) {
    chain.sort((a, b) => compareBigints(rankOf(a.placement), rankOf(b.placement)))
  }
  return chains
}

/** Equal for two that were judged at the same version, in whichever order. */
export function rankOf({ version, isMaker }: Placement): bigint {
  return version * 2n + (isMaker ? 0n : 1n)
}

/** How a step is called where it is told of. */
export function nameOf({ cause }: Step): string {
  switch (cause.type) {
    case 'transfer':
      return `${cause.transfer.kind} ${cause.transfer.id} (${cause.transfer.status})`
    case 'expiry':
      return `the expiry of hold ${cause.hold.id}`
    case 'account':
      return `a change of account ${cause.account}`
  }
}
