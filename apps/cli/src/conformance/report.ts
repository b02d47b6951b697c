import type { RowResult } from './run.ts'

/** One row as it is printed when it has been run. */
export function renderRow(result: RowResult): string {
  const { row, situation, expectation, seen, reason, notes } = result
  const lines = [
    `${words[result.result].padEnd(8)}${row.padEnd(5)}${situation}`,
    `expected: ${expectation}`,
    ...(seen === undefined ? [] : [`SEEN: ${seen}`]),
    ...(reason === undefined ? [] : [`why: ${reason}`]),
    ...notes,
  ]
  return `${lines.join('\n             ')}\n`
}

const words = { ok: 'ok', failed: 'FAILED', 'not applicable': 'n/a' } as const

export function renderCounts(results: readonly RowResult[], elapsedMs: number): string {
  const { ok, failed, not_applicable: notApplicable } = countResults(results)
  const names = results.filter(({ result }) => result === 'failed').map(({ row }) => row)
  const failures = failed === 0 ? '0 failed' : `${failed} FAILED (${names.join(', ')})`
  const seconds = (elapsedMs / 1_000).toFixed(1)
  return `${ok} ok, ${failures}, ${notApplicable} not applicable, in ${seconds} s\n`
}

/** The results as a file for programs. */
export function renderJson(
  results: readonly RowResult[],
  { url, startedAt }: { url: URL; startedAt: Date },
): string {
  const report = {
    url: url.href,
    started_at: startedAt.toISOString(),
    counts: countResults(results),
    rows: results.map(({ durationMs, result, ...told }) => ({
      ...told,
      result: result === 'not applicable' ? 'not_applicable' : result,
      duration_ms: durationMs,
    })),
  }
  return `${JSON.stringify(report, null, 2)}\n`
}

function countResults(results: readonly RowResult[]) {
  const count = (wanted: RowResult['result']) =>
    results.filter(({ result }) => result === wanted).length
  return { ok: count('ok'), failed: count('failed'), not_applicable: count('not applicable') }
}
