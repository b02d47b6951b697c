import { html } from 'hono/html'
import { refusalMessages, type RefusalCode } from '@payonce/core/refusals'
import { problems, type ProblemCode, type ProblemKind } from '../problem.ts'
import { describeFailurePolicies, failureColumns } from './failure-policies.ts'
import { idempotencyLimits, idempotencySections } from './idempotency.ts'
import { list, navigation, page, prose, table, type Markup } from './page.ts'
import { problemExample, problemExplanations, retryAdvice } from './problems.ts'
import { refusalExplanations } from './refusals.ts'

const problemCodes = Object.keys(problems) as ProblemCode[]
const refusalCodes = Object.keys(refusalMessages) as RefusalCode[]

/** The API reference: /openapi.json, rendered by Swagger UI in the browser. */
export function referencePage(): Markup {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>API reference · Payonce</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/docs/assets/swagger-ui.css" />
        <link rel="stylesheet" href="/docs/assets/reference.css" />
        <script src="/docs/assets/swagger-ui-bundle.js" defer></script>
        <script src="/docs/assets/reference.js" type="module"></script>
      </head>
      <body>
        ${navigation()}
        <main id="reference"></main>
        <noscript>
          This page needs JavaScript. The same reference for programs is
          <a href="/openapi.json">/openapi.json</a>.
        </noscript>
      </body>
    </html>`
}

/** All problems, each with a link to its page. */
export function problemListPage(): Markup {
  return page(
    'Problems',
    html`<p>
        Every error is answered as <code>application/problem+json</code> (RFC 9457). Its
        <code>code</code> never changes its meaning, and its <code>type</code> is the address of the
        page that explains it.
      </p>
      ${problemTable(problemCodes)}`,
  )
}

/** What a code that is none of ours is answered with. */
export function unknownProblemPage(code: string): Markup {
  return page(
    'No such problem',
    html`<p>There is no problem with the code <code>${code.slice(0, 100)}</code>. These are all:</p>
      ${problemTable(problemCodes)}`,
  )
}

function problemTable(codes: readonly ProblemCode[]): Markup {
  const rows = codes.map((code) => {
    const { status, title, retryable }: ProblemKind = problems[code]
    const link = html`<a href="/problems/${code}"><code>${code}</code></a>`
    return [link, String(status), title, retryable === true ? 'yes' : 'no']
  })
  return table(['Code', 'Status', 'Title', 'Retryable'], rows)
}

/** The page of one problem: what happened, why, what to do, and whether trying again helps. */
export function problemPage(code: ProblemCode, publicUrl: string): Markup {
  const { status, title } = problems[code]
  const { what, why, now, retry } = problemExplanations[code]
  const example = JSON.stringify(problemExample(code, publicUrl), null, 2)
  return page(
    title,
    html`<p class="quiet">Problem <code>${code}</code>, answered with status ${status}</p>
      <h2>What happened</h2>
      <p>${prose(what)}</p>
      <h2>Why</h2>
      <p>${prose(why)}</p>
      <h2>What to do now</h2>
      <p>${prose(now)}</p>
      <h2>Does trying again help?</h2>
      <p>${prose(retryAdvice[retry])}</p>
      <h2>An example</h2>
      <pre><code>${example}</code></pre>`,
  )
}

export function idempotencyPage(): Markup {
  const limits = Object.entries(idempotencyLimits).map(([name, value]) => [
    name.replaceAll('_', ' '),
    html`<code>${String(value)}</code>`,
  ])
  const sections = idempotencySections.map(
    ({ heading, points }) =>
      html`<h2>${heading}</h2>
        ${list(points)}`,
  )
  return page(
    'Idempotency',
    html`<p>
        An idempotency key is your name for one intent. However often a request arrives under it,
        money moves at most once.
      </p>
      ${sections}
      <h2>The limits in short</h2>
      ${table(['Limit', 'Value'], limits)}`,
  )
}

export function refusalPage(): Markup {
  const sections = refusalCodes.map((code) => {
    const { what, now } = refusalExplanations[code]
    return html`<h2 id="${code}"><code>${code}</code></h2>
      <p class="quiet">${refusalMessages[code]}</p>
      <p>${prose(what)}</p>
      <p>${prose(now)}</p>`
  })
  return page(
    'Refusals',
    html`<p>
        A refusal is the ledger’s final no: an answer, and no error. The transfer was accepted, ends
        with the status <code>failed</code>, and tells the code in <code>failure</code>. No money
        has moved. Its idempotency key stays bound to it for ever, so that a repeated request shows
        the same refusal, and trying again takes a new key.
      </p>
      ${sections}`,
  )
}

export function failurePolicyPage(): Markup {
  const rows = describeFailurePolicies().map((row) => row.map((cell) => prose(cell)))
  return page(
    'Failure policies',
    html`<p>
        An outage is retried, with growing and randomised gaps, until it has passed. A refusal is
        passed to the user as a result. A side effect that fails is ignored as far as the payment is
        concerned. This table is the one that the code follows.
      </p>
      ${table(failureColumns, rows)}`,
  )
}
