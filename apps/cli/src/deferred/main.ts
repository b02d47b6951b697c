import { parseArgs } from 'node:util'
import { createClock } from '@payonce/core/clock'
import { readDatabaseConfig } from '@payonce/core/config'
import { createPool, type Pool } from '@payonce/core/db/client'
import { createIdGenerator, decodeId, encodeId } from '@payonce/core/ids'
import { requireLedgerSecret } from '@payonce/core/ledger/seal'
import { failTransfer } from '@payonce/core/transfers/cancel'
import { findDeferred, listDeferred } from '@payonce/core/transfers/defer'

const usage = `Usage:
  npm run deferred -- list
      lists transfers that were tried and are to be tried later: id, reason, attempts, code, next try
  npm run deferred -- fail TRANSFER
      ends one that cannot be carried out (reason poison) as failed: internal_error; no money moves
The database is the one of DATABASE_URL; LEDGER_SECRET is the secret of the workers, if they have one.`

class UsageError extends Error {}

async function run(argv: string[]): Promise<void> {
  const [command, ...rest] = parse(argv)
  const { DATABASE_URL, LEDGER_SECRET } = readDatabaseConfig()
  const pool = createPool({
    databaseUrl: DATABASE_URL,
    name: 'deferred',
    maxConnections: 2,
    onError: () => undefined,
  })
  try {
    if (command === 'list' && rest.length === 0) await list(pool)
    else if (command === 'fail' && rest.length === 1) await fail(pool, LEDGER_SECRET, rest[0] ?? '')
    else throw new UsageError(usage)
  } finally {
    await pool.end()
  }
}

function parse(argv: string[]): string[] {
  try {
    return parseArgs({ args: argv, allowPositionals: true, options: {} }).positionals
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : ''}\n${usage}`)
  }
}

/** 1,000: more than anybody looks at by eye; the metrics tell how many there are. */
const longestList = 1_000

async function list(pool: Pool): Promise<void> {
  for (const deferred of await listDeferred(pool, longestList)) {
    console.log(
      [
        encodeId(deferred.isBatch ? 'batch' : 'transfer', deferred.transferId),
        deferred.reason,
        deferred.attempts,
        deferred.lastCode,
        deferred.nextDueAt.toISOString(),
      ].join('\t'),
    )
  }
}

async function fail(pool: Pool, ledgerSecret: string | undefined, text: string): Promise<void> {
  if (decodeId('batch', text) !== undefined) {
    throw new UsageError(
      `${text} is an atomic batch: it settles when its cause is put right\n${usage}`,
    )
  }
  const id = decodeId('transfer', text)
  if (id === undefined) {
    throw new UsageError(`${text.slice(0, 60)} is no id of a transfer: see list\n${usage}`)
  }
  const deferred = await findDeferred(pool, id)
  if (deferred === undefined) throw new Error(`${text} is not put aside: see list`)
  if (deferred.reason !== 'poison') {
    throw new Error(`${text} waits (${deferred.reason}) and is no bug: its client may cancel it`)
  }
  await requireLedgerSecret(pool, ledgerSecret)
  const newId = createIdGenerator(createClock().nowMs)
  const transfer = await failTransfer({ pool, newId, ledgerSecret }, deferred)
  if (transfer === undefined) throw new Error(`${text} can only be read by a newer version`)
  if (transfer === 'part_of_atomic_batch') {
    throw new Error(`${text} belongs to an atomic batch, and ends only with all of it`)
  }
  console.error(`${text} is settled: ${transfer.status}.`)
}

try {
  await run(process.argv.slice(2))
} catch (error) {
  console.error(`deferred: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
