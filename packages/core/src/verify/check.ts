import type { Findings } from './findings.ts'
import type { Reader } from './pages.ts'
import type { Slices } from './slices.ts'

/** What every group of checks works with. */
export type Check = {
  read: Reader
  findings: Findings
  slices: Slices
  /** What was written before this moment is all there, and changes no more: see `readHorizon`. */
  horizon: Date
  ledgerSecret: string | undefined
  /** Tells how far the check has come, for a person who waits. */
  onProgress(rows: number): void
}
