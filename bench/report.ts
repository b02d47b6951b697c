import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { renderChart } from './chart.ts'
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

/** Writes the run where it can be read again, and a chart of it beside it. Returns the paths. */
export async function writeResult(folder: string, result: RunResult): Promise<string[]> {
  await mkdir(folder, { recursive: true })
  const date = result.startedAt.slice(0, 19).replaceAll(':', '-')
  const path = join(folder, `${date}-${nameOf(result)}`)
  await writeFile(`${path}.json`, `${JSON.stringify(result, undefined, 2)}\n`)
  await writeFile(`${path}.html`, renderChart([result]))
  return [`${path}.json`, `${path}.html`]
}

/** Draws kept runs on one page, and returns its path. */
export async function drawKept(folder: string, paths: readonly string[]): Promise<string> {
  const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')))
  await mkdir(folder, { recursive: true })
  const path = join(folder, 'chart.html')
  await writeFile(path, renderChart(texts.map((text) => JSON.parse(text) as RunResult)))
  return path
}

/** All the names of a whole run would be longer than a file's name can be. */
function nameOf({ scenarios }: RunResult): string {
  const names = scenarios.map(({ name }) => name).join('-')
  return names.length <= longestName ? names : `${scenarios.length}-scenarios`
}

const longestName = 100

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
      const value = Number.isFinite(target.value) ? target.value.toFixed(digits) : 'not measured'
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
