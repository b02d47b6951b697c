import { readHorizon, requireSight } from '../transfers/unsettled.ts'
import { checkAccounts, checkSums } from './accounts.ts'
import { readHeads, type ChainHead } from './anchor.ts'
import { checkChains } from './chains.ts'
import { checkDue } from './due.ts'
import { Findings, type RuleFindings } from './findings.ts'
import { createReader, type Reader } from './pages.ts'
import { checkSeals } from './seals.ts'
import { checkSettlements } from './settlements.ts'
import { Slices } from './slices.ts'
import { checkTransfers } from './transfers.ts'
import type { Pool } from '../db/client.ts'
import type { Check } from './check.ts'

export type VerifyOptions = {
  pool: Pool
  ledgerSecret?: string | undefined
  /** Heads that were noted earlier. */
  anchor?: readonly ChainHead[]
  /** Called often: what is looked at now, and how many rows of it so far. */
  onProgress?(step: string, rows: number): void
}

export type Verdict = {
  findings: RuleFindings[]
  faults: number
  /** What was settled later was not judged: it may not have been all there. */
  horizon: Date
  /** The heads of the chains before anything was looked at, to be kept as the next anchor. */
  heads: ChainHead[]
}

/**
 * Checks every promise of the books over the whole database, and changes nothing. Memory is bounded
 * up to 80 million entries, and grows slowly above: rows are read in pages, and what has to be
 * brought together lies in files under TMPDIR meanwhile. Safe while the system runs: no statement takes longer than 5 s, what is
 * immutable is judged below a horizon, and what changes is compared within one statement.
 *
 * Throws for outages, for a role that may not see what others have begun, and `MissingSecretError`
 * where seals are keyed and no secret is given.
 */
export async function verify(options: VerifyOptions): Promise<Verdict> {
  const { pool, ledgerSecret, anchor = [], onProgress } = options
  const read = createReader(pool)
  await requireSight(pool)
  const heads = await readHeads(read)
  const { now, horizon } = await readHorizon(pool)
  const readAtMs = performance.now()
  const latest = () => new Date(now.getTime() + performance.now() - readAtMs + leewayMs)
  const slices = new Slices(await countSlices(read))
  const findings = new Findings()

  async function run(step: string, work: (check: Check) => Promise<void>): Promise<void> {
    let rows = 0
    onProgress?.(step, rows)
    const tell = (more: number) => onProgress?.(step, (rows += more))
    await work({ read, findings, slices, horizon, latest, ledgerSecret, onProgress: tell })
  }

  try {
    await run('settlements', (check) => checkSettlements(check, anchor))
    await run('sums', checkSums)
    await run('accounts', checkAccounts)
    await run('entries', checkChains)
    await run('transfers', checkTransfers)
    await run('due requests', (check) => checkDue(pool, check))
    await run('seals', checkSeals)
  } finally {
    slices.remove()
  }
  return { findings: findings.all(), faults: findings.faults, horizon, heads }
}

/** A minute: two clocks may run apart by so much while everything is looked at. */
const leewayMs = 60_000
/** 10,000 entries, which are some 10 MB in memory; above 80 million of them, slices grow. */
const entriesPerSlice = 10_000
/** An entry takes so many bytes of its table at least. */
const bytesPerEntry = 100

async function countSlices(read: Reader): Promise<number> {
  const [row] = await read<{ bytes: bigint }>(`SELECT pg_table_size('entries') AS bytes`)
  const entries = Number(row?.bytes ?? 0n) / bytesPerEntry
  return Math.min(8_192, Math.max(1, Math.ceil(entries / entriesPerSlice)))
}
