import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@payonce/local/embedded-postgres'
import { startRedisServer, type RedisServer } from '../test/support/redis-server.ts'

/** The servers that a run measures on: its own, empty at first, and gone afterwards. */
export type Stack = {
  postgres: EmbeddedPostgres
  redis: RedisServer
  /** A folder for whatever else is needed. It goes with this process, however that ends. */
  folder: string
  /** A second call waits for the first. */
  stop(): Promise<void>
}

/** `countStatements` lets Postgres count what each statement costs, which itself costs a little. */
export async function startStack(options: { countStatements: boolean }): Promise<Stack> {
  const folder = mkdtempSync(join(tmpdir(), 'payonce-bench-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const redis = await startRedisServer()
  const postgres = await startEmbeddedPostgres({
    dataDir: join(folder, 'data'),
    port: 0,
    settings: { ...settings, ...(options.countStatements ? statementSettings : {}) },
    log: () => undefined,
  })
  let stopping: Promise<void> | undefined
  return { postgres, redis, folder, stop: () => (stopping ??= stopServers(postgres, redis)) }
}

const megabyte = 2 ** 20

/** What an operator sets on a server of this size. Durability stays as it is by default: on. */
const settings = {
  // A quarter of the memory, as the manual advises, but no more than the tables here can use.
  shared_buffers: `${Math.min(1_024, Math.floor(totalmem() / megabyte / 4))}MB`,
  // So large that time, and not the amount written, decides when a checkpoint comes.
  max_wal_size: '4GB',
}

const statementSettings = {
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.track_planning': true,
}

async function stopServers(postgres: EmbeddedPostgres, redis: RedisServer): Promise<void> {
  if (redis.isRunning()) process.kill(redis.pid, 'SIGKILL')
  await redis.exited
  await postgres.stop()
}
