import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { html, type Html } from './html.ts'
import { style } from './style.ts'
import { drawTimeline, seconds } from './timeline.ts'
import type { FaultReport } from '../checker/demands.ts'
import type { Finding } from '../checker/finding.ts'
import type { Counts, Verdict } from '../checker/verdict.ts'
import type { Exited, HistoryRecord } from '../history.ts'

/** Writes the storm as one page without anything from outside, `storm.html`, and returns its path. */
export async function writePage(
  folder: string,
  history: readonly HistoryRecord[],
  verdict: Verdict,
): Promise<string> {
  await mkdir(folder, { recursive: true })
  const path = join(folder, 'storm.html')
  await writeFile(path, renderPage(history, verdict))
  return path
}

/** The storm for people. Nothing of what its observers wrote down is trusted: all of it is escaped. */
export function renderPage(history: readonly HistoryRecord[], verdict: Verdict): string {
  const { isGood, counts, findings, faults, exits } = verdict
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; style-src 'unsafe-inline'"
        />
        <title>Storm: ${isGood ? 'everything holds' : 'not everything holds'}</title>
        <style>
          ${style}
        </style>
      </head>
      <body>
        <h1>Storm</h1>
        <p class="verdict ${isGood ? 'good' : 'bad'}">
          ${isGood ? 'Everything holds.' : summaryOf(verdict)}
        </p>
        ${renderCounts(counts)}
        <h2>Timeline</h2>
        <figure>${drawTimeline(history, faults, exits)}</figure>
        <h2>Invariants</h2>
        ${renderFindings(verdict)}
        ${findings.filter(({ count }) => count > 0).map(renderViolations)}
        <h2>Faults</h2>
        ${renderFaults(faults)}
        <h2>Ends of processes</h2>
        ${renderExits(exits)}
      </body>
    </html> `
  return page.html
}

function summaryOf({ findings, notExercised }: Verdict): string {
  const broken = findings.filter(({ count }) => count > 0).map(({ invariant }) => invariant)
  return [
    broken.length === 0 ? '' : `Broken: ${broken.join(', ')}.`,
    notExercised.length === 0 ? '' : `Not exercised: ${notExercised.join(', ')}.`,
  ]
    .filter((text) => text !== '')
    .join(' ')
}

const countNames: Record<Exclude<keyof Counts, 'statuses'>, string> = {
  calls: 'requests',
  keys: 'idempotency keys',
  accepted: 'told accepted',
  replays: 'replays',
  unknown: 'without an answer',
  transfers: 'transfers in the books',
  entries: 'entries in the books',
  webhooks: 'webhooks received',
  faults: 'faults',
  faultsThatHit: 'faults that hit work in flight',
  serverErrors: 'answers of 500 and above',
  unexpectedStatuses: 'answers that nobody may see',
  unexpectedExits: 'unexpected exits',
}

function renderCounts(counts: Counts): Html {
  const names = Object.keys(countNames) as (keyof typeof countNames)[]
  const tiles = names.map(
    (name) =>
      html`<div>
        <dd>${counts[name].toLocaleString('en')}</dd>
        <dt>${countNames[name]}</dt>
      </div>`,
  )
  const statuses = Object.entries(counts.statuses).map(
    ([status, times]) => html`<li><b>${status}</b> ${times.toLocaleString('en')} times</li>`,
  )
  return html`<dl class="counts">${tiles}</dl>
    <p>Answers by status:</p>
    <ul class="statuses">
      ${statuses}
    </ul>`
}

function renderFindings({ findings, notExercised }: Verdict): Html {
  const rows = findings.map((finding) => {
    const { invariant, title, facts, count } = finding
    const state = stateOf(finding, notExercised)
    return html`<tr class="${state.kind}">
      <td class="number">${invariant}</td>
      <td>${title}</td>
      <td class="number">${facts.toLocaleString('en')}</td>
      <td class="number">${count.toLocaleString('en')}</td>
      <td class="state">${state.text}</td>
    </tr> `
  })
  return html`<div class="wide">
    <table>
      <thead>
        <tr>
          <th class="number">No.</th>
          <th>Invariant</th>
          <th class="number">Facts looked at</th>
          <th class="number">Violations</th>
          <th>Outcome</th>
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
  </div>`
}

function stateOf({ count, facts, invariant }: Finding, notExercised: readonly number[]) {
  if (count > 0) return { kind: 'bad', text: 'broken' }
  if (notExercised.includes(invariant)) return { kind: 'bad', text: 'not exercised' }
  return facts === 0 ? { kind: 'idle', text: 'nothing to see' } : { kind: 'good', text: 'holds' }
}

function renderViolations({ invariant, title, count, violations }: Finding): Html {
  const items = violations.map(({ where, text }) => html`<li><b>${where}</b>: ${text}</li> `)
  const shown = violations.length < count ? `, the first ${violations.length} of ${count}` : ''
  return html`<section class="violations">
    <h3>${invariant}: ${title}${shown}</h3>
    <ol>
      ${items}
    </ol>
  </section>`
}

function renderFaults(faults: readonly FaultReport[]): Html {
  if (faults.length === 0) return html`<p>None.</p>`
  const rows = faults.map((fault) => {
    const { number, name, target, beganAt, endedAt, inFlight, recoveredAfterMs, withinMs } = fault
    const isLate = recoveredAfterMs === null || recoveredAfterMs > (withinMs ?? Infinity)
    return html`<tr class="${isLate ? 'bad' : 'good'}">
      <td class="number">${number}</td>
      <td>${name}</td>
      <td>${target}</td>
      <td class="number">${seconds(beganAt)}</td>
      <td class="number">${secondsOr(endedAt)}</td>
      <td class="number">${inFlight}</td>
      <td class="number state">${secondsOr(recoveredAfterMs)}</td>
      <td class="number">${secondsOr(withinMs)}</td>
    </tr> `
  })
  return html`<div class="wide">
    <table>
      <thead>
        <tr>
          <th class="number">No.</th>
          <th>Fault</th>
          <th>Target</th>
          <th class="number">Began</th>
          <th class="number">Ended</th>
          <th class="number">In flight</th>
          <th class="number">Recovered after</th>
          <th class="number">Within</th>
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
  </div>`
}

function secondsOr(ms: number | null): string {
  return ms === null ? '–' : seconds(ms)
}

function renderExits(exits: readonly Exited[]): Html {
  if (exits.length === 0) return html`<p>None.</p>`
  const rows = exits.map(
    ({ at, process, code, signal, isExpected }) =>
      html`<tr class="${isExpected ? 'good' : 'bad'}">
        <td class="number">${seconds(at)}</td>
        <td>${process}</td>
        <td>${signal ?? `exit ${code}`}</td>
        <td class="state">${isExpected ? 'expected' : 'unexpected'}</td>
      </tr> `,
  )
  return html`<div class="wide">
    <table>
      <thead>
        <tr>
          <th class="number">When</th>
          <th>Process</th>
          <th>How</th>
          <th>Outcome</th>
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
  </div>`
}
