import { execFile, fork } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { findFunctionFaults, functionCall, functionTables } from '../baselines/transfer-function.ts'
import { pgbenchPairs, type TrafficKind } from '../traffic.ts'
import { refuseFaults } from './checks.ts'
import type { OneCommitEachOptions, OneCommitEachResult } from '../baselines/one-commit-each.ts'
import type { BenchDatabase } from '../database.ts'
import type { Measurement } from '../metrics.ts'
import type { Bench } from '../scenario.ts'

export type FunctionRoundOptions = {
  database: BenchDatabase
  accounts: number
  traffic: TrafficKind
  by: 'pg' | 'pgbench'
}

/** The best of these numbers of clients is what counts: two cores are busy with fewer than four. */
const clientCounts = [4, 8, 16, 32]

/** Carries transfers out by one function call and one commit each, and checks the books behind it. */
export async function measureOneCommitEach(
  { options }: Bench,
  { database, accounts, traffic, by }: FunctionRoundOptions,
): Promise<Measurement> {
  const { pool } = database
  for (const statement of functionTables(accounts)) await pool.query(statement)
  const seconds = Math.max(2, Math.round(options.measuredMs / 1_000 / clientCounts.length))
  const rates: number[] = []
  for (const clients of clientCounts) {
    await pool.query('CHECKPOINT')
    const run = by === 'pg' ? runByPg : runByPgbench
    rates.push(await run({ databaseUrl: database.url, accounts, traffic, clients, seconds }))
  }
  refuseFaults(await findFunctionFaults(pool))
  return { settledPerSecond: Math.max(...rates) }
}

async function runByPg(options: OneCommitEachOptions): Promise<number> {
  const child = fork(
    fileURLToPath(new URL('../baselines/one-commit-each.ts', import.meta.url)),
    [],
    { execArgv: ['--import', 'tsx'] },
  )
  try {
    child.send(options)
    const [{ perSecond }] = (await once(child, 'message')) as [OneCommitEachResult]
    return perSecond
  } finally {
    child.kill()
  }
}

async function runByPgbench(options: OneCommitEachOptions): Promise<number> {
  const { databaseUrl, accounts, traffic, clients, seconds } = options
  const script = join(tmpdir(), `payonce-bench-${process.pid}.sql`)
  await writeFile(
    script,
    `${pgbenchPairs(traffic, accounts)}
\\set key random(1, 9000000000000000000)
\\set amount random(1, 10000)
SELECT ${functionCall(':key', ':source', ':destination', ':amount')};
`,
  )
  const { stdout } = await promisify(execFile)('pgbench', [
    '--no-vacuum',
    '--protocol=prepared',
    '--jobs=2',
    `--client=${clients}`,
    `--time=${seconds}`,
    `--file=${script}`,
    databaseUrl,
  ])
  const rate = /tps = ([\d.]+)/.exec(stdout)?.[1]
  if (rate === undefined) throw new Error(`pgbench told no rate: ${stdout}`)
  return Number(rate)
}
