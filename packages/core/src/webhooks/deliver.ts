import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { createGroupCommit, type GroupCommit } from '../group-commit.ts'
import { eventIdOf } from '../events/event.ts'
import { encodeId } from '../ids.ts'
import { isTransient } from '../db/transient.ts'
import {
  dropEndpoint,
  findDue,
  recordAttempts,
  takeEndpoint,
  type AttemptRecord,
  type DueDelivery,
  type TakenEndpoint,
} from './delivery.ts'
import { disableEndpoint } from './endpoint.ts'
import { renderEvents, type EventView } from './payload.ts'
import { gapAfter, restAfter } from './schedule.ts'
import { readSecrets } from './secret.ts'
import { StoppedError, type Sender, type SendResult } from './send.ts'
import { signatureHeader, type SigningSecret } from './signature.ts'
import type { Pool } from '../db/client.ts'
import type { EndpointRef, NewId } from '../ids.ts'

export type Deliverer = {
  /**
   * Sends what is due for an endpoint until nothing is, a while has passed, or the endpoint needs a
   * rest. Returns at once where another process sends to it, or where its tenant has its share of
   * lanes already: what is due is rung again. Throws only for outages of the database.
   */
  deliver(ref: EndpointRef): Promise<void>
  /** Begins nothing new; what is in flight may end. */
  stop(): void
}

export type DelivererOptions = {
  pool: Pool
  sender: Pick<Sender, 'send'>
  newId: NewId
  /** At most so many endpoints of one tenant are sent to at a time. */
  lanesPerTenant: number
  /** An endpoint that has failed for so long, and fails again, is disabled. */
  disableAfterMs: number
  onAttempt(record: AttemptRecord): void
  onDisabled(ref: EndpointRef, reason: 'failing' | 'gone'): void
}

/** At most so many attempts in flight to one endpoint: a slow one holds no more of us. */
export const MAX_IN_FLIGHT = 20
/** 20 s at a time: then the job ends, and other endpoints have their turn. */
const longestJobMs = 20_000
/** 5 s: what is changed of an endpoint, as its secret, holds within that time. */
const longestTurnMs = 5_000
/** 200 ms: while something is in flight, what has become due meanwhile is looked for so often. */
const lookAgainMs = 200
/** Of more endpoints than this, the paces of those that were sent to last are remembered. */
const pacesRemembered = 10_000
/** Rendered ahead: a few rounds of what is in flight. */
const pageSize = 5 * MAX_IN_FLIGHT
/** 410: whoever answers it wants nothing more. */
const gone = 410

export function createDeliverer(options: DelivererOptions): Deliverer {
  const { pool, newId } = options
  const paces = new LRUCache<string, Pace>({ max: pacesRemembered })
  const stopping = new AbortController()
  const lanes = new Map<string, number>()

  async function deliver(ref: EndpointRef): Promise<void> {
    const { tenantId } = ref
    const taken = lanes.get(tenantId) ?? 0
    if (taken >= options.lanesPerTenant) return
    lanes.set(tenantId, taken + 1)
    try {
      await deliverInTurns(ref)
    } finally {
      const left = (lanes.get(tenantId) ?? 0) - 1
      if (left > 0) lanes.set(tenantId, left)
      else lanes.delete(tenantId)
    }
  }

  async function deliverInTurns(ref: EndpointRef): Promise<void> {
    const endsAtMs = performance.now() + longestJobMs
    let isMore = true
    while (isMore && !stopping.signal.aborted && performance.now() < endsAtMs)
      isMore = await takeTurn(ref)
  }

  /** Returns whether there may be more to send. */
  async function takeTurn(ref: EndpointRef): Promise<boolean> {
    const held = { ...ref, holder: newId() }
    const endpoint = await takeEndpoint(pool, held)
    if (endpoint === undefined) return false
    try {
      const owner = { ...ref, endpointId: endpoint.kind === 'callback' ? null : ref.endpointId }
      const secrets = await readSecrets(pool, owner)
      const pace = paceOf(ref, endpoint.rateLimit)
      return await new Turn(options, { held, endpoint, secrets, pace }, stopping.signal).run()
    } finally {
      await dropEndpoint(pool, held)
    }
  }

  /** Kept from turn to turn: an endpoint that is sent little at a time has a limit as well. */
  function paceOf({ endpointId }: EndpointRef, perSecond: number): Pace {
    const known = paces.get(endpointId)
    if (known?.perSecond === perSecond) return known
    const pace = createPace(perSecond)
    paces.set(endpointId, pace)
    return pace
  }

  return {
    deliver,
    stop: () => {
      stopping.abort()
    },
  }
}

type TurnSubject = {
  held: EndpointRef & { holder: string }
  endpoint: TakenEndpoint
  secrets: readonly SigningSecret[]
  pace: Pace
}

type Prepared = DueDelivery & { body: string; eventId: string }

/** One endpoint's turn: what is due for it is sent, several at a time, as long as it takes it. */
class Turn {
  readonly #options: DelivererOptions
  readonly #ref: EndpointRef & { holder: string }
  readonly #endpoint: TakenEndpoint
  readonly #secrets: readonly SigningSecret[]
  readonly #stopping: AbortSignal
  readonly #inFlight = new Map<string, Promise<void>>()
  readonly #records: GroupCommit<AttemptRecord, undefined>
  readonly #pace: Pace
  readonly #endsAtMs = performance.now() + longestTurnMs
  #waiting: Prepared[] = []
  #failures: number
  #failingSince: Date | null
  #lastSuccessAt: Date | null = null
  #lastFailureAt: Date | null = null
  /** While it has failed too often, one attempt at a time finds out whether it is back. */
  #isProbing: boolean
  #needsRest = false
  #isLost = false
  #outage: unknown

  constructor(
    options: DelivererOptions,
    { held, endpoint, secrets, pace }: TurnSubject,
    stopping: AbortSignal,
  ) {
    this.#options = options
    this.#ref = held
    this.#endpoint = endpoint
    this.#secrets = secrets
    this.#pace = pace
    this.#stopping = stopping
    this.#failures = endpoint.failures
    this.#failingSince = endpoint.failingSince
    this.#isProbing = this.#restMs() > 0
    this.#records = createGroupCommit({
      flush: (records) => this.#record(records),
      maxItems: pageSize,
      maxPending: pageSize,
      isTransient,
    })
  }

  /** Returns whether it ended because its time was over, so that there may be more to send. */
  async run(): Promise<boolean> {
    let isOutOfTime: boolean
    try {
      isOutOfTime = await this.#sendWhatIsDue()
    } finally {
      // The endpoint is given back when nothing is in flight any more, whatever has gone wrong.
      await Promise.all(this.#inFlight.values())
    }
    if (this.#outage !== undefined) throw this.#outage
    return isOutOfTime
  }

  async #sendWhatIsDue(): Promise<boolean> {
    while (this.#mayContinue()) {
      if (this.#inFlight.size >= (this.#isProbing ? 1 : MAX_IN_FLIGHT)) {
        await Promise.race(this.#inFlight.values())
        continue
      }
      const next = this.#waiting.shift() ?? (await this.#nextPrepared())
      if (next !== undefined) {
        await this.#pace.take()
        this.#start(next)
      } else if (this.#inFlight.size > 0) {
        await this.#untilOneEnds()
      } else {
        return false
      }
    }
    return performance.now() > this.#endsAtMs
  }

  /** Not for long: what becomes due does not wait for a slow one. */
  async #untilOneEnds(): Promise<void> {
    const looked = new AbortController()
    const pause = sleep(lookAgainMs, undefined, { signal: looked.signal }).catch(() => undefined)
    await Promise.race([...this.#inFlight.values(), pause])
    looked.abort()
  }

  #mayContinue(): boolean {
    return !(
      this.#stopping.aborted ||
      this.#isLost ||
      this.#outage !== undefined ||
      this.#needsRest ||
      performance.now() > this.#endsAtMs
    )
  }

  async #nextPrepared(): Promise<Prepared | undefined> {
    const { pool } = this.#options
    const inHand = [...this.#inFlight.keys()]
    const due = await findDue(pool, this.#ref, { inHand, limit: pageSize })
    const views = await renderEvents(
      pool,
      due.map(({ event }) => event),
    )
    this.#waiting = due.map((delivery, index) => prepare(delivery, views[index]))
    return this.#waiting.shift()
  }

  #start(delivery: Prepared): void {
    const attempt = this.#attempt(delivery)
      .catch((error: unknown) => {
        if (!(error instanceof StoppedError)) this.#outage ??= error
        this.#isLost = true
      })
      .finally(() => this.#inFlight.delete(delivery.id))
    this.#inFlight.set(delivery.id, attempt)
  }

  async #attempt(delivery: Prepared): Promise<void> {
    const timestamp = Math.floor(Date.now() / 1_000)
    const { body, eventId: id } = delivery
    const result = await this.#options.sender.send({
      url: delivery.url ?? this.#endpoint.url,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'payonce-webhooks/1',
        'webhook-id': id,
        'webhook-timestamp': String(timestamp),
        'webhook-signature': signatureHeader({ id, timestamp, body }, this.#secrets),
      },
      body,
    })
    this.#noteHealth(result)
    const record = this.#conclude(delivery, result)
    await this.#records.submit(record)
    this.#options.onAttempt(record)
    await this.#disableIfHopeless(result)
  }

  #noteHealth({ error, startedAt }: SendResult): void {
    if (error === null) {
      this.#failures = 0
      this.#failingSince = null
      this.#isProbing = false
      this.#needsRest = false
      this.#lastSuccessAt = startedAt
    } else {
      this.#failures += 1
      this.#failingSince ??= startedAt
      this.#needsRest = this.#restMs() > 0
      this.#lastFailureAt = startedAt
    }
  }

  #restMs(): number {
    return restAfter(this.#failures, this.#failingForMs())
  }

  #failingForMs(): number {
    return this.#failingSince === null ? 0 : Date.now() - this.#failingSince.getTime()
  }

  #conclude(delivery: DueDelivery, result: SendResult): AttemptRecord {
    if (result.error === null) return { delivery, result, status: 'succeeded', gapMs: null }
    const isUnwanted = result.statusCode === gone && this.#endpoint.kind === 'callback'
    const gapMs = isUnwanted
      ? undefined
      : gapAfter(delivery.tries + 1, { retryAfterMs: result.retryAfterMs ?? 0 })
    if (gapMs === undefined) return { delivery, result, status: 'failed', gapMs: null }
    return { delivery, result, status: 'pending', gapMs }
  }

  async #record(records: readonly AttemptRecord[]): Promise<undefined[]> {
    const isOurs = await recordAttempts(this.#options.pool, this.#ref, records, {
      failures: this.#failures,
      failingSince: this.#failingSince,
      restMs: this.#restMs(),
      lastSuccessAt: this.#lastSuccessAt,
      lastFailureAt: this.#lastFailureAt,
    })
    if (!isOurs) this.#isLost = true
    return records.map(() => undefined)
  }

  /** The `callback_url`s of a place are never given up together: each ends with its own attempts. */
  async #disableIfHopeless({ error, statusCode }: SendResult): Promise<void> {
    // What was found out about a URL of before says nothing about the present one.
    if (error === null || this.#isLost || this.#endpoint.kind === 'callback') return
    const isHopeless = this.#failingForMs() >= this.#options.disableAfterMs
    if (statusCode !== gone && !isHopeless) return
    this.#isLost = true
    const reason = statusCode === gone ? 'gone' : 'failing'
    const { tenantId, endpointId } = this.#ref
    if (await disableEndpoint(this.#options.pool, { tenantId, endpointId }, reason)) {
      this.#options.onDisabled({ tenantId, endpointId }, reason)
    }
  }
}

function prepare(delivery: DueDelivery, view: EventView | undefined): Prepared {
  return {
    ...delivery,
    body: JSON.stringify(view),
    eventId: encodeId('event', eventIdOf(delivery.event)),
  }
}

type Pace = { perSecond: number; take(): Promise<void> }

/**
 * Lets at most so many through within a second, after a small burst. A tenth of a second's worth goes
 * together: then their records share a commit as well, and nobody wakes up for each one.
 */
function createPace(perSecond: number): Pace {
  const burst = Math.max(1, perSecond / 10)
  let tokens = burst
  let refilledAtMs = performance.now()

  async function take(): Promise<void> {
    const nowMs = performance.now()
    tokens = Math.min(burst, tokens + ((nowMs - refilledAtMs) * perSecond) / 1_000)
    refilledAtMs = nowMs
    tokens -= 1
    if (tokens < 0) await sleep((burst / perSecond) * 1_000)
  }

  return { perSecond, take }
}
