import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Client, type Pool } from 'pg'
import { createPool } from '@payonce/core/db/client'
import { commandOfScript, repositoryRoot } from './program.ts'
import type { Stack } from './stack.ts'

/** A database at the schema of a checkout, with a tenant that has a key. */
export type BenchDatabase = {
  /** Whose API and worker it is for. */
  checkout: string
  url: string
  pool: Pool
  tenantId: string
  apiKey: string
  drop(): Promise<void>
}

/** Makes databases that are all alike: the first one is set up as a user would, the others copied. */
export type DatabaseMaker = { create(): Promise<BenchDatabase> }

export async function createDatabaseMaker(
  { postgres }: Pick<Stack, 'postgres'>,
  checkout = repositoryRoot,
): Promise<DatabaseMaker> {
  const template = `payonce_bench_${checkout === repositoryRoot ? 'this' : 'other'}`
  const urlOf = (name: string) =>
    Object.assign(new URL(postgres.url), { pathname: `/${name}` }).href
  await runAlone(postgres.url, `CREATE DATABASE ${template}`)
  await runScript(checkout, ['migrate'], urlOf(template))
  const apiKey = await runScript(checkout, ['keys', 'create', '--tenant', 'bench'], urlOf(template))
  let made = 0

  async function create(): Promise<BenchDatabase> {
    const name = `${template}_${++made}`
    await runAlone(postgres.url, `CREATE DATABASE ${name} TEMPLATE ${template}`)
    const pool = createPool({
      databaseUrl: urlOf(name),
      name: 'bench',
      maxConnections: 2,
      queryTimeoutMs: longestStatementMs,
      onError: () => undefined,
    })
    return {
      checkout,
      url: urlOf(name),
      pool,
      tenantId: await readTenantId(pool),
      apiKey,
      drop: async () => {
        await pool.end()
        await runAlone(postgres.url, `DROP DATABASE ${name} WITH (FORCE)`)
      },
    }
  }

  return { create }
}

/** Lends a fresh database, and drops it afterwards. */
export async function withDatabase<Result>(
  databases: DatabaseMaker,
  use: (database: BenchDatabase) => Promise<Result>,
): Promise<Result> {
  const database = await databases.create()
  try {
    return await use(database)
  } finally {
    await database.drop()
  }
}

/** An hour: filling tables with millions of rows takes minutes. */
const longestStatementMs = 3_600_000

async function readTenantId(pool: Pool): Promise<string> {
  const { rows } = await pool.query<{ id: string }>('SELECT id FROM tenants')
  const row = rows[0]
  if (row === undefined) throw new Error('the database has no tenant')
  return row.id
}

/**
 * Runs a script of package.json on a database and returns what it prints. Without REDIS_URL the
 * migration prepares the queue in Postgres as well, so that both backends can be measured.
 */
async function runScript(
  checkout: string,
  [name = '', ...args]: string[],
  databaseUrl: string,
): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...commandOfScript(name, checkout), ...args],
    { cwd: checkout, env: { PATH: process.env.PATH, DATABASE_URL: databaseUrl } },
  )
  return stdout.trim()
}

async function runAlone(url: string, statement: string): Promise<void> {
  const client = new Client(url)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
