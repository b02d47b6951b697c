import { formatAmount } from './amount.ts'

/** Counts what became of each order. */
export function createTally(): Tally {
  return {
    submitted: 0,
    replayed: 0,
    heardLate: 0,
    succeeded: 0,
    failed: new Map(),
    refused: new Map(),
    movedNow: 0n,
    movedBefore: 0n,
    retries: 0,
    lastTrouble: '',
    troubles: [],
  }
}

/** Notes an order that did not succeed: by its code, and with its line among the first of them. */
export function noteTrouble(tally: Tally, kind: 'failed' | 'refused', trouble: Trouble): void {
  tally[kind].set(trouble.code, (tally[kind].get(trouble.code) ?? 0) + 1)
  if (tally.troubles.length < MAX_TROUBLES) tally.troubles.push({ ...trouble, kind })
}

/** Whether each of `orders` ended well, in this run or before. */
export function allSucceeded(tally: Tally, orders: number): boolean {
  return tally.succeeded === orders
}

/** The counts as a table of one line each: a word, then the number. */
export function renderTable(tally: Tally, run: RunFacts): string {
  const accepted = tally.submitted + tally.replayed
  const ended = tally.succeeded + sum(tally.failed)
  const seconds = run.elapsedMs / 1000
  const money = (minorUnits: bigint) =>
    `${minorUnits} minor units (${formatAmount(minorUnits, run)} ${run.currency})`
  const rows: [string, string | number][] = [
    ['orders', run.orders],
    ['repeated in file', run.repeated],
    ['submitted', tally.submitted],
    ['replayed', tally.replayed],
    ...(tally.heardLate > 0 ? [['  sent by this run', tally.heardLate] as [string, number]] : []),
    ['succeeded', tally.succeeded],
    ['failed', sum(tally.failed)],
    ...byCode(tally.failed),
    ['refused', sum(tally.refused)],
    ...byCode(tally.refused),
    ['not settled', accepted - ended],
    ['not answered', run.orders - accepted - sum(tally.refused)],
    ['total moved', money(tally.movedNow)],
    ['moved before', money(tally.movedBefore)],
    ['elapsed', `${seconds.toFixed(1)} s`],
    ['rate', `${seconds > 0 ? (ended / seconds).toFixed(0) : 0} orders/s`],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('')
}

export function sum(counts: ReadonlyMap<string, number>): number {
  let total = 0
  for (const count of counts.values()) total += count
  return total
}

export type Tally = {
  /** Newly accepted by this run. */
  submitted: number
  /** Answered with `Idempotent-Replayed: true`. */
  replayed: number
  /** Those among the replayed that this run itself had sent before, in a try whose answer was lost. */
  heardLate: number
  succeeded: number
  /** By the code of the ledger's refusal, or by the status for transfers that were canceled. */
  failed: Map<string, number>
  /** By the code of the problem with which the request was turned down. */
  refused: Map<string, number>
  /** Minor units moved by what this run had accepted. */
  movedNow: bigint
  /** Minor units moved by what earlier runs had accepted. */
  movedBefore: bigint
  retries: number
  lastTrouble: string
  troubles: (Trouble & { kind: 'failed' | 'refused' })[]
}

export type Trouble = { line: number; orderId: string; code: string; detail: string }

export type RunFacts = {
  orders: number
  repeated: number
  elapsedMs: number
  currency: string
  digits: number
}

function byCode(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].toSorted(([, a], [, b]) => b - a).map(([code, count]) => [`  ${code}`, count])
}

// As many as fit on a screen; the table counts them all.
const MAX_TROUBLES = 20
