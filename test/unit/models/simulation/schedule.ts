import { applyCommands } from '@payonce/core/ledger/apply'
import { encodeId } from '@payonce/core/ids'
import { toLedgerCommand } from '@payonce/core/transfers/ledger-command'
import { transferEvents } from '@payonce/core/transfers/transfer-event'
import { createRandom, type Random } from '../seeded-random.ts'
import { Database, isTransient, type Steps } from './database.ts'
import { findBreaches, type Told } from './breaches.ts'
import { Observer } from './observer.ts'
import { toBooks } from './books.ts'
import {
  accept,
  insertTransfer,
  cancel,
  expireHolds,
  settle,
  sweep,
  tenantId,
  type Mistake,
  type PostOperation,
  type SentRequest,
  type Service,
} from './protocol.ts'
import type { AccountState } from '@payonce/core/ledger/books'
import type { Books } from '../../../../storm/books.ts'
import type { HistoryRecord } from '../../../../storm/history.ts'
import type { TransferCommand } from '@payonce/core/transfers/transfer'

/** What came of one schedule: the breaches of promises, in words. None is what every schedule has to give. */
export type ScheduleResult = {
  breaches: string[]
  /** Faults that hit something, so that a simulation of fair weather shows. */
  faults: number
  steps: number
  settled: number
}

/**
 * Runs one schedule of everything that can happen at once: twin requests, several workers, cancels,
 * expiries, a sweep; at every step somebody may die, and the queue loses, repeats and reorders. Then
 * the weather clears, and what was accepted has to settle. The same seed is the same schedule.
 */
export function runSchedule(seed: number, mistake?: Mistake): ScheduleResult {
  return new Schedule(createRandom(seed), mistake).run()
}

/** The same schedule, with the history and the books that the checker of storms judges by. */
export function recordSchedule(
  seed: number,
  mistake?: Mistake,
): ScheduleResult & { history: readonly HistoryRecord[]; books: Books } {
  const observer = new Observer()
  const schedule = new Schedule(createRandom(seed), mistake, observer)
  const result = schedule.run()
  return { ...result, history: observer.history, books: toBooks(schedule.database) }
}

type Actor = {
  steps: Steps<void>
  /** What a crash of its process leaves to be done. */
  crash: () => void
}

type Wish = {
  key: string
  kind: TransferCommand['kind']
  parentKey: string | undefined
  amount: bigint | null
  source: string
  destination: string
  expiresInMs: number
  /** Until when a lack of funds is waited out, from the beginning; null where it is not. */
  waitsMs: number | null
}

const alice = '01900000-0000-7000-8000-0000000000a0'
const merchant = '01900000-0000-7000-8000-0000000000b0'
const world = '01900000-0000-7000-8000-0000000000c0'
const accountIds = [alice, merchant, world] as const
/** 110: most of the work is done by then, and whatever is not meets the end of the storm. */
const stormySteps = 110
/** Far more than any schedule needs once nothing breaks any more. */
const calmSteps = 4_000

class Schedule {
  readonly #random: Random
  readonly database: Database
  readonly #service: Service
  readonly #clients: Actor[] = []
  readonly #workers: Actor[]
  readonly #told: Told[] = []
  #faults = 0
  #steps = 0
  #tries = 0

  readonly #observer: Observer | undefined

  constructor(random: Random, mistake: Mistake | undefined, observer?: Observer) {
    this.#observer = observer
    this.#random = random
    const limit = random.pick([0n, 0n, 40n])
    this.database = new Database(random, [
      open(alice, limit),
      open(merchant, 0n),
      { ...open(world, 0n), kind: 'external' },
    ])
    const database = this.database
    fund(database, alice, 100n)
    fund(database, merchant, 20n)
    this.#service = { database, queue: [], mistake, thrown: [], watermarkMs: database.nowMs }
    for (const wish of this.#wishes()) this.#sendTwins(wish)
    this.#workers = [1, 2, 3].map(() => this.#employ())
  }

  run(): ScheduleResult {
    for (let step = 0; step < stormySteps && !this.#isDoneAt(step); step += 1) {
      this.#step()
      this.#breakSomething()
    }
    this.database.isStormy = false
    this.#endOrphans()
    for (let step = 0; step < calmSteps && !this.#isDoneAt(step); step += 1) this.#step()
    const { inserted } = this.database
    const breaches = findBreaches(this.#service, this.#told, accountIds)
    return { breaches, faults: this.#faults, steps: this.#steps, settled: inserted.length }
  }

  /** Looked at now and then only, since it looks at everything. */
  #isDoneAt(step: number): boolean {
    const { requests, transfers, open } = this.database
    if (step % 8 !== 0 || this.#clients.length > 0 || open.size > 0) return false
    for (const { accepted } of requests.values()) if (!transfers.has(accepted.id)) return false
    return true
  }

  #step(): void {
    this.#steps += 1
    const random = this.#random
    this.database.nowMs += random.below(3)
    if (random.happens(this.database.isStormy ? 0.04 : 0.15))
      this.#guard(() => sweep(this.#service))
    if (random.happens(0.02)) this.#startExpiry()
    if (this.#observer !== undefined) this.#observer.look(this.database, this.#steps)
    const clients = this.#clients
    const chosen = random.below(clients.length + this.#workers.length)
    const actor = clients[chosen] ?? this.#workers[chosen - clients.length]
    if (actor === undefined) return
    this.#guard(() => {
      if (actor.steps.next().done === true) this.#clients.splice(chosen, 1)
    })
  }

  /** What is thrown here is a bug: outages and lost races were dealt with further down. */
  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#service.thrown.push(error)
    }
  }

  #breakSomething(): void {
    const { queue, database } = this.#service
    const roll = this.#random.next()
    if (roll < 0.03) this.#killClient()
    else if (roll < 0.07) this.#killWorker()
    else if (roll < 0.085) this.#endSession()
    else if (roll < 0.1 && queue.length > 0) this.#count(() => queue.splice(0, queue.length))
    else if (roll < 0.15) this.#count(() => queue.push(...queue.splice(0).toReversed()))
    else if (roll < 0.2) this.#count(() => queue.push(...queue.slice(0, 2)))
    if (this.#random.happens(0.1)) this.#endOrphans()
    database.nowMs += this.#random.happens(0.02) ? 60 : 0
  }

  #count(fault: () => void): void {
    this.#faults += 1
    fault()
  }

  #killClient(): void {
    const chosen = this.#random.below(this.#clients.length)
    const [victim] = this.#clients.splice(chosen, 1)
    if (victim === undefined) return
    this.#faults += 1
    victim.crash()
  }

  #killWorker(): void {
    const index = this.#random.below(this.#workers.length)
    this.#faults += 1
    this.#workers[index]?.crash()
    this.#workers[index] = this.#employ()
  }

  /** The server ends somebody's session in the middle of a transaction. */
  #endSession(): void {
    const open = [...this.database.open]
    const tx = open[this.#random.below(open.length)]
    if (tx === undefined) return
    this.#faults += 1
    this.database.abort(tx)
  }

  readonly #dead = new Set<object>()

  /** The server notices sooner or later that a client is dead; until then its locks stand. */
  #endOrphans(): void {
    for (const tx of this.database.open) if (this.#dead.has(tx.owner)) this.database.abort(tx)
  }

  #employ(): Actor {
    const owner = {}
    let inHand: string[] = []
    const steps = this.#work(owner, (ids) => (inHand = ids))
    const crash = () => {
      this.#dead.add(owner)
      // A stalled job comes back, unless the queue has lost it.
      if (this.#random.happens(0.6)) this.#service.queue.push(...inHand)
    }
    return { steps, crash }
  }

  *#work(owner: object, hold: (ids: string[]) => void): Steps<void> {
    const { queue } = this.#service
    for (;;) {
      const ids = queue.splice(0, 1 + this.#random.below(3))
      hold(ids)
      if (ids.length > 0) {
        yield
        // An exception would end this worker's steps for ever; a real one takes the next job.
        const outcome = yield* this.#settleGuarded(owner, ids)
        if (outcome === 'failed') queue.push(...ids)
      }
      hold([])
      yield
    }
  }

  *#settleGuarded(owner: object, ids: readonly string[]): Steps<'settled' | 'failed'> {
    try {
      return yield* settle(this.#service, owner, ids)
    } catch (error) {
      this.#service.thrown.push(error)
      for (const tx of this.database.open) if (tx.owner === owner) this.database.abort(tx)
      return 'settled'
    }
  }

  #startExpiry(): void {
    const owner = {}
    const crash = () => this.#dead.add(owner)
    this.#clients.push({ steps: this.#expire(owner), crash })
  }

  *#expire(owner: object): Steps<void> {
    try {
      yield* expireHolds(this.#service, owner)
    } catch (error) {
      if (!isTransient(error)) throw error
    }
  }

  #sendTwins(wish: Wish): void {
    const twins = this.#random.pick([1, 1, 2, 3])
    for (let twin = 0; twin < twins; twin += 1) this.#send(wish, this.#random.happens(0.1))
    if (this.#random.happens(0.4)) this.#sendCancel(wish.key)
  }

  #send(wish: Wish, isOther: boolean): void {
    const owner = {}
    let isAnswered = false
    const crash = () => {
      this.#dead.add(owner)
      // Of the answers that nobody got, one in three is never asked for again.
      if (!isAnswered && this.#random.happens(0.66)) this.#send(wish, isOther)
    }
    const steps = this.#request(owner, wish, isOther, () => (isAnswered = true))
    this.#clients.push({ steps, crash })
  }

  *#request(owner: object, wish: Wish, isOther: boolean, seen: () => void): Steps<void> {
    const parentId = yield* this.#parentOf(wish)
    if (parentId === undefined) return
    this.#tries += 1
    const id = idOf(this.#tries)
    const request = toRequest(wish, { id, parentId, isOther })
    const { key, body, operation } = request
    const call = this.#observer?.invoked(operation)
    yield* accept(this.#service, owner, request, (answer) => {
      seen()
      this.#told.push({ key, body, status: answer.status, id: answer.id })
      this.#observer?.answered(call, answer)
    })
  }

  /** A child is sent when its parent's id is known. Undefined where that never comes. */
  *#parentOf({ parentKey }: Wish): Steps<string | null | undefined> {
    if (parentKey === undefined) return null
    for (let patience = 0; patience < 25; patience += 1) {
      const parent = this.database.requests.get(parentKey)
      if (parent !== undefined) return parent.accepted.id
      yield
    }
    return undefined
  }

  #sendCancel(key: string): void {
    const owner = {}
    const crash = () => this.#dead.add(owner)
    this.#clients.push({ steps: this.#cancel(owner, key), crash })
  }

  *#cancel(owner: object, key: string): Steps<void> {
    for (let patience = 0; patience < 12; patience += 1) {
      const id = this.database.requests.get(key)?.accepted.id
      if (id === undefined || this.#random.happens(0.7)) yield
      else {
        const operation = { kind: 'cancel', target: encodeId('transfer', id) } as const
        const call = this.#observer?.invoked(operation)
        const answer = (status: 'canceled' | 'settled') => {
          this.#told.push({ key, body: '', status, id })
          this.#observer?.answered(call, { status, id })
        }
        return yield* cancel(this.#service, owner, id, answer)
      }
    }
  }

  #wishes(): Wish[] {
    const wishes: Wish[] = []
    const count = 3 + this.#random.below(4)
    for (let index = 0; index < count; index += 1) wishes.push(this.#wish(`key-${index}`, wishes))
    return wishes
  }

  #wish(key: string, earlier: readonly Wish[]): Wish {
    const random = this.#random
    const from = random.below(accountIds.length)
    const to = (from + 1 + random.below(accountIds.length - 1)) % accountIds.length
    const way = { source: accountIds[from] ?? alice, destination: accountIds[to] ?? world }
    const amount = BigInt(1 + random.below(90))
    const expiresInMs = random.pick([30, 80, 86_400_000])
    const waitsMs = random.pick([null, null, 60, 250])
    const plain = { key, amount, ...way, expiresInMs, waitsMs, parentKey: undefined }
    const kind = random.pick(['transfer', 'transfer', 'hold', 'child', 'child'] as const)
    if (kind !== 'child') return { ...plain, kind }
    // Half of the children meet at one parent, and have to share what is left of it.
    const parent = random.happens(0.5) ? earlier[0] : earlier[random.below(earlier.length)]
    if (parent === undefined || parent.kind === 'refund' || parent.kind === 'release') {
      return { ...plain, kind: 'transfer' }
    }
    const part = random.happens(0.5) ? BigInt(1 + random.below(40)) : null
    const child = { ...plain, waitsMs: null, parentKey: parent.key }
    if (parent.kind === 'hold') {
      const isRelease = random.happens(0.3)
      const { source, destination } = parent
      const kind = isRelease ? 'release' : 'capture'
      return { ...child, kind, amount: isRelease ? null : part, source, destination }
    }
    const back = { source: parent.destination, destination: parent.source }
    return { ...child, kind: 'refund', amount: part, ...back }
  }
}

/** Ids look as they do in the product, since the checker reads them. */
function idOf(number: number): string {
  return `01900000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
}

function open(id: string, overdraftLimit: bigint): AccountState {
  const empty = { balance: 0n, held: 0n, version: 0n, entryCount: 0n, lastEntryAt: null }
  return { tenantId, id, kind: 'internal', status: 'open', overdraftLimit, ...empty }
}

/** Money that was there before: a transfer like any other, settled before anything goes wrong. */
function fund(database: Database, destination: string, amount: bigint): void {
  const id = idOf(0xf000 + database.inserted.length)
  const now = new Date(database.nowMs)
  const wish = {
    kind: 'transfer',
    source: world,
    destination,
    amount,
    expiresInMs: 0,
    waitsMs: null,
  } as const
  const request = toRequest(
    { ...wish, key: `funds-${destination}`, parentKey: undefined },
    { id, parentId: null, isOther: false },
  )
  const { key, command, body, operation } = request
  const accepted = { tenantId, id, idempotencyKey: key, acceptedAt: now, dueAt: now, command }
  const result = applyCommands({
    accounts: database.accounts,
    parents: new Map(),
    commands: [toLedgerCommand(accepted)],
    now,
  })
  const state = result.settled.get(id)
  const versions = result.outcomes[0]?.versions
  if (state === undefined || versions === undefined) throw new Error('the funds were refused')
  database.requests.set(key, { accepted, body, operation })
  database.commands.set(id, accepted)
  insertTransfer(database, {
    ...state,
    idempotencyKey: key,
    versions,
    failureCode: null,
    eventCount: 1,
  })
  for (const account of result.changed) database.setAccount(account)
  for (const { accountId, seq } of result.entries) database.names.add(`entry ${accountId} ${seq}`)
  database.names.add(`key ${key}`)
  database.names.add(`transfer ${id}`)
  database.entries.push(...result.entries)
  const records = new Map([[id, { callbackUrl: null, eventCount: 1 }]])
  database.events.push(...transferEvents(result.facts, records))
}

function toRequest(
  { key, kind, amount, source, destination, expiresInMs, waitsMs }: Wish,
  { id, parentId, isOther }: { id: string; parentId: string | null; isOther: boolean },
): SentRequest {
  const asked = isOther && kind !== 'release' ? (amount ?? 0n) + 1n : amount
  const command: TransferCommand = {
    kind,
    parentId,
    source,
    destination,
    amount: kind === 'release' ? null : asked,
    currency: 'EUR',
    legs: null,
    description: null,
    metadata: {},
    isFinal: false,
    executeAt: null,
    expiresAt: kind === 'hold' ? new Date(Date.UTC(2026, 0, 1) + 100 + expiresInMs) : null,
    retryFundsUntil: waitsMs === null ? null : new Date(Date.UTC(2026, 0, 1) + waitsMs),
    condition: null,
    atomicBatchId: null,
    callbackUrl: null,
  }
  const operation = toOperation(command, key)
  return { key, id, body: JSON.stringify(operation), operation, command }
}

function toOperation({ kind, ...command }: TransferCommand, key: string): PostOperation {
  const amount = Number(command.amount)
  if (kind === 'transfer' || kind === 'hold') {
    const [source, destination] = [command.source, command.destination].map((id) =>
      encodeId('account', id ?? ''),
    )
    const body = { source: source ?? '', destination: destination ?? '', amount, currency: 'EUR' }
    const held = kind === 'hold' ? { hold: true } : {}
    return { kind: 'post', route: '/v1/transfers', key, body: { ...body, ...held } }
  }
  const target = encodeId('transfer', command.parentId ?? '')
  const body = command.amount === null ? {} : { amount }
  return { kind: 'post', route: `/v1/transfers/:id/${kind}`, target, key, body }
}
