import { inTransaction } from '../db/transaction.ts'
import { isLockTimeout, violatedUnique } from '../db/transient.ts'
import { recordEvents, type EventType } from '../events/event.ts'
import { bindKey, KeyInFlightError, matches, type KnownKey } from '../idempotency/known-key.ts'
import type { Pool, Queryable, Tx } from '../db/client.ts'

export type AccountKind = 'internal' | 'external'
export type AccountStatus = 'open' | 'frozen' | 'closed'

/** A place for money in one currency. */
export type Account = {
  tenantId: string
  id: string
  kind: AccountKind
  currency: string
  status: AccountStatus
  name: string | null
  reference: string | null
  balance: bigint
  held: bigint
  overdraftLimit: bigint
  version: bigint
  metadata: Readonly<Record<string, string>>
  createdAt: Date
}

export type NewAccount = Pick<
  Account,
  'tenantId' | 'id' | 'kind' | 'currency' | 'name' | 'reference' | 'overdraftLimit' | 'metadata'
>

export type AccountCreation =
  | { result: 'created'; id: string; createdAt: Date }
  /** The same keyed request made this account before: answer as then. */
  | { result: 'replayed'; id: string; createdAt: Date }
  /** The key belongs to another request. */
  | { result: 'mismatched'; known: KnownKey }
  /** Another account of the tenant has this reference. */
  | { result: 'reference_taken' }

/** The account as it is when it has just been opened: empty, at version 0. */
export function openedAccount(account: NewAccount, createdAt: Date): Account {
  return { ...account, status: 'open', balance: 0n, held: 0n, version: 0n, createdAt }
}

/**
 * Opens an account, under a key if there is one: then key and account are made in one transaction,
 * and the same request opens no second one. Throws `KeyInFlightError` where another request has held
 * the key for 2 s, else only for outages.
 */
export async function createAccount(
  pool: Pool,
  account: NewAccount,
  key?: { idempotencyKey: string; fingerprint: Buffer },
): Promise<AccountCreation> {
  try {
    return await inTransaction(pool, { lockTimeoutMs: 2_000 }, async (tx) => {
      const known = key && (await bindKey(tx, { ...key, ...bindingOf(account) }))
      if (known !== undefined) return compare(account, known, key)
      const createdAt = await insertAccount(tx, account)
      const opened = openedAccount(account, createdAt)
      await recordEvent(tx, 'account.created', opened, { sequence: 1, createdAt })
      return { result: 'created', id: account.id, createdAt }
    })
  } catch (error) {
    if (violatedUnique(error) === 'accounts_reference_unique') return { result: 'reference_taken' }
    if (key !== undefined && isLockTimeout(error)) {
      throw new KeyInFlightError('the key is in flight', { cause: error })
    }
    throw error
  }
}

function bindingOf({ tenantId, id }: NewAccount) {
  return { tenantId, resource: 'account', resourceId: id } as const
}

function compare(
  account: NewAccount,
  known: KnownKey,
  key: { fingerprint: Buffer } | undefined,
): AccountCreation {
  if (key === undefined || !matches(known, key.fingerprint)) return { result: 'mismatched', known }
  const result = known.resourceId === account.id ? 'created' : 'replayed'
  return { result, id: known.resourceId, createdAt: known.acceptedAt }
}

async function insertAccount(tx: Tx, account: NewAccount): Promise<Date> {
  const { rows } = await tx.query<{ created_at: Date }>(
    `WITH opened AS (
       INSERT INTO accounts (tenant_id, id, kind, currency, status, name, reference, balance, held,
                             overdraft_limit, version, entry_count, event_count, metadata,
                             created_at)
       VALUES ($1, $2, $3, $4, 'open', $5, $6, 0, 0, $7, 0, 0, 1, $8,
               date_trunc('milliseconds', now()))
       RETURNING *
     )
     INSERT INTO account_limits (tenant_id, account_id, version, overdraft_limit, created_at)
     SELECT tenant_id, id, version, overdraft_limit, created_at FROM opened
     RETURNING created_at`,
    [
      account.tenantId,
      account.id,
      account.kind,
      account.currency,
      account.name,
      account.reference,
      account.overdraftLimit,
      Object.keys(account.metadata).length === 0 ? null : JSON.stringify(account.metadata),
    ],
  )
  const row = rows[0]
  if (row === undefined) throw new Error('an account was inserted and not returned')
  return row.created_at
}

const accountColumns = `tenant_id AS "tenantId", id, kind, currency, status, name, reference, balance,
  held, overdraft_limit AS "overdraftLimit", version, coalesce(metadata, '{}') AS metadata,
  created_at AS "createdAt"`

export async function findAccount(
  db: Queryable,
  tenantId: string,
  id: string,
): Promise<Account | undefined> {
  const { rows } = await db.query<Account>(
    `SELECT ${accountColumns} FROM accounts WHERE tenant_id = $1 AND id = $2`,
    [tenantId, id],
  )
  return rows[0]
}

/** Those of the accounts that exist, in no particular order. */
export async function findAccounts(
  db: Queryable,
  refs: readonly { tenantId: string; id: string }[],
): Promise<Account[]> {
  if (refs.length === 0) return []
  const { rows } = await db.query<Account>(
    `SELECT ${accountColumns} FROM accounts
      WHERE (tenant_id, id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))`,
    [refs.map(({ tenantId }) => tenantId), refs.map(({ id }) => id)],
  )
  return rows
}

/** A tenant's accounts, newest first; with a reference, the one account that has it. */
export async function listAccounts(
  db: Queryable,
  range: {
    tenantId: string
    reference?: string | undefined
    beforeId?: string | undefined
    limit: number
  },
): Promise<Account[]> {
  const { rows } = await db.query<Account>(
    `SELECT ${accountColumns} FROM accounts
      WHERE tenant_id = $1 AND ($2::text IS NULL OR reference = $2) AND ($3::uuid IS NULL OR id < $3)
      ORDER BY id DESC
      LIMIT $4`,
    [range.tenantId, range.reference ?? null, range.beforeId ?? null, range.limit],
  )
  return rows
}

export type AccountChange = {
  status?: AccountStatus | undefined
  name?: string | null | undefined
  overdraftLimit?: bigint | undefined
  /** Merged into what is there: null removes a pair, null for the whole removes all. */
  metadata?: Readonly<Record<string, string | null>> | null | undefined
}

export type AccountUpdate =
  | { result: 'updated'; account: Account }
  | { result: 'not_found' }
  /** Closing is final: nothing of a closed account but its name and metadata may change. */
  | { result: 'account_closed' }
  /** An account can be closed only when its balance and its holds are zero. */
  | { result: 'account_not_empty' }
  /** More is in use than the new limit would allow. */
  | { result: 'overdraft_in_use' }

/** The most pairs of metadata an account may have after a change: checked against what is there. */
export const MAX_METADATA_PAIRS = 50

/** Changes an account under its lock, so that no settlement sees half of it. Throws only for outages. */
export function updateAccount(
  pool: Pool,
  { tenantId, id }: { tenantId: string; id: string },
  change: AccountChange,
): Promise<AccountUpdate | { result: 'too_much_metadata' }> {
  return inTransaction(pool, {}, async (tx) => {
    const before = await lockAccount(tx, tenantId, id)
    if (before === undefined) return { result: 'not_found' }
    const after = changed(before, change)
    const refusal = refusalOf(before, after)
    if (refusal !== undefined) return { result: refusal }
    if (Object.keys(after.metadata).length > MAX_METADATA_PAIRS)
      return { result: 'too_much_metadata' }
    const record = await writeAccount(tx, before, after)
    await recordEvent(tx, 'account.updated', after, record)
    return { result: 'updated', account: after }
  })
}

async function lockAccount(tx: Tx, tenantId: string, id: string): Promise<Account | undefined> {
  const { rows } = await tx.query<Account>(
    `SELECT ${accountColumns} FROM accounts WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE`,
    [tenantId, id],
  )
  return rows[0]
}

function changed(before: Account, change: AccountChange): Account {
  const status = change.status ?? before.status
  const overdraftLimit = change.overdraftLimit ?? before.overdraftLimit
  const isNewVersion = status !== before.status || overdraftLimit !== before.overdraftLimit
  return {
    ...before,
    status,
    overdraftLimit,
    version: isNewVersion ? before.version + 1n : before.version,
    name: change.name === undefined ? before.name : change.name,
    metadata: merge(before.metadata, change.metadata),
  }
}

function merge(
  before: Account['metadata'],
  change: AccountChange['metadata'],
): Account['metadata'] {
  if (change === undefined) return before
  if (change === null) return {}
  const pairs = Object.entries({ ...before, ...change })
  return Object.fromEntries(pairs.filter((pair): pair is [string, string] => pair[1] !== null))
}

function refusalOf(
  before: Account,
  after: Account,
): 'account_closed' | 'account_not_empty' | 'overdraft_in_use' | undefined {
  if (before.status === 'closed' && after.version !== before.version) return 'account_closed'
  const isEmpty = before.balance === 0n && before.held === 0n
  if (after.status === 'closed' && !isEmpty) return 'account_not_empty'
  const isOverdrawn = after.balance - after.held < -after.overdraftLimit
  if (after.kind === 'internal' && isOverdrawn) return 'overdraft_in_use'
  return undefined
}

async function writeAccount(
  tx: Tx,
  before: Account,
  after: Account,
): Promise<{ sequence: number; createdAt: Date }> {
  const { rows } = await tx.query<{ sequence: number; createdAt: Date }>(
    `UPDATE accounts
        SET status = $3, name = $4, overdraft_limit = $5, version = $6, metadata = $7,
            event_count = event_count + 1
      WHERE tenant_id = $1 AND id = $2
      RETURNING event_count AS sequence,
                date_trunc('milliseconds', clock_timestamp()) AS "createdAt"`,
    [
      after.tenantId,
      after.id,
      after.status,
      after.name,
      after.overdraftLimit,
      after.version,
      Object.keys(after.metadata).length === 0 ? null : JSON.stringify(after.metadata),
    ],
  )
  const record = rows[0]
  if (record === undefined) throw new Error('an account vanished under its lock')
  if (after.overdraftLimit === before.overdraftLimit) return record
  await tx.query(
    `INSERT INTO account_limits (tenant_id, account_id, version, overdraft_limit, created_at)
     VALUES ($1, $2, $3, $4, $5)`,
    [after.tenantId, after.id, after.version, after.overdraftLimit, record.createdAt],
  )
  return record
}

/** What an event keeps of an account: all that may change later. */
export type AccountFacts = {
  status: AccountStatus
  name: string | null
  balance: number
  held: number
  overdraft_limit: number
  version: number
  metadata: Readonly<Record<string, string>>
}

function recordEvent(
  tx: Tx,
  type: EventType & `account.${string}`,
  account: Account,
  { sequence, createdAt }: { sequence: number; createdAt: Date },
): Promise<void> {
  const state: AccountFacts = {
    status: account.status,
    name: account.name,
    balance: Number(account.balance),
    held: Number(account.held),
    overdraft_limit: Number(account.overdraftLimit),
    version: Number(account.version),
    metadata: account.metadata,
  }
  const { tenantId, id } = account
  const event = { tenantId, type, objectId: id, sequence, state: JSON.stringify(state) }
  return recordEvents(tx, [{ ...event, callbackUrl: null }], createdAt)
}
