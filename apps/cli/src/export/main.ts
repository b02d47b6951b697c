import { once } from 'node:events'
import { createWriteStream, renameSync, rmSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { readDatabaseConfig } from '@payonce/core/config'
import { createPool, type Pool } from '@payonce/core/db/client'
import { listTenants, type TenantMode } from '@payonce/core/tenants/tenant'
import { readHorizon, requireSight } from '@payonce/core/transfers/unsettled'
import { showProgress } from '../submit/progress.ts'
import { exportJournal } from './export.ts'

const usage = `Usage:
  npm run --silent export -- --format ledger [--tenant NAME] [--live] [--from TIME --to TIME] [--output FILE]
      writes the books of one tenant in plain-text accounting format, for hledger
      --format ledger  the only format so far
      --tenant NAME    whose books; may be left out where there is only one tenant
      --live           of the live tenant of that name, not of the one for tests
      --from TIME      settled from then on, with the balances of that moment as opening balances
      --to TIME        settled before then; without it, up to about a second ago
      --output FILE    into a file, which is replaced when all of it is written; else standard output
A TIME is as in 2026-01-31 (its first moment, UTC) or 2026-01-31T12:00:00Z.
The database is the one of DATABASE_URL.`

class UsageError extends Error {}

async function run(argv: string[]): Promise<void> {
  const options = readOptions(argv)
  const pool = createPool({
    databaseUrl: readDatabaseConfig().DATABASE_URL,
    name: 'export',
    maxConnections: 1,
    onError: () => undefined,
  })
  try {
    await writeBooks(pool, options)
  } finally {
    await pool.end()
  }
}

type Options = {
  tenant: string | undefined
  mode: TenantMode
  from: Date | undefined
  to: Date | undefined
  output: string | undefined
}

function readOptions(argv: string[]): Options {
  const { format, tenant, live, from, to, output } = parse(argv)
  if (format !== 'ledger') throw new UsageError(`--format takes ledger\n${usage}`)
  if (output === '') throw new UsageError(`--output takes the name of a file\n${usage}`)
  const range = { from: readTime('--from', from), to: readTime('--to', to) }
  if (range.from !== undefined && range.to !== undefined && range.from >= range.to) {
    throw new UsageError(`--from has to be before --to\n${usage}`)
  }
  return { tenant, mode: live ? 'live' : 'test', ...range, output }
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      options: {
        format: { type: 'string' },
        tenant: { type: 'string' },
        live: { type: 'boolean', default: false },
        from: { type: 'string' },
        to: { type: 'string' },
        output: { type: 'string' },
      },
    }).values
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : ''}\n${usage}`)
  }
}

/** RFC 3339, down to the milliseconds of ours, or a day. */
const timeForm = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,3})?(?:Z|[+-]\d\d:\d\d))?$/

function readTime(option: string, text: string | undefined): Date | undefined {
  if (text === undefined) return undefined
  const time = new Date(timeForm.test(text) ? text : Number.NaN)
  // A day that is not in the calendar would become another one.
  const isInCalendar = isDay(text.slice(0, 'YYYY-MM-DD'.length))
  if (!isInCalendar || Number.isNaN(time.getTime())) {
    throw new UsageError(`${option} takes a time as in 2026-01-31T12:00:00Z\n${usage}`)
  }
  return time
}

function isDay(text: string): boolean {
  const day = new Date(`${text}T00:00:00Z`)
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text)
}

async function writeBooks(pool: Pool, options: Options): Promise<void> {
  const { from, to, output } = options
  const tenant = await findTenant(pool, options)
  await requireSight(pool)
  const { horizon } = await readHorizon(pool)
  const before = to === undefined || to > horizon ? horizon : to
  if (from !== undefined && from >= before) throw new UsageError(`--from is not past yet\n${usage}`)

  let state = 'starting'
  const progress = showProgress(process.stderr, () => state)
  const journal = exportJournal({
    pool,
    tenantId: tenant.id,
    from,
    before,
    onProgress(step, count) {
      if (isStopped) throw new Error('stopped before the end')
      state = `${step}: ${count}`
    },
  })
  try {
    if (output === undefined) await writeTo(process.stdout, journal)
    else await replaceFile(output, journal)
  } finally {
    progress.stop()
  }
  console.error(
    `The books of ${options.mode} tenant ${tenant.name}, settled before ${before.toISOString()}.`,
  )
}

async function findTenant(
  pool: Pool,
  { tenant, mode }: Options,
): Promise<{ id: string; name: string }> {
  const [found, another] = await listTenants(pool, { name: tenant, mode, limit: 2 })
  if (found === undefined) {
    throw new UsageError(`there is no ${mode} tenant${tenant === undefined ? '' : ` ${tenant}`}
${usage}`)
  }
  if (another !== undefined) {
    throw new UsageError(`there are several ${mode} tenants: name one by --tenant\n${usage}`)
  }
  return found
}

/** 64 kB at a time: a journal has many short pieces. */
const pieceLength = 65_536

/** Waits for a slow reader, so that nothing piles up in memory. */
async function writeTo(stream: Writable, journal: AsyncIterable<string>): Promise<void> {
  let failure: Error | undefined
  stream.on('error', (error: Error) => (failure = error))
  let piece = ''
  async function writePiece(): Promise<void> {
    const isRoomLeft = stream.write(piece)
    piece = ''
    if (!isRoomLeft) await once(stream, 'drain')
    if (failure !== undefined) throw failure
  }
  for await (const text of journal) {
    piece += text
    if (piece.length >= pieceLength) await writePiece()
  }
  await writePiece()
}

/** Half an export never has the name of a whole one. */
async function replaceFile(path: string, journal: AsyncIterable<string>): Promise<void> {
  const partial = `${path}.${process.pid}.partial`
  const file = createWriteStream(partial, { flags: 'wx', mode: 0o600 })
  try {
    await once(file, 'open')
    await writeTo(file, journal)
    file.end()
    await finished(file)
    renameSync(partial, path)
  } catch (error) {
    file.destroy()
    rmSync(partial, { force: true })
    throw error
  }
}

/** Whoever reads only the beginning, as `head` does, has not failed us. */
function isClosedPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE'
}

let isStopped = false
// Files under TMPDIR are to be removed first: the next sign of progress ends the work.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (isStopped = true))

try {
  await run(process.argv.slice(2))
} catch (error) {
  if (!isClosedPipe(error)) {
    console.error(`export: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}
