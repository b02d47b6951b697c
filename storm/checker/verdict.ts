import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FaultReport } from './demands.ts'
import type { Finding } from './finding.ts'
import type { Exited } from '../history.ts'

/** What a storm has shown. Has no bigint in it, so that it can be written as JSON. */
export type Verdict = {
  isGood: boolean
  counts: Counts
  /** One per invariant, in their order; 0 is what every row of the table of faults demands besides. */
  findings: readonly Finding[]
  /** Invariants that looked at nothing although there was load, and nobody expected that. */
  notExercised: readonly number[]
  faults: readonly FaultReport[]
  exits: readonly Exited[]
}

export type Counts = {
  /** Requests, each try of a retried one for itself. */
  calls: number
  keys: number
  /** Posts that were told that they are accepted, now or before. */
  accepted: number
  /** Calls of which nobody knows what became of them. */
  unknown: number
  replays: number
  transfers: number
  entries: number
  /** Answers by their status. */
  statuses: Readonly<Record<string, number>>
  /** Answers of 500 and above, among them the `503` that clients may see. */
  serverErrors: number
  /** Answers that no client may see. */
  unexpectedStatuses: number
  faults: number
  /** Faults that began while something accepted was not settled. */
  faultsThatHit: number
  unexpectedExits: number
  webhooks: number
}

/** Writes `verdict.json` into the folder, and returns its path. */
export async function writeVerdict(folder: string, verdict: Verdict): Promise<string> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, 'verdict.json')
  await writeFile(path, `${JSON.stringify(verdict, undefined, 2)}\n`)
  return path
}

/** The verdict in a few lines of plain text, for a terminal. */
export function describeVerdict({ isGood, findings, notExercised, counts }: Verdict): string {
  const lines = findings.flatMap(({ invariant, title, facts, count, violations }) => {
    const isIdle = notExercised.includes(invariant)
    const state = count > 0 ? `BROKEN ${count} times` : isIdle ? 'NOT EXERCISED' : 'holds'
    const shown = violations.slice(0, 3).map(({ where, text }) => `      ${where}: ${text}`)
    return [`${String(invariant).padStart(4)}  ${title}: ${state}, ${facts} facts`, ...shown]
  })
  const { calls, accepted, unknown, replays, faults, faultsThatHit } = counts
  return [
    `${calls} calls, ${accepted} accepted, ${replays} replays, ${unknown} unknown; ${faults} faults, of which ${faultsThatHit} hit work in flight`,
    ...lines,
    isGood ? 'Everything holds.' : 'Not everything holds.',
    '',
  ].join('\n')
}
