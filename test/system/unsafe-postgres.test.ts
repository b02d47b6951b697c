import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { migrateQueue } from '@payonce/core/queue/queues'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@payonce/local/embedded-postgres'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startProgram } from '../support/processes.ts'

/*
 * Settings of a whole server, so that the test needs one of its own. That of a single database is
 * tried in test/integration/durability.test.ts.
 */

let folder: string
let postgres: EmbeddedPostgres
const namespace = 'payonce_queue'

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'payonce-unsafe-'))
  postgres = await startEmbeddedPostgres({ dataDir: folder, port: 0, log: () => undefined })
  await migrateDatabase({ databaseUrl: postgres.url })
  await migrateQueue({ databaseUrl: postgres.url, namespace })
})

afterAll(async () => {
  await postgres.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function set(setting: string, value: 'on' | 'off'): Promise<void> {
  const client = new pg.Client(postgres.url)
  await client.connect()
  try {
    await client.query(`ALTER SYSTEM SET ${setting} = ${value}`)
    await client.query('SELECT pg_reload_conf()')
    // The reload reaches a new session at once, and an old one in its own time.
  } finally {
    await client.end()
  }
}

describe.each(['fsync', 'full_page_writes', 'synchronous_commit'])(
  'a Postgres with %s off (F8)',
  (setting) => {
    test.each(['apps/api/src/main.ts', 'apps/worker/src/main.ts'])(
      'is refused by %s, which names the setting and ends with 1',
      async (program) => {
        await set(setting, 'off')
        try {
          const refused = await startProgram(program, {
            env: { DATABASE_URL: postgres.url, QUEUE_NAMESPACE: namespace, PORT: '0' },
          })
          expect(await refused.exited).toEqual({ code: 1 })
          expect(refused.output()).toContain(`set ${setting} = on`)
          // One line for a person, and no stack.
          expect(refused.output().trim().split('\n')).toHaveLength(1)
        } finally {
          await set(setting, 'on')
        }
      },
    )
  },
)
