import { firstUuid, isTooSlow, readPages } from './pages.ts'
import type { Check } from './check.ts'

type AccountRow = {
  tenant_id: string
  id: string
  kind: 'internal' | 'external'
  balance: bigint
  held: bigint
  overdraft_limit: bigint
  entry_count: bigint
  last_entry_at: Date | null
  last_seq: bigint | null
  last_balance: bigint | null
  last_created_at: Date | null
  open_holds: bigint
  limit_on_record: bigint | null
}

/** 500: each row looks for its last entry and its open holds. */
const accountsPerPage = 500

/**
 * Each account against its last entry, its open holds and its limit. These change while the system
 * runs, so that both sides of a comparison are read by one statement.
 */
export async function checkAccounts({ read, findings, onProgress }: Check): Promise<void> {
  const pages = readPages<AccountRow>(accountsPerPage, (after, limit) =>
    read(
      `SELECT accounts.tenant_id, accounts.id, kind, balance, held, overdraft_limit, entry_count,
              last_entry_at, last.seq AS last_seq, last.balance_after AS last_balance,
              last.created_at AS last_created_at, holds.open_holds,
              (SELECT account_limits.overdraft_limit FROM account_limits
                WHERE account_limits.tenant_id = accounts.tenant_id
                  AND account_limits.account_id = accounts.id
                ORDER BY account_limits.version DESC LIMIT 1) AS limit_on_record
         FROM (SELECT * FROM accounts WHERE (tenant_id, id) > ($1::uuid, $2::uuid)
                ORDER BY tenant_id, id LIMIT $3) AS accounts
         LEFT JOIN LATERAL (
           SELECT seq, balance_after, created_at FROM entries
            WHERE entries.tenant_id = accounts.tenant_id AND account_id = accounts.id
            ORDER BY seq DESC LIMIT 1) AS last ON true
        CROSS JOIN LATERAL (
           SELECT coalesce(sum(amount - captured_amount), 0)::bigint AS open_holds FROM transfers
            WHERE transfers.tenant_id = accounts.tenant_id AND transfers.source = accounts.id
              AND transfers.status = 'held') AS holds
        ORDER BY accounts.tenant_id, accounts.id`,
      [after?.tenant_id ?? firstUuid, after?.id ?? firstUuid, limit],
    ),
  )
  for await (const rows of pages) {
    for (const rule of ['balance_is_last_entry', 'held_is_open_holds', 'limits_hold'] as const) {
      findings.checked(rule, rows.length)
    }
    for (const account of rows) checkAccount(findings, account)
    onProgress(rows.length)
  }
}

function checkAccount(findings: Check['findings'], account: AccountRow): void {
  const row = { table: 'accounts', ids: { tenant_id: account.tenant_id, id: account.id } }
  const comparisons = [
    ['balance', account.last_balance ?? 0n, account.balance],
    ['entry_count', account.last_seq ?? 0n, account.entry_count],
    ['last_entry_at', timeOf(account.last_created_at), timeOf(account.last_entry_at)],
  ] as const
  for (const [what, expected, found] of comparisons) {
    findings.compare('balance_is_last_entry', row, { what, expected, found })
  }
  findings.compare('held_is_open_holds', row, {
    what: 'held',
    expected: account.open_holds,
    found: account.held,
  })
  findings.compare('limits_hold', row, {
    what: 'overdraft_limit',
    expected: account.limit_on_record,
    found: account.overdraft_limit,
  })
  const available = account.balance - account.held
  if (account.kind === 'internal' && available < -account.overdraft_limit) {
    findings.fault('limits_hold', {
      ...row,
      expected: `balance - held of at least ${-account.overdraft_limit}`,
      found: `${available}`,
    })
  }
}

function timeOf(time: Date | null): string | null {
  return time === null ? null : time.toISOString()
}

/**
 * The sums of balances, tenant by tenant. Only one statement can see them all at one moment; where a
 * tenant has too many accounts for that, its sums follow from the chains and the lines of transfers,
 * and it is left out of the count.
 */
export async function checkSums({ read, findings, onProgress }: Check): Promise<void> {
  let after = firstUuid
  while (true) {
    const [tenant] = await read<{ tenant_id: string }>(
      `SELECT tenant_id FROM accounts WHERE tenant_id > $1 ORDER BY tenant_id LIMIT 1`,
      [after],
    )
    if (tenant === undefined) return
    after = tenant.tenant_id
    const sums = await sumsOf(read, after)
    findings.checked(
      'balances_sum_to_zero',
      sums.reduce((count, { accounts }) => count + accounts, 0),
    )
    for (const { currency, sum } of sums) {
      findings.compare(
        'balances_sum_to_zero',
        { table: 'accounts', ids: { tenant_id: after, currency } },
        { what: 'sum', expected: '0', found: sum },
      )
    }
    onProgress(1)
  }
}

type Sum = { currency: string; sum: string; accounts: number }

async function sumsOf(read: Check['read'], tenantId: string): Promise<Sum[]> {
  try {
    return await read<Sum>(
      `SELECT currency, sum(balance)::text AS sum, count(*)::int AS accounts
         FROM accounts WHERE tenant_id = $1 GROUP BY currency ORDER BY currency`,
      [tenantId],
    )
  } catch (error) {
    if (isTooSlow(error)) return []
    throw error
  }
}
