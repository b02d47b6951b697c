import { encodeId } from '@payonce/core/ids'
import { eventIdOf } from '@payonce/core/events/event'
import type { Pool, PoolClient } from 'pg'

/** What Postgres holds after a storm, of every tenant: all that the checker judges. */
export type Books = {
  keys: readonly BookedKey[]
  commands: readonly BookedCommand[]
  transfers: readonly BookedTransfer[]
  entries: readonly BookedEntry[]
  accounts: readonly BookedAccount[]
  limits: readonly BookedLimit[]
  deferred: readonly BookedDeferral[]
  attempts: readonly BookedAttempt[]
  events: readonly BookedEvent[]
  endpoints: readonly BookedEndpoint[]
  deliveries: readonly BookedDelivery[]
}

export type BookedKey = {
  tenantId: string
  idempotencyKey: string
  /** In hex. */
  fingerprint: string
  resource: string
  resourceId: string
}

export type BookedCommand = { tenantId: string; id: string; command: StoredCommand }

/** The members of a stored command that the checker looks at: see transfers/command.ts. */
export type StoredCommand = {
  kind?: string
  parent_id?: string
  source?: string
  destination?: string
  amount?: number
  currency?: string
  description?: string
  final?: boolean
  legs?: readonly { source: string; destination: string; amount: number }[]
}

export type TransferKind = 'transfer' | 'hold' | 'capture' | 'release' | 'refund'
export type SettledStatus = 'succeeded' | 'failed' | 'canceled' | 'expired' | 'held' | 'released'

export type BookedTransfer = {
  tenantId: string
  id: string
  idempotencyKey: string
  kind: TransferKind
  status: SettledStatus
  parentId: string | null
  source: string | null
  destination: string | null
  amount: bigint | null
  currency: string | null
  legs: readonly BookedLeg[] | null
  capturedAmount: bigint
  refundedAmount: bigint
  failureCode: string | null
  sourceVersion: bigint | null
  destinationVersion: bigint | null
}

export type BookedLeg = {
  source: string
  destination: string
  amount: bigint
  sourceVersion: bigint | null
  destinationVersion: bigint | null
}

export type BookedEntry = {
  tenantId: string
  accountId: string
  seq: bigint
  transferId: string
  amount: bigint
  balanceAfter: bigint
}

export type BookedAccount = {
  tenantId: string
  id: string
  kind: 'internal' | 'external'
  status: 'open' | 'frozen' | 'closed'
  currency: string
  balance: bigint
  held: bigint
  overdraftLimit: bigint
  version: bigint
  entryCount: bigint
}

export type BookedLimit = {
  tenantId: string
  accountId: string
  version: bigint
  overdraftLimit: bigint
}

export type BookedDeferral = {
  tenantId: string
  transferId: string
  reason: string
  attempts: number
  lastCode: string
}

/** A settlement that put its transfer aside, to be tried later. */
export type BookedAttempt = { transferId: string; code: string }

/** What a transfer that makes settlement throw is described as: see faults/shapes.ts. */
export const poison = 'storm poison'

export type BookedEvent = {
  tenantId: string
  /** On the wire: `evt_…`. */
  id: string
  position: bigint
  type: string
  objectId: string
  sequence: number
  state: unknown
  createdAtMs: number
}

export type BookedEndpoint = {
  tenantId: string
  id: string
  status: string
  /** Null for every type. */
  eventTypes: readonly string[] | null
  createdAtMs: number
}

export type BookedDelivery = {
  tenantId: string
  endpointId: string
  eventPosition: bigint
  status: string
}

/** Reads the whole books in one snapshot. Throws where the database cannot be read. */
export async function readBooks(pool: Pool): Promise<Books> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY')
    const books = await readTables(client)
    await client.query('COMMIT')
    client.release()
    return books
  } catch (error) {
    client.release(true)
    throw error
  }
}

async function readTables(client: PoolClient): Promise<Books> {
  return {
    keys: await readRows(client, keysSql, (row: BookedKey) => row),
    commands: await readRows(client, commandsSql, (row: BookedCommand) => row),
    transfers: await readRows(client, transfersSql, toTransfer),
    entries: await readRows(client, entriesSql, toEntry),
    accounts: await readRows(client, accountsSql, toAccount),
    limits: await readRows(client, limitsSql, toLimit),
    deferred: await readRows(client, deferredSql, (row: BookedDeferral) => row),
    attempts: await readRows(client, attemptsSql, (row: BookedAttempt) => row),
    events: await readRows(client, eventsSql, toEvent),
    endpoints: await readRows(client, endpointsSql, toEndpoint),
    deliveries: await readRows(client, deliveriesSql, toDelivery),
  }
}

/** 20,000: a page of the largest table arrives well within any time-out of a statement. */
const rowsPerPage = 20_000

/** Each row goes to `toRead`, which knows what its statement selects. */
async function readRows<Read>(
  client: PoolClient,
  sql: string,
  toRead: (row: never) => Read,
): Promise<Read[]> {
  const all: Read[] = []
  await client.query(`DECLARE page_of_books NO SCROLL CURSOR FOR ${sql}`)
  for (;;) {
    const { rows } = await client.query(`FETCH ${rowsPerPage} FROM page_of_books`)
    for (const row of rows) all.push(toRead(row as never))
    if (rows.length < rowsPerPage) break
  }
  await client.query('CLOSE page_of_books')
  return all
}

/*
 * Amounts come as text, so that it makes no difference how the pool reads a bigint.
 */

type AsText<T> = {
  [K in keyof T]: T[K] extends bigint ? string : T[K] extends bigint | null ? string | null : T[K]
}

const toBigint = (text: string | null) => (text === null ? null : BigInt(text))

const keysSql = `
  SELECT tenant_id AS "tenantId", idempotency_key AS "idempotencyKey",
         encode(fingerprint, 'hex') AS fingerprint, resource, resource_id AS "resourceId"
    FROM idempotency_keys`

const commandsSql = 'SELECT tenant_id AS "tenantId", id, command FROM commands'

const transfersSql = `
  SELECT tenant_id AS "tenantId", id, idempotency_key AS "idempotencyKey", kind, status,
         parent_id AS "parentId", source, destination, amount::text, currency, legs,
         captured_amount::text AS "capturedAmount", refunded_amount::text AS "refundedAmount",
         failure_code AS "failureCode", source_version::text AS "sourceVersion",
         destination_version::text AS "destinationVersion"
    FROM transfers`

type LegRow = {
  source: string
  destination: string
  amount: number
  source_version?: number
  destination_version?: number
}
type TransferRow = AsText<Omit<BookedTransfer, 'legs'>> & { legs: readonly LegRow[] | null }

function toTransfer(row: TransferRow): BookedTransfer {
  return {
    ...row,
    amount: toBigint(row.amount),
    legs: row.legs?.map(toLeg) ?? null,
    capturedAmount: BigInt(row.capturedAmount),
    refundedAmount: BigInt(row.refundedAmount),
    sourceVersion: toBigint(row.sourceVersion),
    destinationVersion: toBigint(row.destinationVersion),
  }
}

function toLeg(leg: LegRow): BookedLeg {
  const { source, destination, source_version, destination_version } = leg
  return {
    source,
    destination,
    amount: BigInt(leg.amount),
    sourceVersion: source_version === undefined ? null : BigInt(source_version),
    destinationVersion: destination_version === undefined ? null : BigInt(destination_version),
  }
}

const entriesSql = `
  SELECT tenant_id AS "tenantId", account_id AS "accountId", seq::text, transfer_id AS "transferId",
         amount::text, balance_after::text AS "balanceAfter"
    FROM entries ORDER BY tenant_id, account_id, seq`

function toEntry(row: AsText<BookedEntry>): BookedEntry {
  const { seq, amount, balanceAfter } = row
  return {
    ...row,
    seq: BigInt(seq),
    amount: BigInt(amount),
    balanceAfter: BigInt(balanceAfter),
  }
}

const accountsSql = `
  SELECT tenant_id AS "tenantId", id, kind, status, currency, balance::text, held::text,
         overdraft_limit::text AS "overdraftLimit", version::text,
         entry_count::text AS "entryCount"
    FROM accounts`

function toAccount(row: AsText<BookedAccount>): BookedAccount {
  return {
    ...row,
    balance: BigInt(row.balance),
    held: BigInt(row.held),
    overdraftLimit: BigInt(row.overdraftLimit),
    version: BigInt(row.version),
    entryCount: BigInt(row.entryCount),
  }
}

const limitsSql = `
  SELECT tenant_id AS "tenantId", account_id AS "accountId", version::text,
         overdraft_limit::text AS "overdraftLimit"
    FROM account_limits ORDER BY tenant_id, account_id, version`

function toLimit(row: AsText<BookedLimit>): BookedLimit {
  return { ...row, version: BigInt(row.version), overdraftLimit: BigInt(row.overdraftLimit) }
}

const deferredSql = `
  SELECT tenant_id AS "tenantId", transfer_id AS "transferId", reason, attempts,
         last_code AS "lastCode"
    FROM deferred`

const attemptsSql = 'SELECT transfer_id AS "transferId", code FROM transfer_attempts'

const eventsSql = `
  SELECT tenant_id AS "tenantId", position::text, type, object_id AS "objectId", sequence, state,
         created_at AS "createdAt"
    FROM events ORDER BY position`

type EventRow = Omit<AsText<BookedEvent>, 'id' | 'createdAtMs'> & { createdAt: Date }

function toEvent({ createdAt, ...row }: EventRow): BookedEvent {
  const position = BigInt(row.position)
  const id = encodeId('event', eventIdOf({ createdAt, position }))
  return { ...row, position, id, createdAtMs: createdAt.getTime() }
}

const endpointsSql = `
  SELECT tenant_id AS "tenantId", id, status, event_types AS "eventTypes",
         created_at AS "createdAt"
    FROM webhook_endpoints WHERE kind = 'endpoint'`

type EndpointRow = Omit<BookedEndpoint, 'createdAtMs'> & { createdAt: Date }

function toEndpoint({ createdAt, ...row }: EndpointRow): BookedEndpoint {
  return { ...row, createdAtMs: createdAt.getTime() }
}

const deliveriesSql = `
  SELECT tenant_id AS "tenantId", endpoint_id AS "endpointId",
         event_position::text AS "eventPosition", status
    FROM webhook_deliveries`

function toDelivery(row: AsText<BookedDelivery>): BookedDelivery {
  return { ...row, eventPosition: BigInt(row.eventPosition) }
}
