import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { check } from '../../storm/checker/check.ts'
import { describeVerdict, writeVerdict } from '../../storm/checker/verdict.ts'
import { html } from '../../storm/report/html.ts'
import { renderPage, writePage } from '../../storm/report/page.ts'
import { makeStormWorld } from './models/storm-world.ts'
import type { HistoryRecord } from '../../storm/history.ts'

let folder = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'payonce-storm-'))
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

function goodStorm() {
  const { history, books } = makeStormWorld(1, 200)
  return { history, books, verdict: check(history, books) }
}

describe('html', () => {
  it('escapes what is filled in, for text and for attributes', () => {
    const hostile = `<script>alert("x")</script>&'`
    const escaped = '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;'
    expect(html`<p title="${hostile}">${hostile}</p>`.html).toBe(
      `<p title="${escaped}">${escaped}</p>`,
    )
  })

  it('leaves pieces of a page as they are, one or several', () => {
    const item = (text: string) => html`<b>${text}</b>`
    expect(html`${['a', '<i>'].map(item)}${item('c')}${1}`.html).toBe(
      '<b>a</b><b>&lt;i&gt;</b><b>c</b>1',
    )
  })
})

describe('the page', () => {
  it('tells what was looked at, invariant by invariant', () => {
    const { history, verdict } = goodStorm()
    const page = renderPage(history, verdict)
    expect(page).toContain('Everything holds.')
    for (const { title } of verdict.findings) expect(page).toContain(`<td>${title}</td>`)
    for (const text of ['Seconds since the storm began', 'F3 after-locks', 'SIGKILL', '1.2 s']) {
      expect(page).toContain(text)
    }
  })

  it('shows what is broken, and what nobody looked at', () => {
    const { history, books } = goodStorm()
    for (const record of history) {
      if (record.type === 'snapshot') Object.assign(record, { sums: [] })
      if (record.type === 'webhook') record.isSignatureValid = false
    }
    const page = renderPage(history, check(history, books))
    expect(page).toContain('Broken: 13. Not exercised: 1.')
    expect(page).toContain('its signature is not valid')
    expect(page).toContain('not exercised')
  })

  it('trusts nothing of what was written down', () => {
    const { history, books } = goodStorm()
    const hostile = `"><script src='https://attacker.example'></script>`
    const at = 5
    const number = 1
    const fault = {
      type: 'fault',
      at,
      number,
      name: hostile,
      target: hostile,
      inFlight: 1,
    } as const
    const added: HistoryRecord[] = [
      { ...fault, phase: 'begin' },
      { type: 'exited', at, process: hostile, code: 1, signal: hostile, isExpected: false },
    ]
    const all = [...history, ...added]
    const page = renderPage(all, check(all, books))
    expect(page).toContain('&lt;script')
    expect(page).not.toContain('<script')
  })

  it('needs nothing from outside', () => {
    const { history, verdict } = goodStorm()
    expect(renderPage(history, verdict)).not.toMatch(/\b(?:src|href)=|url\(|@import|https?:/)
  })

  it('can be drawn of a storm in which nothing happened', () => {
    const nothing = { keys: [], commands: [], transfers: [], entries: [], accounts: [] }
    const books = {
      ...nothing,
      limits: [],
      deferred: [],
      events: [],
      endpoints: [],
      deliveries: [],
      attempts: [],
    }
    expect(renderPage([], check([], books))).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('draws numbers', () => {
    const { history, verdict } = goodStorm()
    expect(renderPage(history, verdict)).not.toMatch(/NaN|Infinity|undefined|\[object/)
  })

  it('is written where it is asked for', async () => {
    const { history, verdict } = goodStorm()
    const path = await writePage(join(folder, 'page'), history, verdict)
    expect(readFileSync(path, 'utf8')).toBe(renderPage(history, verdict))
  })
})

describe('verdict.json', () => {
  it('is the verdict, to be read by programs', async () => {
    const { verdict } = goodStorm()
    const path = await writeVerdict(join(folder, 'verdict'), verdict)
    expect(path.endsWith('verdict.json')).toBe(true)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(verdict)
  })

  it('has a short form for a terminal', () => {
    const { history, books, verdict } = goodStorm()
    expect(describeVerdict(verdict)).toContain('Everything holds.')
    const silent = history.filter(({ type }) => type !== 'snapshot')
    const text = describeVerdict(check(silent, books))
    expect(text).toContain('NOT EXERCISED')
    expect(text).toContain('Not everything holds.')
  })
})
