import { renderMachine } from './machine.ts'
import { metrics, type MetricName } from './metrics.ts'
import type { RunResult } from './report.ts'
import type { ContenderResult, ScenarioResult, Spread } from './result.ts'

/**
 * Draws kept runs as one HTML page that needs nothing besides itself: of each scenario the medians as
 * bars, with the lowest and highest round, and the limits that were set.
 */
export function renderChart(
  runs: readonly Pick<RunResult, 'startedAt' | 'machine' | 'scenarios'>[],
) {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Payonce bench</title>
<style>${style}</style>
</head>
<body>
<h1>Payonce bench</h1>
<p>Bars are medians, thin lines reach from the lowest to the highest round, dashed lines are targets.</p>
${runs.map(renderRun).join('\n')}
</body>
</html>
`
}

const style = `
:root { color-scheme: light dark; --text: #1c2024; --faint: #5f6870; --page: #fff; --bar: #3b6fd4;
  --range: #10192b; --target: #b3261e; --met: #1b7f3b; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8ea; --faint: #a2abb3; --page: #14171a;
  --bar: #6f9cf0; --range: #fff; --target: #ff8a80; --met: #6fd68d; } }
body { background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h2 { margin: 2.5rem 0 0; } h3 { margin: 1rem 0 0; font-size: 1rem; }
.machine, figcaption { color: var(--faint); white-space: pre-line; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--text); font-size: 13px; }
.bar { fill: var(--bar); } .range { stroke: var(--range); stroke-width: 2; }
.target { stroke: var(--target); stroke-width: 2; stroke-dasharray: 5 3; }
figure { margin: .5rem 0 1rem; } ul { padding-left: 1.2rem; margin: .3rem 0; }
.met { color: var(--met); } .missed { color: var(--target); font-weight: 600; }
`

function renderRun({ startedAt, machine, scenarios }: Parameters<typeof renderChart>[0][number]) {
  return `<section>
<p class="machine">${escape(`${startedAt}\n${renderMachine(machine)}`)}</p>
${scenarios.map(renderScenario).join('\n')}
</section>`
}

function renderScenario(scenario: ScenarioResult): string {
  const { name, title, contenders, ratios, targets } = scenario
  const notes = contenders.flatMap(({ name: contender, note }) =>
    note === undefined ? [] : [`<li>${escape(`${contender}: ${note}`)}</li>`],
  )
  const judged = [...ratios.map(renderRatio), ...targets.map(renderTarget), ...notes]
  return `<h2>${escape(name)}</h2>
<p>${escape(title)}</p>
${metricsToDraw(scenario)
  .map((metric) => renderFigure(scenario, metric))
  .join('\n')}
${judged.length === 0 ? '' : `<ul>\n${judged.join('\n')}\n</ul>`}`
}

/** What the scenario judges, in the order of the report; where it judges nothing, its first number. */
function metricsToDraw({ contenders, ratios, targets }: ScenarioResult): MetricName[] {
  const measured = (Object.keys(metrics) as MetricName[]).filter((metric) =>
    contenders.some(({ summary }) => summary[metric] !== undefined),
  )
  const judged = new Set([...ratios, ...targets].map(({ metric }) => metric))
  const drawn = measured.filter((metric) => judged.has(metric))
  return drawn.length > 0 ? drawn : measured.slice(0, 1)
}

/** In the units of the picture, which the page scales. */
const picture = { width: 900, labels: 170, values: 240, row: 34, bar: 18 }
const barsWidth = picture.width - picture.labels - picture.values

function renderFigure({ contenders, targets }: ScenarioResult, metric: MetricName): string {
  const limits = targets.filter((target) => target.metric === metric)
  const drawn = contenders.flatMap((contender) => {
    const spread = contender.summary[metric]
    return isDrawable(spread) ? [{ ...contender, spread }] : []
  })
  const largest = Math.max(...drawn.map(({ spread }) => spread.max), ...limits.map(limitOf))
  const toX = (value: number) => picture.labels + (barsWidth * value) / (largest || 1)
  const rows = drawn.map((contender, place) => {
    const own = limits.filter(({ of }) => of === contender.name).map(limitOf)
    return renderBar({ ...contender, metric, y: place * picture.row, toX, limits: own })
  })
  const { label } = metrics[metric]
  return `<figure>
<figcaption>${escape(label)}</figcaption>
<svg viewBox="0 0 ${picture.width} ${drawn.length * picture.row}" role="img" aria-label="${escape(label)}">
${rows.join('\n')}
</svg>
</figure>`
}

/** A file says null where a round measured nothing. */
function isDrawable(spread: Spread | undefined): spread is Spread {
  return spread !== undefined && [spread.median, spread.min, spread.max].every(Number.isFinite)
}

type Bar = Pick<ContenderResult, 'name'> & {
  spread: Spread
  metric: MetricName
  /** Where its row begins. */
  y: number
  toX(value: number): number
  limits: readonly number[]
}

function renderBar({ name, spread, metric, y, toX, limits }: Bar): string {
  const { labels, width, values, row, bar } = picture
  const text = (value: number) => value.toFixed(metrics[metric].digits)
  const middle = y + row / 2
  const x = (value: number) => toX(value).toFixed(1)
  const range = `${text(spread.median)} (${text(spread.min)} to ${text(spread.max)})`
  return [
    `<text x="${labels - 8}" y="${middle + 5}" text-anchor="end">${escape(name)}</text>`,
    `<rect class="bar" x="${labels}" y="${middle - bar / 2}" width="${(toX(spread.median) - labels).toFixed(1)}" height="${bar}"/>`,
    `<line class="range" x1="${x(spread.min)}" x2="${x(spread.max)}" y1="${middle}" y2="${middle}"/>`,
    ...limits.map(
      (limit) =>
        `<line class="target" x1="${x(limit)}" x2="${x(limit)}" y1="${y + 2}" y2="${y + row - 2}"/>`,
    ),
    `<text x="${width - values + 8}" y="${middle + 5}">${escape(range)}</text>`,
  ].join('\n')
}

function limitOf(target: ScenarioResult['targets'][number]): number {
  return 'atLeast' in target ? target.atLeast : target.atMost
}

function renderRatio(ratio: ScenarioResult['ratios'][number]): string {
  const { metric, of, to, value, atLeast, atMost } = ratio
  const text = `${format(value, 2)}× ${of} / ${to}, ${metrics[metric].label}`
  return renderJudged(text, { value, atLeast, atMost, unit: '×' })
}

function renderTarget(target: ScenarioResult['targets'][number]): string {
  const { metric, of, value } = target
  const { label, digits } = metrics[metric]
  const { atLeast, atMost } = { atLeast: undefined, atMost: undefined, ...target }
  return renderJudged(`${of}, ${label}: ${format(value, digits)}`, {
    value,
    atLeast,
    atMost,
    unit: '',
  })
}

type Judged = {
  value: number
  atLeast: number | undefined
  atMost: number | undefined
  unit: string
}

function renderJudged(text: string, { value, atLeast, atMost, unit }: Judged): string {
  if (atLeast === undefined && atMost === undefined) return `<li>${escape(text)}</li>`
  const isMet =
    Number.isFinite(value) && value >= (atLeast ?? -Infinity) && value <= (atMost ?? Infinity)
  const limit = atLeast === undefined ? `≤ ${atMost}${unit}` : `≥ ${atLeast}${unit}`
  const verdict = isMet ? '<span class="met">met</span>' : '<span class="missed">missed</span>'
  return `<li>${verdict} ${escape(`${text} (target ${limit})`)}</li>`
}

function format(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : 'not measured'
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => escapes[character] ?? '')
}
