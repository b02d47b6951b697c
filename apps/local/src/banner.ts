import type { Services } from './services.ts'

/** What the terminal shows once everything runs: two lines to paste, and how to stop. */
export function renderBanner({ url, apiKey, apiKeyFile, world, alice }: BannerFacts): string {
  const authorization = `-H 'Authorization: Bearer ${apiKey}'`
  const transfer = { source: world, destination: alice, amount: 2500, currency: 'EUR' }
  return `
Payonce is ready at ${url}

API key of the tenant demo, kept in ${apiKeyFile}:
${apiKey}

Move 25.00 EUR from world to alice. Paste it twice: the money moves once. Another key moves more.
${curl(`${url}/v1/transfers`, [
  authorization,
  `-H 'Idempotency-Key: my-first-transfer'`,
  `-H 'Prefer: wait=5'`,
  `-H 'Content-Type: application/json'`,
  `-d '${JSON.stringify(transfer)}'`,
])}

See what alice has, in cents.
${curl(`${url}/v1/accounts/${alice}`, [authorization])}

The API is described at ${url}/docs

Press Ctrl-C to stop. Everything is kept for the next start.
`
}

export type BannerFacts = Omit<Services, 'close'>

/** -sS: no progress meter, but errors; -w: the prompt comes on a line of its own. */
function curl(url: string, options: readonly string[]): string {
  return ['curl -sS', ...options, String.raw`-w '\n'`, url].join(' ')
}
