import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { metrics, type MetricName } from './metrics.ts'
import type { Machine } from './machine.ts'
import type { Options } from './options.ts'
import type { ContenderResult, ScenarioResult, Spread } from './result.ts'

/** A run as it is kept. Later runs are compared with it, so that members are only ever added. */
export type RunResult = {
  startedAt: string
  machine: Machine
  options: Options
  scenarios: readonly ScenarioResult[]
}

/** Writes the run where it can be read again, and returns the path. */
export async function writeResult(folder: string, result: RunResult): Promise<string> {
  await mkdir(folder, { recursive: true })
  const date = result.startedAt.slice(0, 19).replaceAll(':', '-')
  const path = join(folder, `${date}-${result.scenarios.map(({ name }) => name).join('-')}.json`)
  await writeFile(path, `${JSON.stringify(result, undefined, 2)}\n`)
  return path
}

/** The scenario for people: a table of medians with the lowest and highest round, ratios, targets. */
export function renderScenario({
  name,
  title,
  contenders,
  ratios,
  targets,
}: ScenarioResult): string {
  const rounds = contenders[0]?.rounds.length ?? 0
  return [
    `${name}: ${title}`,
    `median (lowest to highest) of ${rounds} rounds`,
    '',
    ...renderTable(contenders),
    '',
    ...contenders.flatMap(({ name: contender, note }) =>
      note === undefined ? [] : [`${contender}: ${note}`],
    ),
    ...ratios.map(renderRatio),
    ...targets.map((target) => {
      const limit = 'atLeast' in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`
      const { label, digits } = metrics[target.metric]
      const value = target.value.toFixed(digits)
      return `${target.isMet ? 'met   ' : 'MISSED'} ${target.of}, ${label}: ${value} (target ${limit})`
    }),
    '',
  ].join('\n')
}

function renderRatio({
  metric,
  of,
  to,
  value,
  atLeast = -Infinity,
  atMost = Infinity,
}: ScenarioResult['ratios'][number]): string {
  const text = `${value.toFixed(2)}× ${of} / ${to}, ${metrics[metric].label}`
  if (atLeast === -Infinity && atMost === Infinity) return text
  const isMet = value >= atLeast && value <= atMost
  const limit = atMost === Infinity ? `≥ ${atLeast}×` : `≤ ${atMost}×`
  return `${isMet ? 'met   ' : 'MISSED'} ${text} (target ${limit})`
}

function renderTable(contenders: readonly ContenderResult[]): string[] {
  const names = (Object.keys(metrics) as MetricName[]).filter((name) =>
    contenders.some(({ summary }) => summary[name] !== undefined),
  )
  const rows = [
    ['', ...contenders.map(({ name }) => name)],
    ...names.map((name) => [
      metrics[name].label,
      ...contenders.map(({ summary }) => renderSpread(summary[name], metrics[name].digits)),
    ]),
  ]
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function renderSpread(spread: Spread | undefined, digits: number): string {
  if (spread === undefined) return '–'
  const text = (value: number) => value.toFixed(digits)
  return `${text(spread.median)} (${text(spread.min)} to ${text(spread.max)})`
}
