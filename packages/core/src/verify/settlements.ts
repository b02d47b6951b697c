import { CHAIN_COUNT } from '../ledger/seal.ts'
import { readPages } from './pages.ts'
import type { ChainHead } from './anchor.ts'
import { isJudged, type Check } from './check.ts'

type SettlementRow = {
  chain: number
  position: bigint
  id: string
  is_keyed: boolean
  transfer_count: number
  settled_at: Date
}

type EndRow = ChainHead & { last_position: bigint | null; last_seal: Buffer | null }

/** 2,000: the rows are short, since their transfers are only counted. */
const settlementsPerPage = 2_000

/**
 * Follows every chain of seals from its first settlement to its head, and lays each settlement down
 * beside its rows. Throws where seals are keyed and no secret is given: then nothing can be said.
 */
export async function checkSettlements(check: Check, anchor: readonly ChainHead[]): Promise<void> {
  const { read, findings, slices, ledgerSecret, onProgress } = check
  const pages = readPages<SettlementRow>(settlementsPerPage, (after, limit) =>
    read(
      `SELECT chain, position, id, is_keyed, cardinality(transfer_ids) AS transfer_count, settled_at
         FROM settlements WHERE (chain, position) > ($1::smallint, $2::bigint)
        ORDER BY chain, position LIMIT $3`,
      [after?.chain ?? -32_768, after?.position ?? 0n, limit],
    ),
  )
  let before: SettlementRow | undefined
  for await (const rows of pages) {
    for (const settlement of rows) {
      const previous = before?.chain === settlement.chain ? before : undefined
      before = settlement
      if (settlement.is_keyed && ledgerSecret === undefined) throw new MissingSecretError()
      checkLink(findings, previous, settlement)
      const row = { rule: 'chains_are_whole', ...nameOf(settlement) } as const
      if (!isJudged(check, settlement.settled_at, row)) continue
      slices.append('settlements', settlement.settled_at, [
        settlement.chain,
        settlement.position,
        settlement.transfer_count,
      ])
    }
    findings.checked('chains_are_whole', rows.length)
    onProgress(rows.length)
  }
  await checkEnds(check)
  await checkAnchor(check, anchor)
}

/** The seals are HMACs, and only who has the secret can make them again. */
export class MissingSecretError extends Error {
  override name = 'MissingSecretError'
  constructor() {
    super('the seals are keyed: set LEDGER_SECRET to the secret of the workers')
  }
}

function nameOf({ chain, position }: { chain: number; position: bigint }) {
  return { table: 'settlements', ids: { chain: `${chain}`, position: `${position}` } }
}

function checkLink(
  findings: Check['findings'],
  before: SettlementRow | undefined,
  settlement: SettlementRow,
): void {
  findings.compare('chains_are_whole', nameOf(settlement), {
    what: 'position',
    expected: (before?.position ?? 0n) + 1n,
    found: settlement.position,
  })
  // Whoever has no secret can still make plain seals, and could end a chain with them.
  if (before?.is_keyed === true && !settlement.is_keyed) {
    findings.fault('chains_are_whole', {
      ...nameOf(settlement),
      expected: 'a keyed seal, as before',
      found: 'a plain hash',
    })
  }
}

/** Head and last settlement are read by one statement: both move while the system runs. */
async function checkEnds({ read, findings }: Check): Promise<void> {
  const ends = await read<EndRow>(
    `SELECT chain, length, ledger_chains.seal, last.position AS last_position,
            last.seal AS last_seal
       FROM ledger_chains
       LEFT JOIN LATERAL (
         SELECT position, seal FROM settlements WHERE settlements.chain = ledger_chains.chain
          ORDER BY position DESC LIMIT 1) AS last ON true
      ORDER BY chain`,
  )
  findings.compare(
    'chains_are_whole',
    { table: 'ledger_chains', ids: {} },
    { what: 'rows', expected: CHAIN_COUNT, found: ends.length },
  )
  for (const { chain, length, seal, last_position, last_seal } of ends) {
    const row = { table: 'ledger_chains', ids: { chain: `${chain}` } }
    const comparisons = [
      ['length', last_position ?? 0n, length],
      ['seal', last_seal?.toString('hex') ?? '', seal.toString('hex')],
    ] as const
    for (const [what, expected, found] of comparisons) {
      findings.compare('chains_are_whole', row, { what, expected, found })
    }
  }
}

/** What once was the end of a chain has to be in it for ever. */
async function checkAnchor({ read, findings }: Check, anchor: readonly ChainHead[]): Promise<void> {
  const known = anchor.filter(({ length }) => length > 0n)
  const rows = await read<{ chain: number; position: bigint; seal: Buffer | null }>(
    `SELECT anchor.chain, anchor.position, settlements.seal
       FROM unnest($1::smallint[], $2::bigint[]) AS anchor (chain, position)
       LEFT JOIN settlements ON settlements.chain = anchor.chain
                            AND settlements.position = anchor.position`,
    [known.map(({ chain }) => chain), known.map(({ length }) => length)],
  )
  findings.checked('chains_are_whole', known.length)
  for (const row of rows) {
    const seal = known.find(({ chain }) => chain === row.chain)?.seal.toString('hex') ?? null
    findings.compare('chains_are_whole', nameOf(row), {
      what: 'seal of the anchor',
      expected: seal,
      found: row.seal?.toString('hex') ?? 'no row: the tail was cut off',
    })
  }
}
