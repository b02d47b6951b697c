import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { ownerOfDataDir } from '@payonce/local/data-dir-claim'
import { startEmbeddedPostgres } from '@payonce/local/embedded-postgres'
import { Client, escapeIdentifier } from 'pg'
import type { TestProject } from 'vitest/node'
import './support/provided-context.ts'
import { chromiumMissingLine, findChromium } from './support/chromium-program.ts'
import { findHledger, hledgerMissingLine } from './support/hledger-program.ts'
import { isRedisMissing, redisMissingLine } from './support/redis-program.ts'
import { startRedisServer } from './support/redis-server.ts'

/** Gives a project one Postgres and one Redis, the same for all projects of a run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Only on a build server: elsewhere the project is left out (see vitest.config.ts).
  if (project.name === 'integration-redis' && isRedisMissing()) throw new Error(redisMissingLine)
  run.services ??= startServices()
  const { postgresUrl, databasePrefix, redisUrl } = await run.services
  run.users++
  project.provide('postgresUrl', postgresUrl)
  project.provide('databasePrefix', databasePrefix)
  project.provide('redisUrl', redisUrl)
  return async function teardown() {
    run.users--
    if (run.users === 0) await stopServices()
  }
}

type Services = {
  postgresUrl: string
  databasePrefix: string
  redisUrl: string | null
  stop(): Promise<void>
}

type Run = { services?: Promise<Services>; users: number }

/** Every project loads this file anew, so what they share has to lie outside of it. */
const shared = globalThis as typeof globalThis & { payonceTestRun?: Run }
const run: Run = (shared.payonceTestRun ??= { users: 0 })

async function startServices(): Promise<Services> {
  const postgres = await startPostgres()
  const databasePrefix = `payonce_test_${randomBytes(4).toString('hex')}`
  try {
    await createTemplate(postgres.url, `${databasePrefix}_template`)
    return services(postgres, databasePrefix, await startRedisIfThere())
  } catch (error) {
    // A faulty migration must not leave a server running, which would keep the run from ending.
    await postgres.stop(databasePrefix)
    throw error
  }
}

function services(postgres: PostgresForRun, databasePrefix: string, redis: RedisForRun): Services {
  return {
    postgresUrl: postgres.url,
    databasePrefix,
    redisUrl: redis.url,
    async stop() {
      await redis.stop()
      await postgres.stop(databasePrefix)
      if (redis.url === null) process.stderr.write(`\n*** ${redisMissingLine}\n`)
      if (findChromium() === undefined) process.stderr.write(`\n*** ${chromiumMissingLine}\n`)
      if (findHledger() === undefined) process.stderr.write(`\n*** ${hledgerMissingLine}\n`)
    },
  }
}

async function stopServices(): Promise<void> {
  const services = await run.services
  delete run.services
  await services?.stop()
}

type RedisForRun = { url: string | null; stop(): Promise<void> }

type PostgresForRun = { url: string; stop(databasePrefix: string): Promise<void> }

async function startPostgres(): Promise<PostgresForRun> {
  const url = process.env.TEST_DATABASE_URL
  if (url !== undefined) return { url, stop: (prefix) => dropDatabases(url, prefix) }
  removeLeftovers()
  const dataDir = mkdtempSync(join(tmpdir(), folderPrefix))
  const postgres = await startEmbeddedPostgres({
    dataDir,
    port: 0,
    // Two test files at a time with several pools each; durability stays as in production,
    // because api and worker refuse to start without it.
    settings: { max_connections: 300 },
    log: () => undefined,
  })
  return {
    url: postgres.url,
    async stop() {
      await postgres.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

const folderPrefix = 'payonce-test-'

/** A run that was killed leaves its folder behind. The next one removes it, unless its owner lives. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(folderPrefix))) {
    const folder = join(tmpdir(), name)
    try {
      // A minute: a run that is just starting has its folder before it has its claim on it.
      const isNew = Date.now() - statSync(folder).mtimeMs < 60_000
      if (isNew || ownerOfDataDir(folder) !== undefined) continue
      rmSync(folder, { recursive: true, force: true })
    } catch {
      // It is another user's, or a server is still writing there: not worth failing a run.
    }
  }
}

async function createTemplate(serverUrl: string, name: string): Promise<void> {
  await withClient(serverUrl, (client) => client.query(`CREATE DATABASE ${escapeIdentifier(name)}`))
  const databaseUrl = new URL(serverUrl)
  databaseUrl.pathname = `/${name}`
  await migrateDatabase({ databaseUrl: databaseUrl.href })
}

async function dropDatabases(serverUrl: string, prefix: string): Promise<void> {
  await withClient(serverUrl, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      'SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1)',
      [`${prefix}_`],
    )
    for (const { name } of rows) {
      await client.query(`DROP DATABASE ${escapeIdentifier(name)} WITH (FORCE)`)
    }
  })
}

async function withClient<Result>(
  url: string,
  use: (client: Client) => Promise<Result>,
): Promise<Result> {
  const client = new Client(url)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

async function startRedisIfThere(): Promise<RedisForRun> {
  const url = process.env.TEST_REDIS_URL
  if (url !== undefined) return { url, stop: async () => undefined }
  if (isRedisMissing()) return { url: null, stop: async () => undefined }
  const redis = await startRedisServer()
  return {
    url: redis.url,
    async stop() {
      process.kill(redis.pid, 'SIGKILL')
      await redis.exited
    },
  }
}
