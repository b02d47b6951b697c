import { eventIdOf } from '@payonce/core/events/event'
import { fingerprint } from '@payonce/core/idempotency/fingerprint'
import { encodeId } from '@payonce/core/ids'
import {
  applyCommands,
  type LedgerCommand,
  type LedgerFact,
  type LedgerResult,
  type ParentState,
} from '@payonce/core/ledger/apply'
import { accountKey, type AccountState } from '@payonce/core/ledger/books'
import { createRandom, type Random } from './seeded-random.ts'
import type {
  BookedAccount,
  BookedCommand,
  BookedDelivery,
  BookedEndpoint,
  BookedEntry,
  BookedEvent,
  BookedKey,
  BookedLimit,
  BookedTransfer,
  StoredCommand,
} from '../../../storm/books.ts'
import type { Answered, HistoryRecord, Operation, TransferBody } from '../../../storm/history.ts'

/*
 * Good worlds: a storm over a service that keeps every promise, in one thread, with the history that
 * its observers would write and the books that it would leave. Outcomes are the product's own.
 */

/** As `Books`, to be broken by the tests. */
export type StormBooks = {
  keys: BookedKey[]
  commands: BookedCommand[]
  transfers: BookedTransfer[]
  entries: BookedEntry[]
  accounts: BookedAccount[]
  limits: BookedLimit[]
  deferred: {
    tenantId: string
    transferId: string
    reason: string
    attempts: number
    lastCode: string
  }[]
  attempts: { transferId: string; code: string }[]
  events: BookedEvent[]
  endpoints: BookedEndpoint[]
  deliveries: BookedDelivery[]
}

export type StormWorld = { history: HistoryRecord[]; books: StormBooks }

type PostOperation = Operation & { kind: 'post' }

/** A request that the service has accepted. */
type Request = {
  tenant: string
  id: string
  operation: PostOperation
  command: LedgerCommand
  isHold: boolean
  bodyHash: string
}

const epochMs = Date.parse('2026-01-01T00:00:00.000Z')
const currency = 'EUR'

/** A world of about so many requests. The same seed gives the same world. */
export function makeStormWorld(seed: number, requests = 120): StormWorld {
  const storm = new Storm(createRandom(seed))
  storm.open()
  for (let turn = 0; turn < requests; turn += 1) storm.turn(turn)
  storm.heal()
  return storm.world()
}

class Storm {
  readonly #random: Random
  readonly #history: HistoryRecord[] = []
  /** Answers that are on their way. */
  #underway: Answered[] = []
  readonly #accounts = new Map<string, AccountState>()
  readonly #settled = new Map<string, ParentState>()
  readonly #requests: Request[] = []
  #waiting: Request[] = []
  readonly #tenants: string[] = []
  readonly #eventCounts = new Map<string, number>()
  #ids = 0
  #calls = 0
  #atMs = 0
  readonly #books: StormBooks = {
    keys: [],
    commands: [],
    transfers: [],
    entries: [],
    accounts: [],
    limits: [],
    deferred: [],
    attempts: [],
    events: [],
    endpoints: [],
    deliveries: [],
  }

  constructor(random: Random) {
    this.#random = random
  }

  open(): void {
    for (const tenant of [this.#newId(), this.#newId()]) {
      this.#tenants.push(tenant)
      this.#openAccount(tenant, 'external', 0n)
      for (const limit of [0n, 0n, 300n]) this.#openAccount(tenant, 'internal', limit)
      for (let endpoint = 0; endpoint < 2; endpoint += 1) {
        this.#books.endpoints.push({
          tenantId: tenant,
          id: this.#newId(),
          status: 'enabled',
          eventTypes: null,
          createdAtMs: epochMs,
        })
      }
    }
  }

  #openAccount(tenantId: string, kind: 'internal' | 'external', overdraftLimit: bigint): void {
    const id = this.#newId()
    const empty = { balance: 0n, held: 0n, version: 0n, entryCount: 0n, lastEntryAt: null }
    const account: AccountState = { tenantId, id, kind, overdraftLimit, status: 'open', ...empty }
    this.#accounts.set(accountKey(tenantId, id), account)
    this.#books.limits.push({ tenantId, accountId: id, version: 0n, overdraftLimit })
  }

  turn(turn: number): void {
    if (turn % 10 === 0) this.#observe()
    if (turn % 40 === 15) this.#injectFault(turn)
    this.#settleSome(0.6)
    const roll = this.#random.next()
    if (roll < 0.45 || this.#requests.length === 0) this.#send()
    else if (roll < 0.57) this.#repeat()
    else if (roll < 0.62) this.#repeatOtherwise()
    else if (roll < 0.66) this.#sendBad()
    else if (roll < 0.69) this.#sendIntoOutage()
    else if (roll < 0.74) this.#cancel()
    else if (roll < 0.77) this.#changeAccount()
    else if (roll < 0.8) this.#readOfAnother()
    else this.#read()
    this.#deliverAnswers(0.6)
  }

  heal(): void {
    while (this.#waiting.length > 0) this.#settleSome(1)
    this.#deliverAnswers(1)
    for (const _ of this.#requests.slice(0, 10)) this.#read()
    this.#deliverAnswers(1)
    this.#deliverWebhooks()
    this.#observe()
    const at = this.#tick()
    this.#history.push({
      type: 'exited',
      at,
      process: 'worker-1',
      code: null,
      signal: 'SIGKILL',
      isExpected: true,
    })
  }

  world(): StormWorld {
    const accounts = [...this.#accounts.values()].map((account) => ({ ...account, currency }))
    return { history: this.#history, books: { ...this.#books, accounts } }
  }

  #newId(): string {
    this.#ids += 1
    return `01900000-0000-7000-8000-${this.#ids.toString(16).padStart(12, '0')}`
  }

  #tick(): number {
    this.#atMs += 1 + this.#random.below(20)
    return this.#atMs
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[this.#random.below(items.length)]
  }

  #invoke(tenant: string, operation: Operation): number {
    this.#calls += 1
    const client = `client-${this.#random.below(4)}`
    const at = this.#tick()
    this.#history.push({ type: 'invoked', at, call: this.#calls, client, tenant, operation })
    return this.#calls
  }

  #answer(call: number, status: number, members: Partial<Answered> = {}): void {
    const bodyHash = `${call}-${status}`
    this.#underway.push({
      type: 'answered',
      at: 0,
      call,
      status,
      bodyHash,
      isReplay: false,
      ...members,
    })
  }

  #deliverAnswers(probability: number): void {
    const kept: Answered[] = []
    for (const answer of this.#underway) {
      if (this.#random.happens(probability)) this.#history.push({ ...answer, at: this.#tick() })
      else kept.push(answer)
    }
    this.#underway = kept
  }

  #newOperation(tenant: string): PostOperation {
    const key = `key-${this.#requests.length}-${this.#calls}`
    const own = this.#requests.filter((request) => request.tenant === tenant)
    const holds = own.filter(({ isHold }) => isHold)
    const roll = this.#random.next()
    if (roll < 0.25 && holds.length > 0) {
      const route = this.#random.pick([
        '/v1/transfers/:id/capture',
        '/v1/transfers/:id/capture',
        '/v1/transfers/:id/release',
      ] as const)
      const target = encodeId('transfer', this.#pick(holds)?.id ?? '')
      return { kind: 'post', route, target, key, body: this.#childBody(route.endsWith('capture')) }
    }
    const refundable = own.filter(({ isHold, command }) => !isHold && command.kind !== 'release')
    const parents = refundable.filter(({ command }) => command.kind !== 'refund')
    if (roll < 0.4 && parents.length > 0) {
      const target = encodeId('transfer', this.#pick(parents)?.id ?? '')
      const route = '/v1/transfers/:id/refund'
      return { kind: 'post', route, target, key, body: this.#childBody(true) }
    }
    return { kind: 'post', route: '/v1/transfers', key, body: this.#transferBody(tenant) }
  }

  #childBody(mayHaveAmount: boolean): { amount?: number } {
    return mayHaveAmount && this.#random.happens(0.6) ? { amount: 1 + this.#random.below(80) } : {}
  }

  #transferBody(tenant: string): TransferBody {
    const own = [...this.#accounts.values()].filter(({ tenantId }) => tenantId === tenant)
    const source = this.#random.below(own.length)
    const destination = (source + 1 + this.#random.below(own.length - 1)) % own.length
    return {
      source: encodeId('account', own[source]?.id ?? ''),
      destination: encodeId('account', own[destination]?.id ?? ''),
      amount: 1 + this.#random.below(120),
      currency,
      ...(this.#random.happens(0.3) ? { hold: true } : {}),
      ...(this.#random.happens(0.2) ? { description: 'rent' } : {}),
    }
  }

  #send(): void {
    const tenant = this.#pick(this.#tenants) ?? ''
    const operation = this.#newOperation(tenant)
    const call = this.#invoke(tenant, operation)
    if (this.#random.happens(0.05)) {
      this.#lose(call)
      if (this.#random.happens(0.5)) this.#accept(tenant, operation)
      return
    }
    const request = this.#accept(tenant, operation)
    if (this.#random.happens(0.1)) this.#lose(call)
    else this.#answer(call, 202, acceptanceOf(request))
  }

  #lose(call: number): void {
    this.#history.push({ type: 'lost', at: this.#tick(), call, reason: 'the connection was cut' })
  }

  #accept(tenantId: string, operation: PostOperation): Request {
    const id = this.#newId()
    const { key, body } = operation
    const route =
      operation.route === '/v1/transfers'
        ? operation.route
        : operation.route.replace(':id', operation.target)
    this.#books.keys.push({
      tenantId,
      idempotencyKey: key,
      fingerprint: fingerprint({ method: 'POST', route, body }).toString('hex'),
      resource: 'transfer',
      resourceId: id,
    })
    const command = this.#toCommand(tenantId, id, operation)
    const isHold = command.kind === 'hold'
    const request = { tenant: tenantId, id, operation, command, isHold, bodyHash: `body of ${id}` }
    this.#books.commands.push({ tenantId, id, command: this.#toStored(request) })
    this.#requests.push(request)
    this.#waiting.push(request)
    return request
  }

  #toCommand(tenantId: string, id: string, operation: PostOperation): LedgerCommand {
    const base = { tenantId, id, executeBefore: null }
    if (operation.route !== '/v1/transfers') {
      const parentId = uuidOf(operation.target)
      const amount = operation.body.amount === undefined ? null : BigInt(operation.body.amount)
      if (operation.route.endsWith('refund')) return { ...base, kind: 'refund', parentId, amount }
      if (operation.route.endsWith('release')) return { ...base, kind: 'release', parentId }
      return { ...base, kind: 'capture', parentId, amount, isFinal: false }
    }
    const { source, destination, amount, hold } = operation.body
    const leg = { source: uuidOf(source), destination: uuidOf(destination), amount: BigInt(amount) }
    const free = { ...base, condition: null, retryFundsUntil: null }
    if (hold !== true) return { ...free, kind: 'transfer', legs: [leg] }
    return { ...free, kind: 'hold', leg, holdUntil: new Date(epochMs + 7 * 86_400_000) }
  }

  #toStored({ command, operation, tenant }: Request): StoredCommand {
    const { source, destination } = this.#wayOf(tenant, command)
    const { amount } = operation.body
    return {
      kind: command.kind,
      source,
      destination,
      currency,
      ...(amount === undefined ? {} : { amount }),
      ...('parentId' in command ? { parent_id: command.parentId } : {}),
      ...(operation.route === '/v1/transfers' && operation.body.description !== undefined
        ? { description: operation.body.description }
        : {}),
    }
  }

  #wayOf(tenant: string, command: LedgerCommand): { source: string; destination: string } {
    if (command.kind === 'hold') return command.leg
    if (command.kind === 'transfer') return command.legs[0] ?? { source: '', destination: '' }
    const parent = this.#requests.find(({ id }) => id === command.parentId)
    if (parent === undefined) throw new Error(`tenant ${tenant} has no ${command.parentId}`)
    const way = this.#wayOf(tenant, parent.command)
    if (command.kind !== 'refund') return way
    return { source: way.destination, destination: way.source }
  }

  #repeat(): void {
    const request = this.#pick(this.#requests)
    if (request === undefined) return
    const call = this.#invoke(request.tenant, request.operation)
    const payonceStatus = this.#statusOf(request)
    this.#answer(call, 202, { ...acceptanceOf(request), isReplay: true, payonceStatus })
  }

  #repeatOtherwise(): void {
    const request = this.#pick(this.#requests)
    if (request === undefined) return
    const { operation } = request
    const amount = (operation.body.amount ?? 0) + 1
    const other = { ...operation, body: { ...operation.body, amount } } as PostOperation
    const call = this.#invoke(request.tenant, other)
    this.#answer(call, 422, {
      code: 'idempotency_key_reused',
      id: encodeId('transfer', request.id),
    })
  }

  #sendBad(): void {
    const tenant = this.#pick(this.#tenants) ?? ''
    const call = this.#invoke(tenant, this.#newOperation(tenant))
    this.#answer(call, 422, { code: 'currency_mismatch' })
  }

  #sendIntoOutage(): void {
    const tenant = this.#pick(this.#tenants) ?? ''
    const operation = this.#newOperation(tenant)
    const call = this.#invoke(tenant, operation)
    this.#answer(call, 503, { code: 'service_unavailable' })
    if (this.#random.happens(0.5)) this.#accept(tenant, operation)
  }

  #cancel(): void {
    const request = this.#random.happens(0.5) ? this.#pick(this.#waiting) : undefined
    const target = request ?? this.#pick(this.#requests)
    if (target === undefined) return
    const id = encodeId('transfer', target.id)
    const call = this.#invoke(target.tenant, { kind: 'cancel', target: id })
    if (this.#waiting.includes(target)) this.#endCanceled(target)
    const status = this.#statusOf(target)
    if (status === 'canceled') this.#answer(call, 200, { id, transferStatus: status })
    else this.#answer(call, 409, { code: 'transfer_already_settled' })
  }

  #endCanceled(request: Request): void {
    this.#waiting = this.#waiting.filter((one) => one !== request)
    const { tenant, id, command, operation } = request
    const { source, destination } = this.#wayOf(tenant, command)
    const asked = operation.body.amount
    const leg = { source, destination, amount: BigInt(asked ?? 0) }
    this.#settled.set(id, {
      tenantId: tenant,
      id,
      kind: command.kind,
      status: 'canceled',
      legs: asked === undefined ? [] : [leg],
      capturedAmount: 0n,
      refundedAmount: 0n,
      holdUntil: null,
    })
    this.#book(request, { failureCode: null, amount: null, versions: [] })
    this.#note([{ fact: 'canceled', id, tenantId: tenant, state: null }])
  }

  /** An operator raises a limit, or freezes an account for a while. */
  #changeAccount(): void {
    const account = this.#pick([...this.#accounts.values()])
    if (account === undefined || account.kind === 'external') return
    const { tenantId, id } = account
    const isFrozen = account.status === 'frozen'
    account.version += 1n
    if (isFrozen || this.#random.happens(0.5)) account.status = isFrozen ? 'open' : 'frozen'
    else account.overdraftLimit += 10n
    const { version, overdraftLimit, status } = account
    const limits = this.#books.limits.filter(({ accountId }) => accountId === id)
    if (limits.at(-1)?.overdraftLimit !== overdraftLimit) {
      this.#books.limits.push({ tenantId, accountId: id, version, overdraftLimit })
    }
    this.#books.events.push({
      ...this.#nextEvent(tenantId, id),
      type: 'account.updated',
      state: { status, overdraft_limit: Number(overdraftLimit), version: Number(version) },
    })
  }

  #read(): void {
    const request = this.#pick(this.#requests)
    if (request === undefined) return
    const target = encodeId('transfer', request.id)
    const call = this.#invoke(request.tenant, { kind: 'read', target })
    this.#answer(call, 200, { id: target, transferStatus: this.#statusOf(request) })
  }

  #readOfAnother(): void {
    const request = this.#pick(this.#requests)
    const other = this.#tenants.find((tenant) => tenant !== request?.tenant)
    if (request === undefined || other === undefined) return
    const target = encodeId('transfer', request.id)
    this.#answer(this.#invoke(other, { kind: 'read', target }), 404, { code: 'not_found' })
  }

  #statusOf({ id }: Request): string {
    return this.#settled.get(id)?.status ?? 'queued'
  }

  #settleSome(probability: number): void {
    const flush: Request[] = []
    while (flush.length < 3 && this.#waiting.length > 0 && this.#random.happens(probability)) {
      const index = this.#random.below(this.#waiting.length)
      flush.push(...this.#waiting.splice(index, 1))
    }
    if (flush.length === 0) return
    const commands = flush.map(({ command }) => command)
    const now = new Date(epochMs + this.#atMs)
    const result = applyCommands({
      accounts: this.#accounts,
      parents: this.#settled,
      commands,
      now,
    })
    this.#write(flush, result)
  }

  #write(flush: readonly Request[], result: LedgerResult): void {
    for (const account of result.changed) {
      this.#accounts.set(accountKey(account.tenantId, account.id), account)
    }
    for (const parent of result.changedParents) {
      this.#settled.set(parent.id, parent)
      const row = this.#books.transfers.find(({ id }) => id === parent.id)
      const { status, capturedAmount, refundedAmount } = parent
      Object.assign(row ?? {}, { status, capturedAmount, refundedAmount })
    }
    flush.forEach((request, index) => {
      const state = result.settled.get(request.id)
      const outcome = result.outcomes[index]
      if (state === undefined || outcome === undefined) throw new Error('not judged')
      this.#settled.set(request.id, state)
      this.#book(request, outcome)
    })
    this.#books.entries.push(...result.entries)
    this.#note(result.facts.map(toNoted))
  }

  #book(
    request: Request,
    outcome: {
      failureCode: string | null
      amount: bigint | null
      versions: readonly { source: bigint; destination: bigint }[]
    },
  ): void {
    const { tenant, id, operation, command } = request
    const state = this.#settled.get(id)
    const asked = operation.body.amount
    const [versions] = outcome.versions
    this.#books.transfers.push({
      tenantId: tenant,
      id,
      idempotencyKey: operation.key,
      kind: command.kind,
      status: state?.status ?? 'failed',
      parentId: 'parentId' in command ? command.parentId : null,
      ...this.#endsOf(tenant, command),
      amount: outcome.amount ?? (asked === undefined ? null : BigInt(asked)),
      currency,
      legs: null,
      capturedAmount: state?.capturedAmount ?? 0n,
      refundedAmount: state?.refundedAmount ?? 0n,
      failureCode: outcome.failureCode,
      sourceVersion: versions?.source ?? null,
      destinationVersion: versions?.destination ?? null,
    })
  }

  #endsOf(tenant: string, command: LedgerCommand): { source: string; destination: string } {
    const { source, destination } = this.#wayOf(tenant, command)
    return { source, destination }
  }

  #note(facts: readonly { fact: string; id: string; tenantId: string; state: unknown }[]): void {
    for (const { fact, id, tenantId, state } of facts) {
      const event = this.#nextEvent(tenantId, id)
      this.#books.events.push({ ...event, type: `transfer.${fact}`, state })
    }
  }

  #nextEvent(tenantId: string, objectId: string): Omit<BookedEvent, 'type' | 'state'> {
    const position = BigInt(this.#books.events.length + 1)
    const createdAtMs = epochMs + this.#atMs
    const id = encodeId('event', eventIdOf({ createdAt: new Date(createdAtMs), position }))
    const sequence = (this.#eventCounts.get(objectId) ?? 0) + 1
    this.#eventCounts.set(objectId, sequence)
    return { tenantId, id, position, objectId, sequence, createdAtMs }
  }

  /** The first endpoint of each tenant is healthy, the second mostly not. */
  #deliverWebhooks(): void {
    for (const event of this.#books.events) {
      const own = this.#books.endpoints.filter(({ tenantId }) => tenantId === event.tenantId)
      own.forEach((endpoint, index) => {
        const isLost = index === 1 && this.#random.happens(0.5)
        const status = isLost ? 'pending' : 'succeeded'
        const { tenantId, position } = event
        const delivery = { tenantId, endpointId: endpoint.id, eventPosition: position, status }
        this.#books.deliveries.push(delivery)
        const times = isLost ? 0 : this.#random.happens(0.1) ? 2 : 1
        for (let time = 0; time < times; time += 1) this.#receive(endpoint, event, index === 1)
      })
    }
  }

  #receive(endpoint: BookedEndpoint, event: BookedEvent, isBad: boolean): void {
    const { status } = (event.state ?? {}) as { status?: string }
    const isTransfer = event.type.startsWith('transfer.')
    this.#history.push({
      type: 'webhook',
      at: this.#tick(),
      endpoint: encodeId('endpoint', endpoint.id),
      mode: isBad ? 'bad' : 'healthy',
      eventId: event.id,
      eventType: event.type,
      bodyHash: `body of ${event.id}`,
      isSignatureValid: true,
      objectId: encodeId(isTransfer ? 'transfer' : 'account', event.objectId),
      objectStatus: status ?? event.type.slice('transfer.'.length),
      answered: 200,
    })
  }

  #observe(): void {
    const at = this.#tick()
    const accepted = this.#requests.length
    const unsettled = this.#waiting.length
    const settled = accepted - unsettled
    this.#history.push({ type: 'gauge', at, accepted, settled, unsettled })
    const sums = this.#tenants.map((tenant) => {
      const own = [...this.#accounts.values()].filter(({ tenantId }) => tenantId === tenant)
      const balance = own.reduce((sum, account) => sum + account.balance, 0n)
      return { tenant, currency, balance: String(balance) }
    })
    this.#history.push({ type: 'snapshot', at: this.#tick(), sums })
  }

  #injectFault(number: number): void {
    const fault = { number, name: 'F3 after-locks', target: 'worker-1' }
    const inFlight = this.#waiting.length
    this.#history.push({ type: 'fault', at: this.#tick(), ...fault, phase: 'begin', inFlight })
    this.#history.push({ type: 'fault', at: this.#tick(), ...fault, phase: 'end', inFlight })
    this.#history.push({ type: 'recovered', at: this.#tick(), number, afterMs: 1_200 })
  }
}

function acceptanceOf({ id, bodyHash }: Request): Partial<Answered> {
  return { id: encodeId('transfer', id), transferStatus: 'queued', bodyHash }
}

function uuidOf(wireId: string): string {
  const hex = wireId.slice(wireId.indexOf('_') + 1)
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-')
}

function toNoted({ fact, transfer }: LedgerFact) {
  const { tenantId, id, status, capturedAmount, refundedAmount } = transfer
  const isPlain = status === fact && capturedAmount === 0n && refundedAmount === 0n
  return { fact, id, tenantId, state: isPlain ? null : { status } }
}
