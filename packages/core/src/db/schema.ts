import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
  type PgColumn,
} from 'drizzle-orm/pg-core'

/*
 * Every primary key and unique constraint begins with tenant_id, so that the tables can be
 * distributed by it. Exempt are tenants, the look-up of api_keys by hash, sweeps, and the seals.
 * Ids are uuids of version 7; their prefixes exist on the wire only. Amounts are in minor units.
 * There are no foreign keys between the tables of the hot path: see docs/adr/0006.
 */

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })
const amount = (name: string) => bigint(name, { mode: 'bigint' })
/** Milliseconds, as on the wire: a time is cut once, where it is written. */
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
/** 2^53 - 1: see money.ts. */
const maxAmount = sql.raw('9007199254740991')
const withinLimits = (column: PgColumn) => sql`${column} BETWEEN -${maxAmount} AND ${maxAmount}`

export const tenants = pgTable(
  'tenants',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    mode: text('mode', { enum: ['test', 'live'] }).notNull(),
    createdAt: time('created_at').notNull(),
  },
  (table) => [
    unique('tenants_name_mode_unique').on(table.name, table.mode),
    check('tenants_mode_check', sql`${table.mode} IN ('test', 'live')`),
  ],
)

export const apiKeys = pgTable(
  'api_keys',
  {
    id: uuid('id').primaryKey(),
    tenantId: uuid('tenant_id')
      .notNull()
      .references(() => tenants.id),
    /** SHA-256 of the whole key: the key itself is shown once and kept nowhere. */
    hash: bytea('hash').notNull(),
    /** The prefix and the last four characters, for a person who has to tell keys apart. */
    hint: text('hint').notNull(),
    /** What the key may do: `read`, `write`, or both. */
    scopes: text('scopes').array().notNull(),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at'),
    revokedAt: time('revoked_at'),
  },
  (table) => [
    unique('api_keys_hash_unique').on(table.hash),
    index('api_keys_tenant_id_index').on(table.tenantId),
    check(
      'api_keys_scopes_check',
      sql`cardinality(${table.scopes}) > 0 AND ${table.scopes} <@ ARRAY['read', 'write']`,
    ),
  ],
)

/** The durable requests: one row per key for ever, never updated when the request settles. */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    tenantId: uuid('tenant_id').notNull(),
    idempotencyKey: text('idempotency_key').notNull(),
    fingerprint: bytea('fingerprint').notNull(),
    resource: text('resource', { enum: ['transfer', 'batch', 'account', 'endpoint'] }).notNull(),
    resourceId: uuid('resource_id').notNull(),
    acceptedAt: time('accepted_at').notNull(),
    /** When the command may be settled; null where nothing is to be settled. */
    dueAt: time('due_at'),
  },
  (table) => [
    primaryKey({
      name: 'idempotency_keys_primary',
      columns: [table.tenantId, table.idempotencyKey],
    }),
    index('idempotency_keys_due_at_index')
      .on(table.dueAt)
      .where(sql`${table.dueAt} IS NOT NULL`),
  ],
)

/** Keys that were made by the server on request: used once, for what they were asked for. */
export const issuedKeys = pgTable(
  'issued_keys',
  {
    tenantId: uuid('tenant_id').notNull(),
    idempotencyKey: text('idempotency_key').notNull(),
    /** The route that the key may be used for; null where it may be used for any. */
    purpose: text('purpose'),
    issuedAt: time('issued_at').notNull(),
    /** An unused key cannot be used after this; a used one is answered for ever. */
    expiresAt: time('expires_at').notNull(),
  },
  (table) => [
    primaryKey({ name: 'issued_keys_primary', columns: [table.tenantId, table.idempotencyKey] }),
  ],
)

/** How often a key was answered again: counted now and then, for people, never for decisions. */
export const keyReplays = pgTable(
  'key_replays',
  {
    tenantId: uuid('tenant_id').notNull(),
    idempotencyKey: text('idempotency_key').notNull(),
    replays: amount('replays').notNull(),
  },
  (table) => [
    primaryKey({ name: 'key_replays_primary', columns: [table.tenantId, table.idempotencyKey] }),
  ],
)

/** What the accepted requests ask for: their payload, which may be pruned after its retention. */
export const commands = pgTable(
  'commands',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    idempotencyKey: text('idempotency_key').notNull(),
    acceptedAt: time('accepted_at').notNull(),
    /** As in idempotency_keys: null for the items of an atomic batch. */
    dueAt: time('due_at'),
    /** `{v, kind, …}`: a worker that does not know the version or a member leaves it alone. */
    command: json('command').notNull(),
  },
  (table) => [primaryKey({ name: 'commands_primary', columns: [table.tenantId, table.id] })],
)

export const accounts = pgTable(
  'accounts',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    kind: text('kind', { enum: ['internal', 'external'] }).notNull(),
    currency: text('currency').notNull(),
    status: text('status', { enum: ['open', 'frozen', 'closed'] }).notNull(),
    name: text('name'),
    reference: text('reference'),
    balance: amount('balance').notNull(),
    held: amount('held').notNull(),
    overdraftLimit: amount('overdraft_limit').notNull(),
    /** Rises with every change of balance, held, status or limit. */
    version: amount('version').notNull(),
    /** The `seq` of the account's last entry, 0 before the first. */
    entryCount: amount('entry_count').notNull(),
    lastEntryAt: time('last_entry_at'),
    metadata: jsonb('metadata').$type<Record<string, string>>(),
    createdAt: time('created_at').notNull(),
    /** How many events tell of it: the `sequence` of the last one. */
    eventCount: integer('event_count').notNull().default(0),
  },
  (table) => [
    primaryKey({ name: 'accounts_primary', columns: [table.tenantId, table.id] }),
    unique('accounts_reference_unique').on(table.tenantId, table.reference),
    check('accounts_kind_check', sql`${table.kind} IN ('internal', 'external')`),
    check('accounts_status_check', sql`${table.status} IN ('open', 'frozen', 'closed')`),
    check('accounts_balance_check', withinLimits(table.balance)),
    check('accounts_held_check', sql`${table.held} BETWEEN 0 AND ${maxAmount}`),
    check(
      'accounts_overdraft_limit_check',
      sql`${table.overdraftLimit} BETWEEN 0 AND ${maxAmount}`,
    ),
    check(
      'accounts_overdraft_check',
      sql`${table.kind} = 'external' OR ${table.balance} - ${table.held} >= -${table.overdraftLimit}`,
    ),
    check(
      'accounts_last_entry_check',
      sql`(${table.entryCount} = 0) = (${table.lastEntryAt} IS NULL)`,
    ),
  ],
)

/** Every limit that an account ever had, from the version at which it began to hold. */
export const accountLimits = pgTable(
  'account_limits',
  {
    tenantId: uuid('tenant_id').notNull(),
    accountId: uuid('account_id').notNull(),
    version: amount('version').notNull(),
    overdraftLimit: amount('overdraft_limit').notNull(),
    createdAt: time('created_at').notNull(),
  },
  (table) => [
    primaryKey({
      name: 'account_limits_primary',
      columns: [table.tenantId, table.accountId, table.version],
    }),
  ],
)

/** A leg, with the versions of both accounts that its outcome was judged at. */
export type StoredLeg = {
  source: string
  destination: string
  amount: number
  currency: string
  source_version: number
  destination_version: number
}

/** What has no entries: refused, canceled and expired transfers, and what only reserves. */
const hasNoEntries = (table: { status: PgColumn; kind: PgColumn }) =>
  sql`(${table.status} <> 'succeeded' OR ${table.kind} IN ('hold', 'release'))`

/** The requests that were accepted together under one key. */
export const transferBatches = pgTable(
  'transfer_batches',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    idempotencyKey: text('idempotency_key').notNull(),
    isAtomic: boolean('is_atomic').notNull(),
    itemCount: integer('item_count').notNull(),
    executeAt: time('execute_at'),
    expiresAt: time('expires_at'),
    createdAt: time('created_at').notNull(),
    callbackUrl: text('callback_url'),
    /** When it was seen that all of its items are settled; null until then. */
    completedAt: time('completed_at'),
    /** When to look whether they are; null once it is complete. */
    nextCheckAt: time('next_check_at'),
  },
  (table) => [
    primaryKey({ name: 'transfer_batches_primary', columns: [table.tenantId, table.id] }),
    index('transfer_batches_next_check_at_index')
      .on(table.nextCheckAt)
      .where(sql`${table.nextCheckAt} IS NOT NULL`),
    check('transfer_batches_item_count_check', sql`${table.itemCount} BETWEEN 1 AND 10000`),
    check(
      'transfer_batches_completed_check',
      sql`${table.completedAt} IS NULL OR ${table.nextCheckAt} IS NULL`,
    ),
  ],
)

/** Which transfer each item of a batch became, in the order in which they were sent. */
export const batchItems = pgTable(
  'batch_items',
  {
    tenantId: uuid('tenant_id').notNull(),
    batchId: uuid('batch_id').notNull(),
    position: integer('position').notNull(),
    transferId: uuid('transfer_id').notNull(),
    /** Whether the item's own key was known: then the transfer is an earlier one. */
    isReplay: boolean('is_replay').notNull(),
  },
  (table) => [
    primaryKey({
      name: 'batch_items_primary',
      columns: [table.tenantId, table.batchId, table.position],
    }),
  ],
)

/** One row per settled command. Its unique key is what makes the effect happen once. */
export const transfers = pgTable(
  'transfers',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    idempotencyKey: text('idempotency_key').notNull(),
    kind: text('kind', {
      enum: ['transfer', 'hold', 'capture', 'release', 'refund'],
    }).notNull(),
    status: text('status', {
      enum: ['succeeded', 'failed', 'canceled', 'expired', 'held', 'released'],
    }).notNull(),
    parentId: uuid('parent_id'),
    /** Source, destination, amount and currency are null where there are several legs. */
    source: uuid('source'),
    destination: uuid('destination'),
    /** Null too where a capture or refund of all that is left was refused. */
    amount: amount('amount'),
    currency: text('currency'),
    /** `[{source, destination, amount, currency, source_version, destination_version}, …]` */
    legs: jsonb('legs').$type<StoredLeg[]>(),
    capturedAmount: amount('captured_amount').notNull(),
    refundedAmount: amount('refunded_amount').notNull(),
    executeAt: time('execute_at'),
    /** When an open hold is released. */
    expiresAt: time('expires_at'),
    description: text('description'),
    metadata: jsonb('metadata').$type<Record<string, string>>(),
    failureCode: text('failure_code'),
    /** The versions of both accounts that the outcome was judged at; null where none was. */
    sourceVersion: amount('source_version'),
    destinationVersion: amount('destination_version'),
    /** The ledger transaction that settled it, shared by all that it settled together. */
    settlementId: uuid('settlement_id').notNull(),
    createdAt: time('created_at').notNull(),
    settledAt: time('settled_at').notNull(),
    /** Where its events are sent besides, as its request asked. */
    callbackUrl: text('callback_url'),
    /** How many events tell of it: the `sequence` of the last one. */
    eventCount: integer('event_count').notNull().default(1),
  },
  (table) => [
    primaryKey({ name: 'transfers_primary', columns: [table.tenantId, table.id] }),
    unique('transfers_idempotency_key_unique').on(table.tenantId, table.idempotencyKey),
    // Money that moved is found through its entries. These small indexes find what has none, so
    // that a plain succeeded transfer pays for none of them.
    index('transfers_without_entries_status_index')
      .on(table.tenantId, table.status, table.id)
      .where(hasNoEntries(table)),
    index('transfers_without_entries_source_index')
      .on(table.tenantId, table.source, table.settledAt, table.id)
      .where(hasNoEntries(table)),
    index('transfers_without_entries_destination_index')
      .on(table.tenantId, table.destination, table.settledAt, table.id)
      .where(hasNoEntries(table)),
    index('transfers_without_entries_legs_index')
      .using('gin', table.legs.op('jsonb_path_ops'))
      .where(sql`${table.legs} IS NOT NULL AND ${table.status} <> 'succeeded'`),
    index('transfers_kind_index')
      .on(table.tenantId, table.kind, table.id)
      .where(sql`${table.kind} <> 'transfer'`),
    index('transfers_parent_id_index')
      .on(table.tenantId, table.parentId)
      .where(sql`${table.parentId} IS NOT NULL`),
    index('transfers_held_expires_at_index')
      .on(table.expiresAt)
      .where(sql`${table.status} = 'held'`),
    check(
      'transfers_kind_check',
      sql`${table.kind} IN ('transfer', 'hold', 'capture', 'release', 'refund')`,
    ),
    check(
      'transfers_status_check',
      sql`${table.status} IN ('succeeded', 'failed', 'canceled', 'expired', 'held', 'released')`,
    ),
    check('transfers_amount_check', sql`${table.amount} BETWEEN 1 AND ${maxAmount}`),
    check('transfers_accounts_check', sql`${table.source} <> ${table.destination}`),
    check(
      'transfers_legs_check',
      sql`(${table.legs} IS NULL) = (${table.source} IS NOT NULL) AND (${table.source} IS NULL) = (${table.destination} IS NULL) AND (${table.source} IS NULL) = (${table.currency} IS NULL)`,
    ),
    check(
      'transfers_moved_amount_check',
      sql`${table.amount} IS NOT NULL OR ${table.legs} IS NOT NULL OR (${table.parentId} IS NOT NULL AND ${table.status} <> 'succeeded')`,
    ),
    check(
      'transfers_parent_check',
      sql`(${table.parentId} IS NOT NULL) = (${table.kind} IN ('capture', 'release', 'refund'))`,
    ),
    check(
      'transfers_hold_check',
      sql`${table.status} NOT IN ('held', 'released') OR (${table.kind} = 'hold' AND ${table.expiresAt} IS NOT NULL)`,
    ),
    check(
      'transfers_captured_check',
      sql`${table.capturedAmount} = 0 OR (${table.kind} = 'hold' AND ${table.capturedAmount} BETWEEN 1 AND ${table.amount})`,
    ),
    check(
      'transfers_refunded_check',
      sql`${table.refundedAmount} >= 0 AND (${table.amount} IS NULL OR ${table.refundedAmount} <= ${table.amount})`,
    ),
    check(
      'transfers_failure_check',
      sql`(${table.status} = 'failed') = (${table.failureCode} IS NOT NULL)`,
    ),
    check(
      'transfers_versions_check',
      sql`${table.status} <> 'succeeded' OR ${table.legs} IS NOT NULL OR (${table.sourceVersion} IS NOT NULL AND ${table.destinationVersion} IS NOT NULL)`,
    ),
  ],
)

/** The lines of the books: written once, never changed (a trigger says so too). */
export const entries = pgTable(
  'entries',
  {
    tenantId: uuid('tenant_id').notNull(),
    accountId: uuid('account_id').notNull(),
    seq: amount('seq').notNull(),
    transferId: uuid('transfer_id').notNull(),
    amount: amount('amount').notNull(),
    balanceAfter: amount('balance_after').notNull(),
    createdAt: time('created_at').notNull(),
  },
  (table) => [
    primaryKey({
      name: 'entries_primary',
      columns: [table.tenantId, table.accountId, table.seq],
    }),
    check('entries_seq_check', sql`${table.seq} > 0`),
    check('entries_amount_check', sql`${table.amount} <> 0 AND ${withinLimits(table.amount)}`),
    check('entries_balance_after_check', withinLimits(table.balanceAfter)),
  ],
)

/** The last seal of each tamper-evident chain: see ledger/seal.ts. Belongs to no tenant. */
export const ledgerChains = pgTable('ledger_chains', {
  chain: smallint('chain').primaryKey(),
  length: amount('length').notNull(),
  seal: bytea('seal').notNull(),
})

/** Every ledger transaction with its seal and what it settled, of whichever tenants. */
export const settlements = pgTable(
  'settlements',
  {
    chain: smallint('chain').notNull(),
    position: amount('position').notNull(),
    id: uuid('id').notNull(),
    seal: bytea('seal').notNull(),
    /** Whether a secret was used: an HMAC, and not a plain hash. */
    isKeyed: boolean('is_keyed').notNull(),
    tenantIds: uuid('tenant_ids').array().notNull(),
    transferIds: uuid('transfer_ids').array().notNull(),
    settledAt: time('settled_at').notNull(),
  },
  (table) => [primaryKey({ name: 'settlements_primary', columns: [table.chain, table.position] })],
)

/** Commands that were tried and are to be tried later: attempts survive the loss of the queue. */
export const deferred = pgTable(
  'deferred',
  {
    tenantId: uuid('tenant_id').notNull(),
    transferId: uuid('transfer_id').notNull(),
    reason: text('reason', {
      enum: ['poison', 'unknown_command', 'insufficient_funds'],
    }).notNull(),
    /** The account whose next credit makes another attempt worth while; null where none does. */
    awaitsAccount: uuid('awaits_account'),
    attempts: integer('attempts').notNull(),
    lastCode: text('last_code').notNull(),
    nextDueAt: time('next_due_at').notNull(),
  },
  (table) => [
    primaryKey({ name: 'deferred_primary', columns: [table.tenantId, table.transferId] }),
    index('deferred_next_due_at_index').on(table.nextDueAt),
    index('deferred_awaits_account_index')
      .on(table.tenantId, table.awaitsAccount)
      .where(sql`${table.awaitsAccount} IS NOT NULL`),
    check(
      'deferred_reason_check',
      sql`${table.reason} IN ('poison', 'unknown_command', 'insufficient_funds')`,
    ),
    check('deferred_attempts_check', sql`${table.attempts} > 0`),
  ],
)

/** What did not settle a command, try by try, for whoever asks why it took so long. */
export const transferAttempts = pgTable(
  'transfer_attempts',
  {
    tenantId: uuid('tenant_id').notNull(),
    transferId: uuid('transfer_id').notNull(),
    attempt: integer('attempt').notNull(),
    worker: text('worker').notNull(),
    code: text('code').notNull(),
    attemptedAt: time('attempted_at').notNull(),
  },
  (table) => [
    primaryKey({
      name: 'transfer_attempts_primary',
      columns: [table.tenantId, table.transferId, table.attempt],
    }),
  ],
)

/** One row per periodic search: who runs it now, how far it has come, what it last saw. */
export const sweeps = pgTable('sweeps', {
  name: text('name').primaryKey(),
  holder: uuid('holder'),
  leaseExpiresAt: time('lease_expires_at'),
  /** Below it everything is settled, or stands in `deferred`. */
  watermark: time('watermark').notNull(),
  oldestUnsettledAt: time('oldest_unsettled_at'),
  deferredCount: integer('deferred_count').notNull(),
  /** How often the watermark was found to have passed something unsettled: a bug each time. */
  auditFinds: integer('audit_finds').notNull(),
  sweptAt: time('swept_at'),
})

/**
 * What happened, one row per fact, written in the transaction of its cause. The position is taken
 * after the locks, so that it orders the events of an object; see events/feed.ts for what keeps a
 * reader from skipping one that commits late. Its id is made of its time and its position.
 */
export const events = pgTable(
  'events',
  {
    tenantId: uuid('tenant_id').notNull(),
    position: amount('position').notNull().generatedAlwaysAsIdentity({ name: 'events_position' }),
    type: text('type').notNull(),
    objectId: uuid('object_id').notNull(),
    /** Counts the events of the object: 1 for its first. */
    sequence: integer('sequence').notNull(),
    /** What the object was like, where its row does not tell for ever. */
    state: json('state'),
    callbackUrl: text('callback_url'),
    createdAt: time('created_at').notNull(),
  },
  (table) => [
    primaryKey({ name: 'events_primary', columns: [table.tenantId, table.position] }),
    unique('events_sequence_unique').on(table.tenantId, table.objectId, table.sequence),
    index('events_position_index').on(table.position),
    // For the feed of one type: the usual one is found soon without an index, and costs nothing so.
    index('events_type_index')
      .on(table.tenantId, table.type, table.position)
      .where(sql`${table.type} <> 'transfer.succeeded'`),
    check('events_sequence_check', sql`${table.sequence} > 0`),
  ],
)

/** One row: how far events are published and handed on, and by whom. Belongs to no tenant. */
export const eventFeed = pgTable('event_feed', {
  name: text('name').primaryKey(),
  holder: uuid('holder'),
  leaseExpiresAt: time('lease_expires_at'),
  /** No event at or below it can appear any more: readers see up to here. */
  published: amount('published').notNull(),
  /** Up to here each event has its deliveries. */
  fannedOut: amount('fanned_out').notNull(),
})

/**
 * Where events are sent. Of kind `endpoint` is what a tenant set up; of kind `callback` is the place
 * that the `callback_url`s of requests share (scheme, host and port), so that it has one health.
 */
export const webhookEndpoints = pgTable(
  'webhook_endpoints',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    kind: text('kind', { enum: ['endpoint', 'callback'] }).notNull(),
    url: text('url').notNull(),
    description: text('description'),
    /** Null for every type. */
    eventTypes: text('event_types').array(),
    /** Attempts begun within a second, at most. */
    rateLimit: integer('rate_limit').notNull(),
    status: text('status', { enum: ['enabled', 'disabled', 'deleted'] }).notNull(),
    disabledReason: text('disabled_reason', { enum: ['requested', 'failing', 'gone'] }),
    disabledAt: time('disabled_at'),
    eventCount: integer('event_count').notNull().default(0),
    createdAt: time('created_at').notNull(),
    /** Failed attempts since the last success. */
    failures: integer('failures').notNull().default(0),
    failingSince: time('failing_since'),
    /** Nothing is sent before this, but one probe then; null while all is well. */
    probeAt: time('probe_at'),
    lastSuccessAt: time('last_success_at'),
    lastFailureAt: time('last_failure_at'),
    /** The process that sends to it now: one at a time. */
    holder: uuid('holder'),
    leaseExpiresAt: time('lease_expires_at'),
  },
  (table) => [
    primaryKey({ name: 'webhook_endpoints_primary', columns: [table.tenantId, table.id] }),
    uniqueIndex('webhook_endpoints_callback_unique')
      .on(table.tenantId, table.url)
      .where(sql`${table.kind} = 'callback'`),
    check('webhook_endpoints_kind_check', sql`${table.kind} IN ('endpoint', 'callback')`),
    check(
      'webhook_endpoints_status_check',
      sql`${table.status} IN ('enabled', 'disabled', 'deleted')`,
    ),
    check(
      'webhook_endpoints_disabled_check',
      sql`(${table.status} = 'disabled') = (${table.disabledReason} IS NOT NULL) AND (${table.disabledReason} IS NULL) = (${table.disabledAt} IS NULL)`,
    ),
    check('webhook_endpoints_rate_limit_check', sql`${table.rateLimit} BETWEEN 1 AND 10000`),
    check(
      'webhook_endpoints_failing_check',
      sql`(${table.failures} = 0) = (${table.failingSince} IS NULL)`,
    ),
  ],
)

/** What deliveries are signed with: several at a time while a new one takes over. */
export const webhookSecrets = pgTable(
  'webhook_secrets',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    /** Null for the tenant's default secret, which signs what goes to a `callback_url`. */
    endpointId: uuid('endpoint_id'),
    scheme: text('scheme', { enum: ['v1', 'v1a'] }).notNull(),
    /** The bytes of an HMAC key, or the seed of an ed25519 key. */
    key: bytea('key').notNull(),
    createdAt: time('created_at').notNull(),
    /** Signs no more after this; null while it is the current one. */
    expiresAt: time('expires_at'),
  },
  (table) => [
    primaryKey({ name: 'webhook_secrets_primary', columns: [table.tenantId, table.id] }),
    index('webhook_secrets_endpoint_id_index').on(table.tenantId, table.endpointId),
    check('webhook_secrets_scheme_check', sql`${table.scheme} IN ('v1', 'v1a')`),
  ],
)

/** One row per event and endpoint, whatever became of it. */
export const webhookDeliveries = pgTable(
  'webhook_deliveries',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    endpointId: uuid('endpoint_id').notNull(),
    eventPosition: amount('event_position').notNull(),
    /** The `callback_url`; null where the endpoint has the URL. */
    url: text('url'),
    status: text('status', { enum: ['pending', 'succeeded', 'failed', 'skipped'] }).notNull(),
    /** Attempts since it was last made due anew: they say which gap comes next. */
    tries: integer('tries').notNull(),
    /** All attempts ever. */
    attempts: integer('attempts').notNull(),
    nextDueAt: time('next_due_at'),
    createdAt: time('created_at').notNull(),
    /** When it succeeded, failed for good, or was skipped; null while it is pending. */
    endedAt: time('ended_at'),
  },
  (table) => [
    primaryKey({ name: 'webhook_deliveries_primary', columns: [table.tenantId, table.id] }),
    unique('webhook_deliveries_event_unique').on(
      table.tenantId,
      table.eventPosition,
      table.endpointId,
    ),
    index('webhook_deliveries_endpoint_id_index').on(table.tenantId, table.endpointId, table.id),
    index('webhook_deliveries_due_index')
      .on(table.tenantId, table.endpointId, table.nextDueAt)
      .where(sql`${table.status} = 'pending'`),
    index('webhook_deliveries_status_index')
      .on(table.tenantId, table.status, table.id)
      .where(sql`${table.status} <> 'succeeded'`),
    check(
      'webhook_deliveries_status_check',
      sql`${table.status} IN ('pending', 'succeeded', 'failed', 'skipped')`,
    ),
    check(
      'webhook_deliveries_pending_check',
      sql`(${table.status} = 'pending') = (${table.nextDueAt} IS NOT NULL) AND (${table.status} = 'pending') = (${table.endedAt} IS NULL)`,
    ),
    check('webhook_deliveries_tries_check', sql`${table.tries} BETWEEN 0 AND ${table.attempts}`),
  ],
)

/** One row per HTTP try. */
export const webhookAttempts = pgTable(
  'webhook_attempts',
  {
    tenantId: uuid('tenant_id').notNull(),
    deliveryId: uuid('delivery_id').notNull(),
    attempt: integer('attempt').notNull(),
    startedAt: time('started_at').notNull(),
    durationMs: integer('duration_ms').notNull(),
    /** Null where there was no answer. */
    statusCode: integer('status_code'),
    /** What went wrong; null where nothing did. */
    error: text('error'),
    /** The beginning of the answer, without secrets. */
    answer: text('answer'),
  },
  (table) => [
    primaryKey({
      name: 'webhook_attempts_primary',
      columns: [table.tenantId, table.deliveryId, table.attempt],
    }),
  ],
)

/** Requests to send again what did not arrive at an endpoint, with how far they have come. */
export const webhookRecoveries = pgTable(
  'webhook_recoveries',
  {
    tenantId: uuid('tenant_id').notNull(),
    id: uuid('id').notNull(),
    endpointId: uuid('endpoint_id').notNull(),
    since: time('since').notNull(),
    status: text('status', { enum: ['running', 'completed', 'canceled'] }).notNull(),
    /** The delivery that was looked at last. */
    lastDeliveryId: uuid('last_delivery_id').notNull(),
    examined: integer('examined').notNull(),
    recovered: integer('recovered').notNull(),
    createdAt: time('created_at').notNull(),
    endedAt: time('ended_at'),
  },
  (table) => [
    primaryKey({ name: 'webhook_recoveries_primary', columns: [table.tenantId, table.id] }),
    index('webhook_recoveries_running_index')
      .on(table.createdAt)
      .where(sql`${table.status} = 'running'`),
    check(
      'webhook_recoveries_status_check',
      sql`${table.status} IN ('running', 'completed', 'canceled')`,
    ),
    check(
      'webhook_recoveries_ended_check',
      sql`(${table.status} = 'running') = (${table.endedAt} IS NULL)`,
    ),
  ],
)
