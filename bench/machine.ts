import { execFileSync } from 'node:child_process'
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os'
import { Client } from 'pg'
import { Redis } from 'ioredis'
import type { Stack } from './stack.ts'

/** What a number was measured on: without it, it says nothing. */
export type Machine = {
  cpu: string
  cores: number
  memoryGb: number
  system: string
  node: string
  postgres: string
  /** The settings that were changed from their defaults. */
  postgresSettings: Readonly<Record<string, string>>
  redis: string
  commit: string
}

export async function describeMachine({ postgres, redis }: Stack): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    ...(await describePostgres(postgres.url)),
    redis: await describeRedis(redis.url),
    commit: describeCommit(),
  }
}

export function renderMachine(machine: Machine): string {
  const settings = Object.entries(machine.postgresSettings).map(
    ([name, value]) => `${name} ${value}`,
  )
  return [
    `${machine.cores} cores of ${machine.cpu}, ${machine.memoryGb} GB, ${machine.system}`,
    `Node ${machine.node}, Postgres ${machine.postgres} (${settings.join(', ')}), ` +
      `Redis ${machine.redis}, commit ${machine.commit}`,
    'load generator, API, worker, Redis and Postgres all on this machine',
  ].join('\n')
}

const settingsShown = ['shared_buffers', 'max_wal_size', 'synchronous_commit', 'fsync']

async function describePostgres(
  url: string,
): Promise<Pick<Machine, 'postgres' | 'postgresSettings'>> {
  const client = new Client(url)
  await client.connect()
  try {
    const { rows } = await client.query<{ name: string; value: string }>(
      'SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name',
      [['server_version', ...settingsShown]],
    )
    const values = Object.fromEntries(rows.map(({ name, value }) => [name, value]))
    const { server_version: postgres = 'unknown', ...postgresSettings } = values
    return { postgres, postgresSettings }
  } finally {
    await client.end()
  }
}

async function describeRedis(url: string): Promise<string> {
  const redis = new Redis(url)
  try {
    return /^redis_version:(\S+)/m.exec(await redis.info('server'))?.[1] ?? 'unknown'
  } finally {
    redis.disconnect()
  }
}

/** A star says that the working tree differed from the commit. */
function describeCommit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') === '' ? '' : '*'}`
  } catch {
    return 'unknown'
  }
}
