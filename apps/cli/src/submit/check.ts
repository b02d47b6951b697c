import { stat } from 'node:fs/promises'
import { createFingerprints, createLineSet, type LineSet } from './fingerprints.ts'
import { accountReference, type AccountIdentity } from './keys.ts'
import type { Order } from './order.ts'
import { readOrders, type OrderFile, type OrderLine } from './orders.ts'
import { FileError, messageOf } from './stop.ts'

/**
 * Reads the whole file and tells whether it can be sent: every row an order, and no order id
 * twice with different content. A row that repeats an order exactly is noted, to be left out of
 * the sending. Memory is bounded: where the file has more than `maxOrderIds` orders it is read
 * again for each further window of so many.
 */
export async function checkFile(file: OrderFile, options: CheckOptions = {}): Promise<CheckedFile> {
  const version = await fileVersion(file.path)
  const checked: CheckedFile = {
    version,
    orders: 0,
    total: 0n,
    repeated: createLineSet(),
    problems: [],
    problemCount: 0,
    samples: [],
  }
  const flagged = createLineSet()
  const count = (order: Order) => {
    checked.orders += 1
    checked.total += order.amount
    if (checked.samples.length < SAMPLES) checked.samples.push(order)
    options.onOrder?.(order)
  }

  let next = await readWindow({ from: 1, isFirstPass: true })
  while (next !== undefined) next = await readWindow({ from: next, isFirstPass: false })
  if (checked.orders === 0 && checked.problemCount === 0) note(undefined, 'the file has no orders')
  return checked

  /** Compares the orders from `from` on, as many as fit, with all that follow; returns the next. */
  async function readWindow({ from, isFirstPass }: { from: number; isFirstPass: boolean }) {
    const known = createFingerprints(options.maxOrderIds)
    let position = 0
    let nextWindow: number | undefined
    for await (const { line, order, problem } of readUntilBroken(file)) {
      position += 1
      if (order === undefined) {
        if (isFirstPass) note(line, problem)
        continue
      }
      if (isFirstPass) count(order)
      if (position < from || flagged.has(line)) continue
      const seen = known.add(order.orderId, contentOf(order), line)
      if (seen.kind === 'full') nextWindow ??= position
      if (seen.kind === 'repeated') leaveOut(line, order)
      if (seen.kind === 'changed') note(line, changedOrder(order, seen.line))
      if (seen.kind === 'repeated' || seen.kind === 'changed') flagged.add(line)
    }
    return nextWindow
  }

  function leaveOut(line: number, order: Order): void {
    checked.repeated.add(line)
    checked.orders -= 1
    checked.total -= order.amount
  }

  function note(line: number | undefined, problem: string): void {
    checked.problemCount += 1
    if (checked.problems.length < MAX_PROBLEMS) checked.problems.push({ line, problem })
  }
}

/** Counts the accounts that a file needs, up to about a million and a half of each role. */
export function createAccountCount(currency: string): AccountCount {
  const known = {
    payer: createFingerprints(MAX_ACCOUNTS),
    receiver: createFingerprints(MAX_ACCOUNTS),
  }
  let isComplete = true
  const add = (identity: AccountIdentity) => {
    const seen = known[identity.role].add(accountReference(identity, currency), '', 1)
    if (seen.kind === 'full') isComplete = false
  }
  return {
    add: (order) => {
      add(order.payer)
      add(order.receiver)
    },
    read: () => ({ payers: known.payer.size, receivers: known.receiver.size, isComplete }),
  }
}

/** What tells one state of a file from another, as far as the file system knows. */
export async function fileVersion(path: string): Promise<string> {
  const found = await stat(path).catch((error: unknown) => {
    throw new FileError(`cannot be read: ${messageOf(error)}`)
  })
  if (!found.isFile()) {
    throw new FileError('is not a plain file: it is read twice, so save a stream to a file first')
  }
  return `${found.ino}:${found.size}:${found.mtimeMs}`
}

export type CheckOptions = {
  onOrder?: (order: Order) => void
  /** How many order ids are compared in one pass over the file. */
  maxOrderIds?: number
}

export type CheckedFile = {
  version: string
  /** Orders to send: repetitions are not among them. */
  orders: number
  /** What they move, in minor units. */
  total: bigint
  /** Lines that repeat an earlier order exactly. */
  repeated: LineSet
  /** The first problems, in the order of their finding. */
  problems: Problem[]
  problemCount: number
  samples: Order[]
}

export type Problem = { line: number | undefined; problem: string }

export type AccountCount = {
  add(order: Order): void
  read(): { payers: number; receivers: number; isComplete: boolean }
}

/** Where the file cannot be understood any further, that is its last problem. */
async function* readUntilBroken(
  file: OrderFile,
): AsyncGenerator<OrderLine | { line: number | undefined; order?: never; problem: string }> {
  try {
    yield* readOrders(file)
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    yield { line: error.line, problem: error.message }
  }
}

/** All that a transfer is made of but the order id: the amount as a number, however written. */
function contentOf({ payer, receiver, amount, description, category }: Order): string {
  const parties = [payer.bank, payer.number, receiver.bank, receiver.number]
  return JSON.stringify([...parties, String(amount), description, category])
}

function changedOrder(order: Order, firstLine: number): string {
  return `order id ${JSON.stringify(order.orderId)} already stands on line ${firstLine} with other content: an id names one order, so give one of them another id, or remove it`
}

// Enough to see what is wrong with a file without flooding the terminal.
const MAX_PROBLEMS = 20
const SAMPLES = 3
// 1,572,864 of each role: 42 MB a table.
const MAX_ACCOUNTS = 2_097_152 * 0.75
