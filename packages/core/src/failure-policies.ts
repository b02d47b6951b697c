/*
 * What is done about each class of failure: one table, which the code follows. The numbers are read
 * from here, the choice between retrying and passing on is made here, and a failure can only be
 * ignored where its row says so. /docs/failure-policies and docs/failure-policies.md show it.
 */

/** When to try again: at gaps that grow from the shortest to the longest, for so often and so long. */
export type Retry = {
  /** Repetitions after the first try. */
  retries: number
  minDelayMs: number
  maxDelayMs: number
  /** No repetition is begun later than this after the first try. */
  maxTimeMs: number
}

export type FailurePolicy = {
  /** What goes wrong, and who meets it. */
  failure: string
  /** What is done in the end. */
  inTheEnd: string
} & (
  | {
      policy: 'retry'
      /** Who tries again: the caller itself, the job in the queue, or the sweep. */
      by: 'caller' | 'queue' | 'sweep'
      retry: Retry
      /** What a client is told to wait, where it is the one to try again in the end. */
      retryAfterSeconds?: number
    }
  | { policy: 'pass to the user' }
  | { policy: 'ignore' }
)

const forEver = { retries: Infinity, maxTimeMs: Infinity }
/** From 5 s to an hour: what never succeeds costs its neighbours nothing, bad luck is soon over. */
const patiently = { ...forEver, minDelayMs: 5_000, maxDelayMs: 3_600_000 }

export const failurePolicies = {
  acceptance_outage: {
    failure: 'The database is away, slow or short of something while a request is accepted',
    policy: 'retry',
    by: 'caller',
    retry: { retries: 3, minDelayMs: 50, maxDelayMs: 500, maxTimeMs: 1_500 },
    // Most outages of a second are over by then, and a client that waits longer loses nothing.
    retryAfterSeconds: 1,
    inTheEnd:
      'The client is told `503 service_unavailable` with `Retry-After`, and sends the same request with the same key again.',
  },
  settlement_outage: {
    failure: 'The database is away, slow or short of something while transfers are settled',
    policy: 'retry',
    by: 'caller',
    retry: { retries: 4, minDelayMs: 20, maxDelayMs: 500, maxTimeMs: 3_000 },
    inTheEnd: 'Nothing of the settlement remains, and its jobs fail: see the next row.',
  },
  failed_job: {
    failure: 'A job in the queue fails: only an outage makes it',
    policy: 'retry',
    by: 'queue',
    // About 30 s; what lasts longer is the sweep's.
    retry: { retries: 7, minDelayMs: 200, maxDelayMs: 12_800, maxTimeMs: Infinity },
    inTheEnd: 'The job ends. The transfer is still due, and soon overdue: see the next row.',
  },
  overdue_transfer: {
    failure: 'A transfer is due and not settled: its job was never added, was lost, or has ended',
    policy: 'retry',
    by: 'sweep',
    // 5 s: a healthy worker settles in milliseconds, so what is older was probably not rung.
    retry: { ...forEver, minDelayMs: 5_000, maxDelayMs: 60_000 },
    inTheEnd: 'It is rung until it is settled.',
  },
  poison: {
    failure: 'A single transfer makes settlement throw by itself, which is a bug',
    policy: 'retry',
    by: 'sweep',
    retry: patiently,
    inTheEnd:
      'It is set aside alone, counted and logged, so that its neighbours settle. It can be canceled.',
  },
  unknown_command: {
    failure: 'A transfer was accepted by a newer version than the worker',
    policy: 'retry',
    by: 'sweep',
    retry: patiently,
    inTheEnd: 'It waits for a worker that can read it.',
  },
  insufficient_funds: {
    failure:
      'The source has too little, and the client has asked to wait with `on_insufficient_funds`',
    policy: 'retry',
    by: 'sweep',
    retry: patiently,
    inTheEnd:
      'It is also tried whenever the source is credited. When the time of the client is over, it is a refusal.',
  },
  refusal: {
    failure: 'The ledger says no: too little money, a frozen or closed account',
    policy: 'pass to the user',
    inTheEnd:
      'The transfer ends as `failed`, with a code. It is never tried again; a new key makes a new transfer.',
  },
  failed_delivery: {
    failure: 'A receiver of webhooks is away, slow, or answers anything but a success',
    policy: 'retry',
    by: 'sweep',
    // The gaps themselves stand in webhooks/schedule.ts: five of them are longer than an hour.
    retry: { retries: 9, minDelayMs: 5_000, maxDelayMs: 24 * 3_600_000, maxTimeMs: Infinity },
    inTheEnd:
      'The delivery ends as `failed` and stays in the log, from where it can be sent again. No payment ever waits for it.',
  },
  lost_ring: {
    failure: 'The queue is away or full when an accepted transfer is to be rung',
    policy: 'ignore',
    inTheEnd:
      'The request is accepted all the same. It is counted, and the sweep rings it as overdue.',
  },
  lost_count: {
    failure: 'The number of replays of a key cannot be written',
    policy: 'ignore',
    inTheEnd: 'The number stays too low. Nothing is decided by it.',
  },
} as const satisfies Readonly<Record<string, FailurePolicy>>

export type FailureClass = keyof typeof failurePolicies

/** The failures that are treated in this way: a call for another one does not compile. */
export type FailureWith<Policy extends Partial<FailurePolicy>> = {
  [Class in FailureClass]: (typeof failurePolicies)[Class] extends Policy ? Class : never
}[FailureClass]

/**
 * Ends a side effect of a payment: its failure is told to `onFailure` and reaches nobody else. Only
 * for failures that the table ignores.
 */
export function asSideEffect(
  _failure: FailureWith<{ policy: 'ignore' }>,
  effect: Promise<void>,
  onFailure: (error: unknown) => void,
): Promise<void> {
  return effect.catch(onFailure)
}
