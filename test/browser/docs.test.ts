import { once } from 'node:events'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createHttpServer } from '@payonce/api/http-server'
import { operations } from '@payonce/api/openapi/operations'
import { createClock } from '@payonce/core/clock'
import { createIdGenerator } from '@payonce/core/ids'
import { createLog } from '@payonce/core/log'
import { createAppWithoutStores } from '../support/app-without-stores.ts'
import { chromiumMissingLine, findChromium } from '../support/chromium-program.ts'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

const publicUrl = 'https://payonce.example'
const phone = { width: 390, height: 844 }
/** 20 s: Swagger UI is 1.7 MB of script, and the machine may be busy. */
const showsWithin = { timeout: 20_000 }

let browser: Browser
let server: Server
let url: string

beforeAll(async function startBrowserAndServer() {
  const executablePath = findChromium()
  if (executablePath === undefined) throw new Error(chromiumMissingLine)
  browser = await chromium.launch({
    executablePath,
    args: [
      // Root may not use the sandbox, and what is shown here is our own.
      '--no-sandbox',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      // Whatever asks for another host finds none, so that a page must do without.
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  })
  server = createHttpServer({
    app: createAppWithoutStores({ publicUrl }),
    host: '127.0.0.1',
    publicUrl,
    newId: createIdGenerator(createClock().nowMs),
    log: createLog({ name: 'test', level: 'silent' }),
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async function stopBrowserAndServer() {
  await browser?.close()
  server?.closeAllConnections()
  server?.close()
})

/** A page in a window of its own, and all that went wrong on it. */
async function open(
  path: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; faults: string[]; close(): Promise<void> }> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('dialog', (dialog) => faults.push(`a dialog: ${dialog.message()}`))
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url())
    if (origin !== url && protocol !== 'data:') faults.push(`asked ${request.url()}`)
  })
  await page.goto(url + path)
  return { page, faults, close: () => context.close() }
}

/** Whether a page has to be moved sideways to be read. */
function isTooWide(page: Page): Promise<boolean> {
  return page.evaluate('document.documentElement.scrollWidth > window.innerWidth')
}

describe('/docs', () => {
  it('shows every operation, without a fault and without asking anybody else', async () => {
    const { page, faults, close } = await open('/docs')
    await page.locator('.opblock').first().waitFor(showsWithin)
    expect(await page.locator('.opblock').count()).toBe(operations.length)
    expect(await page.locator('#reference h1').textContent()).toContain('Payonce')
    expect(faults).toEqual([])
    await close()
  })

  it('shows what an operation takes and answers, and can be tried out', async () => {
    const { page, faults, close } = await open('/docs')
    const send = page.locator('#operations-Transfers-createTransfer')
    await send.locator('.opblock-summary').click(showsWithin)
    const shown = send.locator('.opblock-body')
    await shown.getByText('order-4711-payment').first().waitFor(showsWithin)
    await shown.getByText('idempotency_key_reused').first().waitFor(showsWithin)

    const health = page.locator('#operations-Service-getHealth')
    await health.locator('.opblock-summary').click()
    await health.getByRole('button', { name: 'Try it out' }).click()
    await health.getByRole('button', { name: 'Execute' }).click()
    const answer = health.locator('.live-responses-table')
    await answer.getByText('"ok"').first().waitFor(showsWithin)
    expect(await answer.locator('.response-col_status').last().textContent()).toContain('200')
    expect(faults).toEqual([])
    await close()
  })

  it('can be read in the dark and on a phone', async () => {
    const { page, faults, close } = await open('/docs', { viewport: phone, colorScheme: 'dark' })
    await page.locator('.opblock').first().waitFor(showsWithin)
    expect(await page.locator('html.dark-mode').count()).toBe(1)
    expect(await isTooWide(page)).toBe(false)
    expect(faults).toEqual([])
    await close()
  })
})

describe('a page for people', () => {
  const paths = [
    '/docs/idempotency',
    '/docs/refusals',
    '/docs/failure-policies',
    '/problems',
    '/problems/idempotency_key_reused',
  ]
  it.each(paths)('%s can be read on a phone, in the light and in the dark', async (path) => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, faults, close } = await open(path, { viewport: phone, colorScheme })
      expect(await isTooWide(page), colorScheme).toBe(false)
      expect(await page.locator('h1').count()).toBe(1)
      expect(faults, colorScheme).toEqual([])
      await close()
    }
  })

  it('shows foreign text as text', async () => {
    const code = '<img src=x onerror=alert(1)><script>alert(2)</script>'
    const { page, faults, close } = await open(`/problems/${encodeURIComponent(code)}`)
    expect(await page.locator('main p code').first().textContent()).toBe(code)
    expect(await page.locator('script, img').count()).toBe(0)
    // The browser itself notes that this page was answered with 404.
    expect(faults.filter((fault) => !fault.includes('404'))).toEqual([])
    await close()
  })
})
