import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { summariseCpuProfile } from './cpu-profile.ts'
import type { BenchDatabase } from './database.ts'

/**
 * Where the time of one round goes. Everything in it slows down what it looks at, so its rates are
 * not to be quoted.
 */
export type Profile = {
  /** Flags of node that make a process write its CPU profile when it ends. */
  nodeFlags(program: string): string[]
  /** Begins to count what statements and Redis commands cost. */
  start(): Promise<void>
  /** Writes what they cost for so many transfers. */
  writeCosts(transfers: number): Promise<void>
  /** Writes which functions the time went into, once the processes have ended. */
  writeFunctions(): void
}

export type ProfileOptions = { folder: string; database: BenchDatabase; redis: Redis }

export function createProfile({ folder, database, redis }: ProfileOptions): Profile {
  mkdirSync(folder, { recursive: true })
  const programs: string[] = []
  return {
    nodeFlags: (program) => {
      programs.push(program)
      return ['--cpu-prof', `--cpu-prof-dir=${join(folder, program)}`]
    },
    start: async () => {
      await database.pool.query('CREATE EXTENSION IF NOT EXISTS pg_stat_statements')
      await database.pool.query('SELECT pg_stat_statements_reset()')
      await redis.config('RESETSTAT')
    },
    writeCosts: async (transfers) => {
      const statements = await readStatements(database)
      writeFileSync(join(folder, 'statements.txt'), renderStatements(statements, transfers))
      const commands = await redis.info('commandstats')
      writeFileSync(join(folder, 'redis-commands.txt'), renderCommands(commands, transfers))
    },
    writeFunctions: () => {
      for (const program of programs) {
        const text = renderFunctions(readMainProfile(join(folder, program)))
        writeFileSync(join(folder, `${program}-functions.txt`), text)
      }
    },
  }
}

type Statement = {
  calls: number
  rows: number
  executionMs: number
  planningMs: number
  query: string
}

async function readStatements({ pool }: BenchDatabase): Promise<Statement[]> {
  const { rows } = await pool.query<Statement>(
    `SELECT calls::float8 AS calls, rows::float8 AS rows, total_exec_time AS "executionMs",
            total_plan_time AS "planningMs", query
       FROM pg_stat_statements
      WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      ORDER BY total_exec_time + total_plan_time DESC
      LIMIT 40`,
  )
  return rows
}

function renderStatements(statements: readonly Statement[], transfers: number): string {
  const lines = statements.map(({ calls, rows, executionMs, planningMs, query }) => {
    const perTransfer = (ms: number) => ((ms * 1_000) / transfers).toFixed(1).padStart(7)
    return (
      `${perTransfer(executionMs)} ${perTransfer(planningMs)} ${calls.toFixed(0).padStart(8)} ` +
      `${(rows / calls).toFixed(1).padStart(7)}  ${query.replaceAll(/\s+/g, ' ').slice(0, 200)}`
    )
  })
  const head =
    '     µs      µs    calls    rows  statement (µs executing and planning per transfer)'
  return [head, ...lines, ''].join('\n')
}

function renderCommands(commandStatistics: string, transfers: number): string {
  const found = [...commandStatistics.matchAll(/^cmdstat_(\S+?):calls=(\d+),usec=(\d+)/gm)]
  const lines = found
    .map(([, name, calls, usec]) => ({ name, calls: Number(calls), usec: Number(usec) }))
    .toSorted((a, b) => b.usec - a.usec)
    .map(({ name, calls, usec }) =>
      [calls, usec]
        .map((sum) => (sum / transfers).toFixed(2).padStart(8))
        .concat(` ${name}`)
        .join(' '),
    )
  const head = '   calls       µs  command (per transfer; scripts count what they call once more)'
  return [head, ...lines, ''].join('\n')
}

/** The profile of the main thread, whose number is 0: tsx compiles in another one. */
function readMainProfile(folder: string): string {
  const name = readdirSync(folder).find((file) => /\.0\.\d+\.cpuprofile$/.test(file))
  if (name === undefined) throw new Error(`${folder} holds no CPU profile`)
  return readFileSync(join(folder, name), 'utf8')
}

const functionsShown = 60

function renderFunctions(profile: string): string {
  const { busyShare, packages, self, inclusive } = summariseCpuProfile(profile)
  const lines = (costs: typeof self) =>
    costs
      .slice(0, functionsShown)
      .map(({ name, share }) => `${(100 * share).toFixed(1).padStart(6)} % ${name}`)
  return [
    `busy ${(100 * busyShare).toFixed(1)} % of the time; shares are of the busy time`,
    '\nby package, itself',
    ...lines(packages),
    '\nby function, itself',
    ...lines(self),
    '\nby function, with what it calls',
    ...lines(inclusive),
    '',
  ].join('\n')
}
