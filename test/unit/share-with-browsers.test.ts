import { describe, expect, it } from 'vitest'
import { ConfigError, readApiConfig } from '@payonce/core/config'
import { createAppWithoutStores } from '../support/app-without-stores.ts'

const app = createAppWithoutStores()
const shop = 'https://shop.example'

const preflight = (origin = shop) => ({
  method: 'OPTIONS',
  headers: {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,idempotency-key',
  },
})

describe('a script of another origin', () => {
  it('may ask beforehand, without a key', async () => {
    const response = await app.request('/v1/transfers', preflight())
    expect(response.status).toBe(204)
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    expect(response.headers.get('access-control-allow-methods')).toContain('POST')
    expect(response.headers.get('access-control-allow-headers')).toMatch(
      /Authorization.*Idempotency-Key/,
    )
  })

  it('I12: may read the headers that tell of a replay, of an error too', async () => {
    const response = await app.request('/v1/transfers', { headers: { origin: shop } })
    expect(response.status).toBe(401)
    expect(response.headers.get('access-control-allow-origin')).toBe('*')
    const exposed = response.headers.get('access-control-expose-headers')?.split(', ')
    expect(exposed).toEqual(
      expect.arrayContaining([
        'Idempotent-Replayed',
        'Payonce-Status',
        'Location',
        'Retry-After',
        'request-id',
      ]),
    )
  })

  it('sees nothing where only others are allowed', async () => {
    const strict = createAppWithoutStores({ corsOrigins: ['https://bank.example'] })
    const foreign = await strict.request('/v1/transfers', { headers: { origin: shop } })
    expect(foreign.headers.has('access-control-allow-origin')).toBe(false)
    expect((await strict.request('/v1/transfers', preflight())).status).toBe(401)
    const allowed = await strict.request('/v1/transfers', preflight('https://bank.example'))
    expect(allowed.status).toBe(204)
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://bank.example')
  })
})

it('OPTIONS that is no preflight is a method like any other', async () => {
  const response = await app.request('/docs/idempotency', { method: 'OPTIONS' })
  expect(response.status).toBe(405)
  expect(response.headers.get('allow')).toBe('GET, HEAD')
})

describe('CORS_ORIGINS', () => {
  const origins = (text?: string) =>
    readApiConfig({ DATABASE_URL: 'postgres://127.0.0.1/payonce', CORS_ORIGINS: text }).CORS_ORIGINS

  it('is any origin unless told otherwise, a list, or none', () => {
    expect(origins()).toEqual(['*'])
    expect(origins('https://a.example, http://localhost:5173')).toEqual([
      'https://a.example',
      'http://localhost:5173',
    ])
    expect(origins('none')).toEqual([])
  })

  it.each(['a.example', 'https://a.example/', 'https://*.a.example/x', ','])(
    '%s is no origin',
    (text) => expect(() => origins(text)).toThrow(ConfigError),
  )
})
