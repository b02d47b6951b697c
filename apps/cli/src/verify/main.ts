import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { readDatabaseConfig } from '@payonce/core/config'
import { createPool, type Pool } from '@payonce/core/db/client'
import { formatAnchor, parseAnchor, readHeads } from '@payonce/core/verify/anchor'
import { createReader } from '@payonce/core/verify/pages'
import { verify } from '@payonce/core/verify/verify'
import { showProgress } from '../submit/progress.ts'
import { describeFaults, describeTable } from './report.ts'

const usage = `Usage:
  npm run verify -- [--anchor FILE] [--write-anchor FILE]
      checks every promise of the books over the whole database, while it is in use or not
      --anchor FILE        also that the chains of seals still contain the heads in FILE
      --write-anchor FILE  writes the heads to FILE when all holds
  npm run --silent verify -- --print-anchor
      prints the heads of the chains of seals, and checks nothing
The database is the one of DATABASE_URL; LEDGER_SECRET is the secret of the workers, if they have one.
Ends with 0 where all holds, 1 where a row breaks a rule, 2 where that could not be found out.`

async function run(argv: string[]): Promise<number> {
  const options = parse(argv)
  const { DATABASE_URL, LEDGER_SECRET } = readDatabaseConfig()
  const pool = createPool({
    databaseUrl: DATABASE_URL,
    name: 'verify',
    maxConnections: 1,
    onError: () => undefined,
  })
  try {
    if (options['print-anchor']) {
      process.stdout.write(formatAnchor(await readHeads(createReader(pool))))
      return 0
    }
    return await check(pool, LEDGER_SECRET, options)
  } finally {
    await pool.end()
  }
}

function parse(argv: string[]) {
  try {
    const { values } = parseArgs({
      args: argv,
      options: {
        anchor: { type: 'string' },
        'write-anchor': { type: 'string' },
        'print-anchor': { type: 'boolean', default: false },
      },
    })
    return values
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : ''}\n${usage}`, { cause: error })
  }
}

async function check(
  pool: Pool,
  ledgerSecret: string | undefined,
  options: ReturnType<typeof parse>,
): Promise<number> {
  const anchor =
    options.anchor === undefined ? [] : parseAnchor(readFileSync(options.anchor, 'utf8'))
  const startedAt = performance.now()
  let line = 'verify: begins'
  const progress = showProgress(process.stderr, () => line)
  const onProgress = (step: string, rows: number) => {
    line = `verify: ${step}, ${rows.toLocaleString('en')} so far`
  }
  const verdict = await verify({ pool, ledgerSecret, anchor, onProgress }).finally(progress.stop)
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
  console.log(describeFaults(verdict) + describeTable(verdict))
  console.log(
    `${conclusion(verdict.faults)} Judged: all before ${verdict.horizon.toISOString()}. ${seconds} s.`,
  )
  if (verdict.faults > 0) return 1
  const { 'write-anchor': path } = options
  if (path !== undefined) writeAnchor(path, formatAnchor(verdict.heads))
  return 0
}

function conclusion(faults: number): string {
  return faults === 0
    ? 'The books hold.'
    : `The books do not hold: ${faults.toLocaleString('en')} faults.`
}

/** In one step, so that a crash leaves the anchor that was there. */
function writeAnchor(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

try {
  process.exitCode = await run(process.argv.slice(2))
} catch (error) {
  console.error(`verify: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 2
}
