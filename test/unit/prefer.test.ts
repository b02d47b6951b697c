import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { preferredWait } from '@payonce/api/prefer'
import { Problem } from '@payonce/api/problem'
import type { Env } from '@payonce/api/deps'

/** What the API makes of this header: the seconds, null for none, or the code of the problem. */
async function waitOf(header: string | undefined): Promise<unknown> {
  const app = new Hono<Env>()
    .onError((error, c) => {
      if (!(error instanceof Problem)) throw error
      return c.json(error.code)
    })
    .get('/', (c) => c.json(preferredWait(c) ?? null))
  const headers: Record<string, string> = header === undefined ? {} : { prefer: header }
  const response = await app.request('/', { headers })
  return response.json()
}

describe('Prefer: wait', () => {
  it.each([
    ['wait=5', 5],
    ['wait=0', 0],
    ['wait=30', 30],
    ['WAIT=5', 5],
    ['wait="5"', 5],
    ['wait = 5', 5],
    ['respond-async, wait=5', 5],
    ['respond-async;wait=5', 5],
    ['return=minimal, wait=5, handling=lenient', 5],
    ['wait=5, wait=9', 5],
    ['wait=05', 5],
  ])('is understood in %s', async (header, seconds) => {
    expect(await waitOf(header)).toBe(seconds)
  })

  it.each(['wait=31', 'wait=60', 'wait=999999'])('is cut to 30 s in %s', async (header) => {
    expect(await waitOf(header)).toBe(30)
  })

  it.each([
    [undefined],
    [''],
    ['respond-async'],
    ['return=representation'],
    ['await=5'],
    ['waiting=5'],
    ['no-wait=5'],
    ['wait'],
  ])('is not asked for by %s, which is ignored', async (header) => {
    expect(await waitOf(header)).toBeNull()
  })

  it.each([
    'wait=',
    'wait=-1',
    'wait=abc',
    'wait=1.5',
    'wait=1e3',
    'wait=5s',
    'wait=1000000',
    'wait=""',
  ])('is refused in %s', async (header) => {
    expect(await waitOf(header)).toBe('invalid_parameter')
  })
})
