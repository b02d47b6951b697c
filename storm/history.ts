/*
 * The history of a storm: append-only, one JSON object a line, in the order of one monotonic clock
 * (the harness's own). Every observer writes into it: clients, the reader of balances, the receiver
 * of webhooks, and the harness itself. The checker reads it beside the books and judges.
 */

export type HistoryRecord =
  | Invoked
  | Answered
  | Lost
  | Snapshot
  | WebhookReceived
  | FaultNoted
  | Recovered
  | Exited
  | Gauge

/** Milliseconds since the storm began. */
type At = { at: number }

/** A client is about to send a request. Each try of a retried request is a call of its own. */
export type Invoked = At & {
  type: 'invoked'
  call: number
  client: string
  /** The tenant's UUID, whose API key is used. */
  tenant: string
  operation: Operation
}

export type Operation =
  | { kind: 'post'; route: '/v1/transfers'; key: string; body: TransferBody }
  | {
      kind: 'post'
      route: '/v1/transfers/:id/capture' | '/v1/transfers/:id/release' | '/v1/transfers/:id/refund'
      /** The parent's id on the wire (`tr_…`). */
      target: string
      key: string
      body: { amount?: number }
    }
  | { kind: 'cancel'; target: string }
  | { kind: 'read'; target: string }

export type TransferBody = {
  source: string
  destination: string
  amount: number
  currency: string
  hold?: boolean
  description?: string
}

/** The API has answered a call. */
export type Answered = At & {
  type: 'answered'
  call: number
  status: number
  /** SHA-256 of the body's bytes, in hex: the answers to one key have to be the same bytes. */
  bodyHash: string
  /** The members that the checker looks at, where the body has them. */
  id?: string
  transferStatus?: string
  code?: string
  /** Whether `Idempotent-Replayed: true` was there, and what `Payonce-Status` said. */
  isReplay: boolean
  payonceStatus?: string
}

/** Nobody knows what became of a call: the connection was cut, or nothing came in time. */
export type Lost = At & { type: 'lost'; call: number; reason: string }

/** What one read of all balances found: sums in minor units, as decimal text. */
export type Snapshot = At & {
  type: 'snapshot'
  sums: readonly { tenant: string; currency: string; balance: string }[]
}

export type WebhookReceived = At & {
  type: 'webhook'
  /** The endpoint's id on the wire (`we_…`), and how the receiver behaves at present. */
  endpoint: string
  mode: 'healthy' | 'bad'
  eventId: string
  eventType: string
  bodyHash: string
  isSignatureValid: boolean
  /** `data.id` and `data.status` of the payload, where they are there. */
  objectId?: string
  objectStatus?: string
  /** What the receiver answered; 0 where it cut the connection. */
  answered: number
}

/** A fault begins or ends. */
export type FaultNoted = At & {
  type: 'fault'
  /** Which one of the plan: the same for its begin and its end. */
  number: number
  /** The row of table F and which of its faults, as `F3 after-locks`. */
  name: string
  phase: 'begin' | 'end'
  /** Which process or store. */
  target: string
  /** How many accepted transfers were not settled at this moment. */
  inFlight: number
}

/** After a fault's end: everything that was accepted before its end is settled. */
export type Recovered = At & { type: 'recovered'; number: number; afterMs: number }

/** A process has ended. Expected: it was killed or asked to. */
export type Exited = At & {
  type: 'exited'
  process: string
  code: number | null
  signal: string | null
  isExpected: boolean
}

/** What the page draws: once a second. */
export type Gauge = At & { type: 'gauge'; accepted: number; settled: number; unsettled: number }
