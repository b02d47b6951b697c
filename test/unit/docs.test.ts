import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { describeFailurePolicies, failureColumns } from '@payonce/api/docs/failure-policies'
import { problems } from '@payonce/api/problem'
import { transferQuery } from '@payonce/api/schemas'
import { keyPurposes } from '@payonce/core/idempotency/issued-key'
import { refusalMessages } from '@payonce/core/refusals'
import { createAppWithoutStores } from '../support/app-without-stores.ts'

const app = createAppWithoutStores()

const pages = [
  '/docs',
  '/docs/idempotency',
  '/docs/refusals',
  '/docs/failure-policies',
  '/problems',
  ...Object.keys(problems).map((code) => `/problems/${code}`),
]

describe('a page', () => {
  it.each(pages)('%s is served without a key, and may load nothing of others', async (path) => {
    const response = await app.request(path)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toMatch(/^text\/html/)
    const policy = response.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    const text = await response.text()
    expect(text).not.toMatch(/(?:src|href)="(?:https?:)?\/\//)
    expect(text).not.toContain('[object ')
  })
})

describe('the page of a problem', () => {
  it('says what to do, and shows the answer it belongs to', async () => {
    const text = await (await app.request('/problems/idempotency_key_reused')).text()
    expect(text).toContain('What to do now')
    expect(text).toContain('https://payonce.example/problems/idempotency_key_reused')
  })

  it('of a code that is unknown is a 404 that escapes the code', async () => {
    const code = '<script>alert("x")</script>'
    const response = await app.request(`/problems/${encodeURIComponent(code)}`)
    expect(response.status).toBe(404)
    const text = await response.text()
    expect(text).toContain('&lt;script&gt;')
    expect(text).not.toContain('<script')
  })

  it('is none for what every object inherits', async () => {
    expect((await app.request('/problems/constructor')).status).toBe(404)
    expect((await app.request('/docs/assets/constructor')).status).toBe(404)
  })
})

describe('the page of refusals', () => {
  it('has every code, under its own name', async () => {
    const text = await (await app.request('/docs/refusals')).text()
    for (const code of Object.keys(refusalMessages)) expect(text).toContain(`<h2 id="${code}">`)
  })
})

describe('docs/reference/commands.md', () => {
  const file = readFileSync(join(import.meta.dirname, '../../docs/reference/commands.md'), 'utf8')

  it.each(Object.keys(refusalMessages))('tells of the refusal %s', (code) => {
    expect(file).toContain(`\n| \`${code}\` `)
  })

  it.each(keyPurposes.filter((purpose) => purpose.startsWith('POST /v1/transfer')))(
    'tells of %s',
    (purpose) => {
      expect(file).toContain(`\`${purpose}\``)
    },
  )

  it('names no refusal or problem that there is not', () => {
    const named = [...file.matchAll(/^\| `([a-z_]+)` /gm)].map(([, code]) => code)
    const kinds = transferQuery.shape.kind.unwrap().options
    const known = [...kinds, ...Object.keys(refusalMessages), ...Object.keys(problems)]
    expect(new Set(known)).toEqual(new Set([...known, ...named]))
  })
})

describe('the failure policies', () => {
  it('stand in docs/failure-policies.md as the code has them', () => {
    const file = readFileSync(join(import.meta.dirname, '../../docs/failure-policies.md'), 'utf8')
    const rows = file
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
    const isRule = (row: string[]) => row.every((cell) => /^-+$/.test(cell))
    expect(rows.filter((row) => !isRule(row))).toEqual([
      [...failureColumns],
      ...describeFailurePolicies(),
    ])
  })
})

describe('what is sent to many', () => {
  it.each(['/openapi.json', '/docs/assets/swagger-ui-bundle.js', '/docs/assets/pages.css'])(
    '%s comes compressed where that is wanted, and not again where it is known',
    async (path) => {
      const plain = await app.request(path)
      const packed = await app.request(path, { headers: { 'accept-encoding': 'br, gzip' } })
      expect(packed.headers.get('content-encoding')).toBe('gzip')
      expect(packed.headers.get('cache-control')).not.toBe('no-store')
      const bytes = gunzipSync(await packed.arrayBuffer())
      expect(bytes.equals(Buffer.from(await plain.arrayBuffer()))).toBe(true)
      const etag = plain.headers.get('etag') ?? ''
      expect(packed.headers.get('etag')).not.toBe(etag)
      const known = await app.request(path, { headers: { 'if-none-match': etag } })
      expect(known.status).toBe(304)
      expect(await known.text()).toBe('')
    },
  )
})
