import { failurePolicies } from '../failure-policies.ts'

/*
 * When a delivery is tried again, and when its endpoint is given a rest. Gaps are measured from the
 * failure before; ±20 % keep the deliveries of one outage from coming back all at once.
 */

const second = 1_000
const minute = 60 * second
const hour = 60 * minute

/** The gap before each attempt of a round: ten attempts within three and a half days. */
export const attemptGapsMs: readonly number[] = [
  0,
  5 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
]

const jitter = 0.2
/** A day: what a receiver asks for beyond that is not honoured. */
const longestRetryAfterMs = 24 * hour

/**
 * The gap after the `tries`-th failed attempt of a round, or undefined when it was the last. A
 * `Retry-After` of the receiver can only make it longer, and never longer than a day.
 */
export function gapAfter(
  tries: number,
  { retryAfterMs = 0, random = Math.random }: { retryAfterMs?: number; random?: () => number } = {},
): number | undefined {
  const { retries } = failurePolicies.failed_delivery.retry
  const gapMs = attemptGapsMs[tries]
  if (gapMs === undefined || tries > retries) return undefined
  const jittered = gapMs * (1 - jitter + 2 * jitter * random())
  return Math.round(Math.max(jittered, Math.min(retryAfterMs, longestRetryAfterMs)))
}

/** Five failures in a row: an endpoint that answers at all seldom fails so often. */
export const FAILURES_BEFORE_REST = 5
const shortestRestMs = 30 * second
/** 10 minutes: a receiver that is back is noticed within that time. */
const longestRestMs = 10 * minute

/**
 * How long an endpoint is left alone after so many failures in a row, before one attempt probes
 * whether it is back: as long as it has been failing, so that the rests double. 0 while failures are few.
 */
export function restAfter(failures: number, failingForMs: number): number {
  if (failures < FAILURES_BEFORE_REST) return 0
  return Math.min(longestRestMs, Math.max(shortestRestMs, failingForMs))
}
