import { html, type Html } from './html.ts'
import type { FaultReport } from '../checker/demands.ts'
import type { Exited, Gauge, HistoryRecord } from '../history.ts'

/* Sizes are in the units of the drawing, which is scaled to the width of the page. */
const width = 1_000
const left = 64
const right = 16
const plotHeight = 120
const laneHeight = 14
const gap = 44

/** Milliseconds since the storm began, as a place from left to right. */
type Scale = (ms: number) => number

/** Faults, exits, rates and backlog over the same time, so that the eye can put them together. */
export function drawTimeline(
  history: readonly HistoryRecord[],
  faults: readonly FaultReport[],
  exits: readonly Exited[],
): Html {
  const endMs = history.reduce((latest, { at }) => Math.max(latest, at), 1)
  const x: Scale = (ms) => left + (ms / endMs) * (width - left - right)
  const gauges = history.filter((record) => record.type === 'gauge')
  const lanes = toLanes(faults, endMs)
  const faultsHeight = Math.max(1, lanes.length) * laneHeight
  const rateTop = 24 + faultsHeight + gap
  const backlogTop = rateTop + plotHeight + gap
  const bottom = backlogTop + plotHeight
  return html`<svg
    viewBox="0 0 ${width} ${bottom + 48}"
    role="img"
    aria-label="Timeline of faults, throughput and unsettled transfers"
  >
    ${drawFaults(lanes, x, endMs, bottom)} ${drawExits(exits, x, 24 + faultsHeight + 10)}
    ${drawRates(gauges, x, rateTop)} ${drawBacklog(gauges, x, backlogTop)}
    ${drawTimeAxis(endMs, x, bottom)}
  </svg>`
}

/** Faults that overlap lie beneath each other. */
function toLanes(faults: readonly FaultReport[], endMs: number): FaultReport[][] {
  const lanes: FaultReport[][] = []
  for (const fault of faults.toSorted((a, b) => a.beganAt - b.beganAt)) {
    const free = lanes.find((lane) => {
      const last = lane.at(-1)
      return last === undefined || healedAt(last, endMs) < fault.beganAt
    })
    if (free === undefined) lanes.push([fault])
    else free.push(fault)
  }
  return lanes
}

function healedAt({ endedAt, recoveredAfterMs }: FaultReport, endMs: number): number {
  if (endedAt === null || recoveredAfterMs === null) return endMs
  return endedAt + recoveredAfterMs
}

function drawFaults(
  lanes: readonly FaultReport[][],
  x: Scale,
  endMs: number,
  bottom: number,
): Html {
  const drawn = lanes.flatMap((lane, index) =>
    lane.map((fault) => drawFault(fault, x, endMs, { y: 24 + index * laneHeight, bottom })),
  )
  return html`<text class="name" x="${left}" y="14"
      >Faults (dark, hollow where nothing was in flight), and until all was settled again (light);
      dots: ends of processes</text
    >${drawn}`
}

function drawFault(
  fault: FaultReport,
  x: Scale,
  endMs: number,
  { y, bottom }: { y: number; bottom: number },
): Html {
  const { number, name, target, beganAt, inFlight } = fault
  const endedAt = fault.endedAt ?? endMs
  const healed = healedAt(fault, endMs)
  const height = laneHeight - 3
  const title = `${number}: ${name} on ${target}, ${seconds(beganAt)} to ${seconds(endedAt)}, ${inFlight} in flight, recovered ${seconds(healed)}`
  const kind = inFlight > 0 ? 'fault' : 'fault idle'
  // Three units wide at least: a kill takes no time, and should be seen all the same.
  return html`<g
    ><title>${title}</title>
    <line
      class="mark"
      x1="${round(x(beganAt))}"
      x2="${round(x(beganAt))}"
      y1="${y}"
      y2="${bottom}" />
    <rect
      class="healing"
      x="${round(x(endedAt))}"
      y="${y}"
      width="${round(Math.max(0, x(healed) - x(endedAt)))}"
      height="${height}" />
    <rect
      class="${kind}"
      x="${round(x(beganAt))}"
      y="${y}"
      width="${round(Math.max(3, x(endedAt) - x(beganAt)))}"
      height="${height}"
  /></g> `
}

function drawExits(exits: readonly Exited[], x: Scale, y: number): Html {
  const drawn = exits.map(
    ({ at, process, code, signal, isExpected }) =>
      html`<g
        ><title>
          ${process}: ${signal ?? `exit ${code}`} at
          ${seconds(at)}${isExpected ? '' : ', unexpected'}</title
        ><circle class="${isExpected ? 'exit' : 'exit bad'}" cx="${round(x(at))}" cy="${y}" r="3.5"
      /></g>`,
  )
  return html`${drawn}`
}

type Point = { ms: number; value: number }

function drawRates(gauges: readonly Gauge[], x: Scale, top: number): Html {
  const accepted = ratesOf(gauges, ({ accepted }) => accepted)
  const settled = ratesOf(gauges, ({ settled }) => settled)
  const highest = niceAbove(highestOf([...accepted, ...settled]))
  return html`<text class="name" x="${left}" y="${top - 10}"
      >Transfers per second: <tspan class="text-accepted">accepted</tspan>,
      <tspan class="text-settled">settled</tspan></text
    >
    ${drawValueAxis(highest, top)} ${drawLine('accepted', accepted, x, { top, highest })}
    ${drawLine('settled', settled, x, { top, highest })}`
}

function drawBacklog(gauges: readonly Gauge[], x: Scale, top: number): Html {
  const unsettled = gauges.map(({ at, unsettled }) => ({ ms: at, value: unsettled }))
  const highest = niceAbove(highestOf(unsettled))
  return html`<text class="name" x="${left}" y="${top - 10}"
      >Transfers accepted and not settled</text
    >
    ${drawValueAxis(highest, top)} ${drawLine('unsettled', unsettled, x, { top, highest })}`
}

/** What was counted from one gauge to the next, per second. */
function ratesOf(gauges: readonly Gauge[], valueOf: (gauge: Gauge) => number): Point[] {
  return gauges.slice(1).flatMap((gauge, index) => {
    const before = gauges[index]
    if (before === undefined || gauge.at <= before.at) return []
    const perSecond = ((valueOf(gauge) - valueOf(before)) * 1_000) / (gauge.at - before.at)
    return [{ ms: gauge.at, value: Math.max(0, perSecond) }]
  })
}

function highestOf(points: readonly Point[]): number {
  return points.reduce((highest, { value }) => Math.max(highest, value), 0)
}

function drawLine(
  name: string,
  points: readonly Point[],
  x: Scale,
  { top, highest }: { top: number; highest: number },
): Html {
  const path = points
    .map(({ ms, value }) => `${round(x(ms))},${round(yOf(value, { top, highest }))}`)
    .join(' ')
  return html`<polyline class="line ${name}" points="${path}" />`
}

function yOf(value: number, { top, highest }: { top: number; highest: number }): number {
  return top + plotHeight - (value / highest) * plotHeight
}

function drawValueAxis(highest: number, top: number): Html {
  const ticks = [0, highest / 2, highest].map((value) => {
    const y = round(yOf(value, { top, highest }))
    return html`<line class="grid" x1="${left}" x2="${width - right}" y1="${y}" y2="${y}" /><text
        class="tick"
        text-anchor="end"
        x="${left - 8}"
        y="${y + 4}"
        >${value.toLocaleString('en')}</text
      >`
  })
  return html`${ticks}`
}

function drawTimeAxis(endMs: number, x: Scale, bottom: number): Html {
  const step = niceAbove(endMs / 1_000 / 10) * 1_000
  const ticks: Html[] = []
  for (let ms = 0; ms <= endMs; ms += step) {
    const place = round(x(ms))
    ticks.push(
      html`<line class="grid" x1="${place}" x2="${place}" y1="${bottom}" y2="${bottom + 5}" /><text
          class="tick"
          text-anchor="middle"
          x="${place}"
          y="${bottom + 18}"
          >${ms / 1_000}</text
        >`,
    )
  }
  return html`${ticks}<text
      class="name"
      text-anchor="middle"
      x="${(left + width - right) / 2}"
      y="${bottom + 40}"
      >Seconds since the storm began</text
    >`
}

/** The next of 1, 2 and 5 times a power of ten, so that the ticks are numbers that people like. */
function niceAbove(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10) * power
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

/** Milliseconds as people read them. */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}
