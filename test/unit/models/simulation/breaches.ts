import { accountKey, type Leg } from '@payonce/core/ledger/books'
import { tenantId, type Service } from './protocol.ts'
import type { TransferRow } from './database.ts'

/** What somebody was told of a key: that it is accepted, refused, canceled, or settled by others. */
export type Told = {
  key: string
  body: string
  status: 202 | 422 | 503 | 'canceled' | 'settled'
  id: string | undefined
}

type Breach = (text: string) => void

/** Where the promises do not hold after a schedule, each told in words. */
export function findBreaches(
  service: Service,
  told: readonly Told[],
  accounts: readonly string[],
): string[] {
  const breaches: string[] = []
  const breach: Breach = (text) => breaches.push(text)
  for (const error of service.thrown) breach(`thrown: ${String(error)}`)
  if (service.database.deadlocks > 0) breach(`${service.database.deadlocks} deadlocks`)
  for (const text of service.database.overdrawn) breach(`overdrawn: ${text}`)
  checkAnswers(service, told, breach)
  checkKeys(service, breach)
  checkTransfers(service, breach)
  for (const account of accounts) checkAccount(service, account, breach)
  checkParents(service, breach)
  checkEvents(service, breach)
  return breaches
}

/** Accepted is stored, under one id, with the body that was sent; canceled is canceled. */
function checkAnswers({ database }: Service, told: readonly Told[], breach: Breach): void {
  for (const { key, body, status, id } of told) {
    const request = database.requests.get(key)
    if (status === 202 && request?.accepted.id !== id) {
      breach(`${key} was accepted as ${id}, and is stored as ${request?.accepted.id}`)
    }
    if (status === 202 && request !== undefined && request.body !== body) {
      breach(`${key} was accepted for "${body}", and is stored for "${request.body}"`)
    }
    if (status === 422 && request?.body === body) breach(`${key} was refused for its own body`)
    const found = database.transfers.get(id ?? '')?.status
    if (status === 'canceled' && found !== 'canceled')
      breach(`${key} was canceled, and is ${found}`)
    if (status === 'settled' && (found === undefined || found === 'canceled')) {
      breach(`${key} was told settled, and is ${found}`)
    }
  }
}

/** Everything accepted ends, and once. */
function checkKeys({ database }: Service, breach: Breach): void {
  const times = new Map<string, number>()
  for (const { idempotencyKey } of database.inserted) {
    times.set(idempotencyKey, (times.get(idempotencyKey) ?? 0) + 1)
  }
  for (const [key, { accepted }] of database.requests) {
    const count = times.get(key) ?? 0
    if (count === 0) breach(`${key} was accepted and never settled`)
    if (count > 1) breach(`${key} was settled ${count} times`)
    const settled = database.transfers.get(accepted.id)
    if (settled !== undefined && database.deferred.has(accepted.id)) breach(`${key} waits, settled`)
    if (count === 1 && settled?.idempotencyKey !== key) breach(`${key} was settled as another`)
  }
}

/** What moved money has two entries per leg, and nothing else has any. */
function checkTransfers({ database }: Service, breach: Breach): void {
  const found = new Map<string, string[]>()
  for (const { transferId, accountId, amount } of database.entries) {
    found.set(transferId, [...(found.get(transferId) ?? []), `${accountId} ${amount}`])
  }
  for (const transfer of database.transfers.values()) {
    const expected = hasMoved(transfer) ? transfer.legs.flatMap(entriesOf).toSorted() : []
    const own = (found.get(transfer.id) ?? []).toSorted()
    if (own.join() === expected.join()) continue
    breach(`${transfer.id} is ${transfer.status} and has entries ${own.join() || 'none'}`)
  }
  for (const id of found.keys()) if (!database.transfers.has(id)) breach(`${id} has entries only`)
}

function hasMoved({ kind, status }: TransferRow): boolean {
  return status === 'succeeded' && kind !== 'hold' && kind !== 'release'
}

function entriesOf({ source, destination, amount }: Leg): string[] {
  return [`${source} ${-amount}`, `${destination} ${amount}`]
}

/** Balance, chain, version and held amount are what entries and holds say. */
function checkAccount({ database }: Service, id: string, breach: Breach): void {
  const account = database.accounts.get(accountKey(tenantId, id))
  if (account === undefined) throw new Error(`no account ${id}`)
  const entries = database.entries.filter(({ accountId }) => accountId === id)
  let balance = 0n
  let seq = 0n
  for (const entry of entries.toSorted((a, b) => Number(a.seq - b.seq))) {
    balance += entry.amount
    seq += 1n
    if (entry.seq !== seq || entry.balanceAfter !== balance) {
      breach(`${id}: entry ${entry.seq} leaves ${entry.balanceAfter}, expected ${seq}: ${balance}`)
    }
  }
  if (account.balance !== balance || account.entryCount !== seq) {
    breach(
      `${id} has ${account.balance} after ${account.entryCount}, its entries ${balance} after ${seq}`,
    )
  }
  const holds = [...database.transfers.values()].filter(
    ({ kind, legs }) => kind === 'hold' && legs[0]?.source === id,
  )
  const held = holds
    .filter(({ status }) => status === 'held')
    .reduce((sum, { legs, capturedAmount }) => sum + (legs[0]?.amount ?? 0n) - capturedAmount, 0n)
  if (account.held !== held) breach(`${id} holds ${account.held}, its open holds are ${held}`)
}

/** What was captured and refunded is what the children moved. */
function checkParents({ database }: Service, breach: Breach): void {
  const moved = new Map<string, bigint>()
  for (const { id, kind, status, legs } of database.transfers.values()) {
    if (status !== 'succeeded' || (kind !== 'capture' && kind !== 'refund')) continue
    const parentId = database.commands.get(id)?.command.parentId ?? ''
    const name = `${kind} ${parentId}`
    moved.set(name, (moved.get(name) ?? 0n) + (legs[0]?.amount ?? 0n))
  }
  for (const { id, capturedAmount, refundedAmount } of database.transfers.values()) {
    const captured = moved.get(`capture ${id}`) ?? 0n
    const refunded = moved.get(`refund ${id}`) ?? 0n
    if (capturedAmount === captured && refundedAmount === refunded) continue
    breach(
      `${id}: captured ${capturedAmount} of ${captured}, refunded ${refundedAmount} of ${refunded}`,
    )
  }
}

const ends = new Set(['succeeded', 'failed', 'canceled', 'expired', 'released'])

/** Events are numbered without a gap, and each end is told once. */
function checkEvents({ database }: Service, breach: Breach): void {
  for (const { id, status, eventCount } of database.transfers.values()) {
    const own = database.events.filter(({ objectId }) => objectId === id)
    const isInOrder = own.every(({ sequence }, index) => sequence === index + 1)
    if (!isInOrder || own.length !== eventCount) {
      breach(`${id} counts ${eventCount} events, and has ${own.map((one) => one.sequence).join()}`)
    }
    const told = own
      .map(({ type }) => type.slice('transfer.'.length))
      .filter((end) => ends.has(end))
    const expected = status === 'held' ? [] : [status]
    if (told.join() !== expected.join()) breach(`${id} is ${status}, and told ${told.join()}`)
  }
}
