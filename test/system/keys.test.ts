import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '../support/client.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { createStores } from '../support/stores.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire, ListOnWire } from '../support/wire.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce({ stores: await createStores('postgres'), worker: false })
})

type Outcome = { code: number; stdout: string; stderr: string }

/** `npm run keys -- …`, without npm: its output apart, as a script sees it. */
async function keys(...parameters: string[]): Promise<Outcome> {
  const program = ['--import', 'tsx', 'apps/cli/src/keys/main.ts', ...parameters]
  const env = { PATH: process.env.PATH ?? '', DATABASE_URL: payonce.stores.databaseUrl }
  try {
    const output = await promisify(execFile)(process.execPath, program, { cwd: root, env })
    return { code: 0, ...output }
  } catch (error) {
    const { code, stdout, stderr } = error as Outcome
    return { code, stdout, stderr }
  }
}

describe('npm run keys', () => {
  test('create prints the key alone on standard output, and the key works', async () => {
    const created = await keys('create', '--tenant', 'Alice & Söhne')
    expect(created.code).toBe(0)
    expect(created.stdout).toMatch(/^po_test_[A-Za-z0-9_-]{43}[0-9a-z]{6}\n$/)
    const key = created.stdout.trim()
    expect(created.stderr).not.toContain(key)
    const client = createClient(payonce.api.url, key)
    expect((await client.post('/v1/accounts', { currency: 'EUR' })).status).toBe(201)

    // A second key is of the same tenant; one for live money is of another one.
    const second = createClient(
      payonce.api.url,
      (await keys('create', '--tenant', 'Alice & Söhne')).stdout.trim(),
    )
    const live = await keys('create', '--tenant', 'Alice & Söhne', '--live')
    expect(live.stdout).toMatch(/^po_live_/)
    const accountsOf = async (one: typeof client) =>
      (await one.get<ListOnWire<AccountOnWire>>('/v1/accounts')).body.data.length
    expect(await accountsOf(second)).toBe(1)
    expect(await accountsOf(createClient(payonce.api.url, live.stdout.trim()))).toBe(0)
  })

  test('list shows every key of a tenant, and never the keys themselves', async () => {
    const created = await Promise.all([
      keys('create', '--tenant', 'listed', '--scope', 'read'),
      keys('create', '--tenant', 'listed', '--expires-in', '30'),
    ])
    const listed = await keys('list', '--tenant', 'listed')
    expect(listed.code).toBe(0)
    const lines = listed.stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(2)
    for (const { stdout } of created) {
      const key = stdout.trim()
      expect(listed.stdout).not.toContain(key)
      expect(lines.some((line) => line.includes(`…${key.slice(-4)}`))).toBe(true)
    }
    expect((await keys('list')).stdout.split('\n').length).toBeGreaterThan(3)
  })

  test('revoke ends a key within five seconds, also at an API that has just used it', async () => {
    const key = (await keys('create', '--tenant', 'revoked')).stdout.trim()
    const client = createClient(payonce.api.url, key)
    expect((await client.get('/v1/accounts')).status).toBe(200)
    const id = (await keys('list', '--tenant', 'revoked')).stdout.split('\t')[0] ?? ''
    const revoked = await keys('revoke', id)
    expect([revoked.code, revoked.stdout]).toEqual([0, ''])
    const startedAt = performance.now()
    const refused = await until(
      'the key is refused',
      async () => {
        const answer = await client.get('/v1/accounts')
        return answer.status !== 200 && answer
      },
      { everyMs: 100 },
    )
    expect([refused.status, refused.body.code]).toEqual([401, 'unauthorized'])
    expect(performance.now() - startedAt).toBeLessThan(5_500)
    expect((await keys('list', '--tenant', 'revoked')).stdout).toContain('revoked')
    expect((await keys('revoke', id)).code).toBe(0)
  })

  test.each<[what: string, parameters: string[], code: number, says: RegExp]>([
    ['nothing', [], 2, /Usage/],
    ['an unknown command', ['delete'], 2, /Usage/],
    ['create without a tenant', ['create'], 2, /--tenant/],
    ['create for a tenant without a name', ['create', '--tenant', ''], 2, /--tenant/],
    ['an unknown option', ['create', '--tenant', 'x', '--admin'], 2, /--admin/],
    ['an unknown scope', ['create', '--tenant', 'x', '--scope', 'root'], 2, /--scope/],
    ['revoke of no id', ['revoke', 'po_test_x'], 2, /no id of a key/],
    [
      'revoke of an unknown id',
      ['revoke', `ak_${'0'.repeat(12)}70008000${'0'.repeat(12)}`],
      1,
      /no key/,
    ],
  ])('refuses %s, and prints nothing on standard output', async (_what, parameters, code, says) => {
    const refused = await keys(...parameters)
    expect([refused.code, refused.stdout]).toEqual([code, ''])
    expect(refused.stderr).toMatch(says)
  })
})
