import { firstUuid, readPages } from './pages.ts'
import { isJudged, type Check } from './check.ts'

type EntryRow = {
  tenant_id: string
  account_id: string
  seq: bigint
  transfer_id: string
  amount: bigint
  balance_after: bigint
  created_at: Date
  currency: string | null
  /** The lowest limit that the account ever had, where it is internal and the entry below zero. */
  lowest_limit: bigint | null
}

/** 5,000 rows of 200 bytes: a page is a matter of some 20 ms, and of a megabyte. */
const entriesPerPage = 5_000

/** Follows every account's entries from the first, and lays each down beside its settlement. */
export async function checkChains(check: Check): Promise<void> {
  const { read, findings, slices, onProgress } = check
  const pages = readPages<EntryRow>(entriesPerPage, (after, limit) =>
    read(
      `SELECT entries.*, accounts.currency,
              CASE WHEN kind = 'internal' AND balance_after < 0 THEN (
                SELECT coalesce(min(account_limits.overdraft_limit), 0) FROM account_limits
                 WHERE account_limits.tenant_id = entries.tenant_id
                   AND account_limits.account_id = entries.account_id) END AS lowest_limit
         FROM (SELECT * FROM entries
                WHERE (tenant_id, account_id, seq) > ($1::uuid, $2::uuid, $3::bigint)
                ORDER BY tenant_id, account_id, seq LIMIT $4) AS entries
         LEFT JOIN accounts ON accounts.tenant_id = entries.tenant_id
                           AND accounts.id = entries.account_id
        ORDER BY entries.tenant_id, entries.account_id, entries.seq`,
      [after?.tenant_id ?? firstUuid, after?.account_id ?? firstUuid, after?.seq ?? 0n, limit],
    ),
  )
  let before: EntryRow | undefined
  for await (const rows of pages) {
    let checked = 0
    const suspects: EntryRow[] = []
    for (const entry of rows) {
      const previous = isSameAccount(before, entry) ? before : undefined
      before = entry
      // Behind the horizon an account's entries may still be coming.
      const row = { rule: 'entries_form_a_chain', table: 'entries', ids: idsOf(entry) } as const
      if (!isJudged(check, entry.created_at, row)) continue
      checked++
      checkLink(findings, previous, entry)
      const { lowest_limit, balance_after } = entry
      if (lowest_limit !== null && balance_after < -lowest_limit) suspects.push(entry)
      slices.append('entries', entry.created_at, [
        entry.tenant_id,
        entry.account_id,
        entry.seq,
        entry.transfer_id,
        entry.amount,
        entry.balance_after,
        entry.created_at.valueOf(),
        entry.currency,
      ])
    }
    await checkLimits(check, suspects)
    findings.checked('entries_form_a_chain', checked)
    findings.checked('limits_hold', checked)
    onProgress(checked)
  }
}

function isSameAccount(before: EntryRow | undefined, entry: EntryRow): boolean {
  return before?.account_id === entry.account_id && before.tenant_id === entry.tenant_id
}

function checkLink(
  findings: Check['findings'],
  before: EntryRow | undefined,
  entry: EntryRow,
): void {
  const row = { table: 'entries', ids: idsOf(entry) }
  const comparisons = [
    ['seq', (before?.seq ?? 0n) + 1n, entry.seq],
    ['balance_after', (before?.balance_after ?? 0n) + entry.amount, entry.balance_after],
  ] as const
  for (const [what, expected, found] of comparisons) {
    findings.compare('entries_form_a_chain', row, { what, expected, found })
  }
  if (before !== undefined && entry.created_at < before.created_at) {
    findings.fault('entries_form_a_chain', {
      ...row,
      expected: `created_at not before ${before.created_at.toISOString()}`,
      found: entry.created_at.toISOString(),
    })
  }
  if (entry.currency === null) {
    findings.fault('entries_form_a_chain', { ...row, expected: 'an account', found: 'nothing' })
  }
}

function idsOf(entry: EntryRow): Record<string, string> {
  return {
    tenant_id: entry.tenant_id,
    account_id: entry.account_id,
    seq: entry.seq.toString(),
    transfer_id: entry.transfer_id,
  }
}

/**
 * Entries below the lowest limit that an account ever had, against the one that was in force: clocks
 * may step back, so it is found by the version that the transfer left the account at.
 */
async function checkLimits(
  { read, findings }: Check,
  suspects: readonly EntryRow[],
): Promise<void> {
  if (suspects.length === 0) return
  const column = <K extends keyof EntryRow>(name: K) => suspects.map((entry) => entry[name])
  const rows = await read<EntryRow & { in_force: bigint | null }>(
    `SELECT suspects.*, in_force.overdraft_limit AS in_force
       FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[])
         AS suspects (tenant_id, account_id, seq, transfer_id, balance_after)
       LEFT JOIN transfers ON transfers.tenant_id = suspects.tenant_id
                          AND transfers.id = suspects.transfer_id
       LEFT JOIN LATERAL (
         SELECT CASE WHEN legs IS NULL THEN
                  CASE account_id WHEN source THEN source_version ELSE destination_version END
                ELSE (
                  SELECT max(CASE account_id WHEN leg.source THEN leg.source_version
                                             ELSE leg.destination_version END)
                    FROM jsonb_to_recordset(legs)
                      AS leg (source uuid, destination uuid, source_version bigint,
                              destination_version bigint)
                   WHERE account_id IN (leg.source, leg.destination)) END AS version
       ) AS judged ON true
       LEFT JOIN LATERAL (
         SELECT overdraft_limit FROM account_limits
          WHERE account_limits.tenant_id = suspects.tenant_id
            AND account_limits.account_id = suspects.account_id
            AND account_limits.version <= judged.version
          ORDER BY account_limits.version DESC LIMIT 1) AS in_force ON true`,
    [
      column('tenant_id'),
      column('account_id'),
      column('seq'),
      column('transfer_id'),
      column('balance_after'),
    ],
  )
  for (const entry of rows) {
    if (entry.in_force !== null && entry.balance_after >= -entry.in_force) continue
    findings.fault('limits_hold', {
      table: 'entries',
      ids: idsOf(entry),
      expected:
        entry.in_force === null
          ? 'a limit in force'
          : `balance_after of at least ${-entry.in_force}`,
      found: entry.balance_after.toString(),
    })
  }
}
