import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { readBooks } from './books.ts'
import { check } from './checker/check.ts'
import { describeVerdict, writeVerdict, type Verdict } from './checker/verdict.ts'
import { writePage } from './report/page.ts'
import type { Pool } from 'pg'
import type { HistoryRecord } from './history.ts'
import type { Plan } from './plan.ts'

export type Judgement = { verdict: Verdict; lines: readonly string[] }

/**
 * Judges a storm by its history and its books, and writes the verdict into the folder: `verdict.json`
 * for programs, `storm.html` for people.
 */
export async function judge({
  pool,
  historyPath,
  plan,
  out,
}: {
  pool: Pool
  historyPath: string
  plan: Plan
  out: string
}): Promise<Judgement> {
  const history = await readHistory(historyPath)
  const verdict = check(history, await readBooks(pool), {
    recoveryLimitsMs: Object.fromEntries(
      plan.faults.map(({ name, recoveryMs }) => [name, recoveryMs]),
    ),
  })
  await writeVerdict(out, verdict)
  await writePage(out, history, verdict)
  return { verdict, lines: describeVerdict(verdict).trimEnd().split('\n') }
}

/** Line by line: the history of a long storm is longer than any string may be. */
async function readHistory(path: string): Promise<HistoryRecord[]> {
  const history: HistoryRecord[] = []
  for await (const line of createInterface({ input: createReadStream(path) })) {
    history.push(JSON.parse(line) as HistoryRecord)
  }
  return history
}
