import { Deviation } from './deviation.ts'
import type { ClientName, Context, Row } from './row.ts'

export type RowResult = Pick<Row, 'row' | 'situation' | 'expectation'> & {
  result: 'ok' | 'failed' | 'not applicable'
  /** What was seen instead, where the row failed. */
  seen?: string
  /** Why the row could not be run. */
  reason?: string
  /** Parts of the row that were not looked at. */
  notes: readonly string[]
  durationMs: number
}

/** The option that gives each client, for the reason why a row cannot be run without it. */
export const optionOf: Record<ClientName, string> = {
  otherCredential: '--second-key',
  otherTenant: '--other-tenant-key',
  otherMode: '--other-mode-key',
  otherProcess: '--second-url',
  readOnly: '--read-only-key',
}

/** Runs one row. Never throws: whatever goes wrong is what was seen. */
export async function runRow(row: Row, context: Omit<Context, 'note'>): Promise<RowResult> {
  const { row: number, situation, expectation } = row
  const told = { row: number, situation, expectation }
  const reason = reasonNotToRun(row, context)
  if (reason !== undefined || 'beyondHttp' in row) {
    return { ...told, result: 'not applicable', reason: reason ?? '', notes: [], durationMs: 0 }
  }
  const notes = new Set<string>()
  const startedAt = performance.now()
  const seen = await row
    .run({ ...context, note: (text) => void notes.add(text) })
    .then(() => undefined, whatWasSeen)
  return {
    ...told,
    ...(seen === undefined ? { result: 'ok' } : { result: 'failed', seen }),
    notes: [...notes],
    durationMs: Math.round(performance.now() - startedAt),
  }
}

function reasonNotToRun(row: Row, { others }: Pick<Context, 'others'>): string | undefined {
  if ('beyondHttp' in row) return `HTTP is not enough: ${row.beyondHttp}`
  const missing = row.needs?.find((name) => others[name] === undefined)
  return missing === undefined ? undefined : `give ${optionOf[missing]}`
}

function whatWasSeen(error: unknown): string {
  if (error instanceof Deviation) return error.message
  // A connection that broke, or no answer in time: that is what was seen as well.
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
