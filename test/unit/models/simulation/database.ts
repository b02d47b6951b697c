import { accountKey, type AccountState, type Entry } from '@payonce/core/ledger/books'
import type { ParentState } from '@payonce/core/ledger/apply'
import type { NewEvent } from '@payonce/core/events/event'
import type { AcceptedCommand } from '@payonce/core/transfers/transfer'
import type { Operation } from '../../../../storm/history.ts'
import type { Random } from '../seeded-random.ts'

/*
 * Postgres as the protocol knows it: READ COMMITTED, row locks that wait, unique keys that wait for
 * whoever has inserted the same and not committed, connections that break, and answers to COMMIT that
 * get lost. Every wait and every round trip is a `yield`, at which anything else may happen.
 */

export type Steps<T> = Generator<undefined, T, undefined>

/** The connection is gone, and with it the transaction: whatever it was, nothing of it remains. */
export class ConnectionLost extends Error {}
/** COMMIT was sent, and nobody knows what became of it. */
export class AmbiguousCommit extends Error {}
/** Thrown by the thousand: to make each anew, with its stack, would be half of the work. */
const connectionLost = new ConnectionLost('the session was ended')
const ambiguousCommit = new AmbiguousCommit('nobody knows what became of COMMIT')

export class UniqueViolation extends Error {}
export class Deadlock extends Error {}

/** What the protocol does again. Anything else that is thrown is a bug. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof ConnectionLost || error instanceof AmbiguousCommit || error instanceof Deadlock
  )
}

export type StoredRequest = {
  accepted: AcceptedCommand
  body: string
  operation: Operation & { kind: 'post' }
}

export type TransferRow = ParentState & {
  idempotencyKey: string
  failureCode: string | null
  eventCount: number
  versions: readonly { source: bigint; destination: bigint }[]
}

export class Database {
  /** By idempotency key. */
  readonly requests = new Map<string, StoredRequest>()
  readonly commands = new Map<string, AcceptedCommand>()
  /** Every row that was ever inserted: where there is no unique key, a key may have two. */
  readonly inserted: TransferRow[] = []
  readonly transfers = new Map<string, TransferRow>()
  readonly accounts = new Map<string, AccountState>()
  readonly entries: Entry[] = []
  readonly events: NewEvent[] = []
  /** Commands that wait for funds: when each is tried again, and whose credit it waits for. */
  readonly deferred = new Map<string, { nextDueMs: number; awaits: string }>()
  readonly names = new Set<string>()
  readonly open = new Set<Transaction>()
  readonly locks = new Map<string, Transaction>()
  readonly claims = new Map<string, Transaction>()
  deadlocks = 0
  /** Below zero, or beyond what is allowed, at any commit. */
  readonly overdrawn: string[] = []
  nowMs = Date.parse('2026-01-01T00:00:00.000Z')
  /** While true, commits may fail and their answers get lost. */
  isStormy = true
  readonly random: Random

  constructor(random: Random, accounts: readonly AccountState[]) {
    this.random = random
    for (const account of accounts) {
      this.accounts.set(accountKey(account.tenantId, account.id), account)
    }
  }

  begin(owner: object): Transaction {
    const tx = new Transaction(this, owner)
    this.open.add(tx)
    return tx
  }

  /** The server ends a session, or notices that its client is dead. */
  abort(tx: Transaction): void {
    if (tx.isOver) return
    tx.isOver = true
    this.#forget(tx)
  }

  commit(tx: Transaction): void {
    tx.isOver = true
    for (const write of tx.writes) write()
    for (const name of tx.claimed) this.names.add(name)
    this.#forget(tx)
  }

  setAccount(account: AccountState): void {
    const { id, kind, balance, held, overdraftLimit, tenantId } = account
    if (kind === 'internal' && balance - held < -overdraftLimit) {
      this.overdrawn.push(`${id} has ${balance} - ${held}`)
    }
    this.accounts.set(accountKey(tenantId, id), account)
  }

  #forget(tx: Transaction): void {
    for (const name of tx.locked) if (this.locks.get(name) === tx) this.locks.delete(name)
    for (const name of tx.claimed) if (this.claims.get(name) === tx) this.claims.delete(name)
    this.open.delete(tx)
  }
}

export class Transaction {
  isOver = false
  waitsFor: Transaction | undefined
  readonly locked: string[] = []
  readonly claimed: string[] = []
  readonly writes: (() => void)[] = []
  readonly owner: object
  readonly startedMs: number
  readonly #database: Database

  constructor(database: Database, owner: object) {
    this.#database = database
    this.owner = owner
    this.startedMs = database.nowMs
  }

  /** One round trip: afterwards the connection is still there, or this throws. */
  *trip(): Steps<void> {
    yield
    this.#requireOpen()
  }

  /** Locks a row, after whoever has it. */
  *lock(name: string): Steps<void> {
    yield* this.#waitWhileHeld(this.#database.locks, name)
    this.#database.locks.set(name, this)
    this.locked.push(name)
  }

  /** Inserts a unique name. Throws where it is taken; waits while that is open. */
  *claim(name: string): Steps<void> {
    if (!(yield* this.claimIfFree(name))) throw new UniqueViolation(name)
  }

  /** As `claim`, ON CONFLICT DO NOTHING: false where the name is taken. */
  *claimIfFree(name: string): Steps<boolean> {
    yield* this.#waitWhileHeld(this.#database.claims, name)
    const isTaken = this.#database.names.has(name) || this.#database.claims.get(name) === this
    if (isTaken) return false
    this.#database.claims.set(name, this)
    this.claimed.push(name)
    return true
  }

  /** Takes effect at the commit. */
  write(change: () => void): void {
    this.writes.push(change)
  }

  *commit(): Steps<void> {
    yield* this.trip()
    const { random, isStormy } = this.#database
    if (isStormy && random.happens(0.04)) {
      this.#database.abort(this)
      throw ambiguousCommit
    }
    this.#database.commit(this)
    yield
    if (isStormy && random.happens(0.06)) throw ambiguousCommit
  }

  *#waitWhileHeld(holders: ReadonlyMap<string, Transaction>, name: string): Steps<void> {
    this.#requireOpen()
    for (;;) {
      const holder = holders.get(name)
      if (holder === undefined || holder === this) break
      this.waitsFor = holder
      if (this.#isInCircle()) {
        this.#database.deadlocks += 1
        this.#database.abort(this)
        throw new Deadlock(name)
      }
      yield
      this.#requireOpen()
    }
    this.waitsFor = undefined
  }

  #isInCircle(): boolean {
    let next = this.waitsFor
    while (next !== undefined && next !== this) next = next.isOver ? undefined : next.waitsFor
    return next === this
  }

  #requireOpen(): void {
    if (this.isOver) throw connectionLost
  }
}
