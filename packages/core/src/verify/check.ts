import type { Fault, Findings, Rule } from './findings.ts'
import type { Reader } from './pages.ts'
import type { Slices } from './slices.ts'

/** What every group of checks works with. */
export type Check = {
  read: Reader
  findings: Findings
  slices: Slices
  /** What was written before this moment is all there, and changes no more: see `readHorizon`. */
  horizon: Date
  /** Nothing is dated later than this: the time of the database now, and a minute. */
  latest(): Date
  ledgerSecret: string | undefined
  /** Tells how far the check has come, for a person who waits. */
  onProgress(rows: number): void
}

/**
 * Whether a row is old enough to be judged. One that is dated in the future would never be: whoever
 * forges a row could hide it there, so that its date alone is a fault.
 */
export function isJudged(
  { findings, horizon, latest }: Check,
  at: Date,
  { rule, ...row }: Pick<Fault, 'table' | 'ids'> & { rule: Rule },
): boolean {
  if (at < horizon) return true
  const now = latest()
  if (at > now) {
    const expected = `a time not after ${now.toISOString()}`
    findings.fault(rule, { ...row, expected, found: at.toISOString() })
  }
  return false
}
