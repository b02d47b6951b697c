import { encodeId } from '@payonce/core/ids'
import { tenantId } from './protocol.ts'
import type { Database } from './database.ts'
import type { Answered, HistoryRecord, Operation } from '../../../../storm/history.ts'

/** Writes down what clients see of a schedule, as the harness of a storm does. */
export class Observer {
  readonly history: HistoryRecord[] = []
  #calls = 0
  /** Reads under way, each with what it will be answered. */
  #reads: Answered[] = []

  invoked(operation: Operation): number {
    this.#calls += 1
    const client = `client-${this.#calls % 3}`
    this.history.push({
      type: 'invoked',
      at: this.history.length,
      call: this.#calls,
      client,
      tenant: tenantId,
      operation,
    })
    return this.#calls
  }

  answered(
    call: number | undefined,
    told: { status: 202 | 422 | 503 | 'canceled' | 'settled'; id?: string },
  ): void {
    if (call === undefined) return
    const id = told.id === undefined ? {} : { id: encodeId('transfer', told.id) }
    const base = { type: 'answered', at: this.history.length, call, isReplay: false } as const
    const bodyHash = `answer about ${told.id}`
    if (told.status === 'canceled') {
      const transferStatus = 'canceled'
      this.history.push({ ...base, ...id, status: 200, bodyHash, transferStatus })
    } else if (told.status === 'settled') {
      this.history.push({ ...base, status: 409, bodyHash, code: 'transfer_already_settled' })
    } else {
      const code = told.status === 422 ? { code: 'idempotency_key_reused' } : {}
      // Which of the twins was first is not told here, and so none says that it was.
      const isReplay = told.status === 202
      this.history.push({ ...base, ...id, ...code, status: told.status, bodyHash, isReplay })
    }
  }

  /** Now and then somebody reads a transfer, or all balances. */
  look(database: Database, step: number): void {
    for (const answer of this.#reads) this.history.push({ ...answer, at: this.history.length })
    this.#reads = []
    if (step % 20 === 0) this.#takeSnapshot(database)
    if (step % 5 !== 0) return
    const accepted = [...database.commands.keys()]
    const id = accepted[(step / 5) % accepted.length]
    if (id === undefined) return
    const target = encodeId('transfer', id)
    const call = this.invoked({ kind: 'read', target })
    const transferStatus = database.transfers.get(id)?.status ?? 'queued'
    const read = { status: 200, bodyHash: '', id: target, transferStatus, isReplay: false }
    this.#reads.push({ type: 'answered', at: 0, call, ...read })
  }

  #takeSnapshot({ accounts }: Database): void {
    const sum = [...accounts.values()].reduce((total, { balance }) => total + balance, 0n)
    const sums = [{ tenant: tenantId, currency: 'EUR', balance: String(sum) }]
    this.history.push({ type: 'snapshot', at: this.history.length, sums })
  }
}
