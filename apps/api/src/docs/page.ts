import { html } from 'hono/html'

/** What hono/html makes: text in which everything that was put in is escaped. */
export type Markup = ReturnType<typeof html>

/** A whole page for people, without any script. */
export function page(title: string, content: Markup): Markup {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · Payonce</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/docs/assets/pages.css" />
      </head>
      <body>
        ${navigation()}
        <main>
          <h1>${title}</h1>
          ${content}
        </main>
      </body>
    </html>`
}

/** The links that stand on top of every page. */
export function navigation(): Markup {
  return html`<nav aria-label="Documentation">
    <a href="/docs">API reference</a>
    <a href="/docs/idempotency">Idempotency</a>
    <a href="/problems">Problems</a>
    <a href="/docs/refusals">Refusals</a>
    <a href="/docs/failure-policies">Failure policies</a>
  </nav>`
}

/** Text in which what stands between backticks is code. */
export function prose(text: string): Markup[] {
  return text
    .split('`')
    .map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : html`${part}`))
}

export function list(points: readonly string[]): Markup {
  return html`<ul>
    ${points.map((point) => html`<li>${prose(point)}</li>`)}
  </ul>`
}

export function table(
  columns: readonly string[],
  rows: readonly (readonly (string | Markup | Markup[])[])[],
): Markup {
  return html`<div class="table">
    <table>
      <thead>
        <tr>
          ${columns.map((column) => html`<th scope="col">${column}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell) => html`<td>${cell}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`
}
