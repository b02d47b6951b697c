import { expectThat } from './deviation.ts'
import type { Client } from './client.ts'

/**
 * Holds that a link in an answer leads to a page that the server under test serves, to everybody. It
 * is asked for by its path alone: the server may have another name than the one we call it by.
 */
export async function expectPageServed(client: Client, what: string, link: unknown): Promise<void> {
  expectThat(
    typeof link === 'string' && URL.canParse(link),
    `${what}: ${JSON.stringify(link)} is no URL`,
  )
  const { pathname } = new URL(link)
  const page = await client.send({
    method: 'GET',
    path: pathname,
    headers: [['accept', 'text/html']],
    isAnonymous: true,
  })
  expectThat(page.status === 200, `${what}: GET ${pathname} is ${page.describe()}`)
  const type = page.header('content-type') ?? ''
  expectThat(type.startsWith('text/'), `${what}: GET ${pathname} is ${type}, no page to read`)
}
