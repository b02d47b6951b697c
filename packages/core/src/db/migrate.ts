import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import { Client } from 'pg'
import { createCommandPartitions } from './command-partitions.ts'

/** Any number, the same in every process: "payonce" in ASCII, cut to what fits. */
const migrationLock = 0x7061796f6e

const migrationsFolder = fileURLToPath(new URL('../../../../drizzle', import.meta.url))

export type MigrateOptions = {
  databaseUrl: string
  /** A role that api and worker run as: it is granted what they need, and no more. */
  grantTo?: string | undefined
}

/**
 * Brings the database to the schema of this version. Safe to run at any time and by several
 * processes at once: they take turns, and the later ones find nothing to do. Returns the partitions of
 * months to come that are left to a later run, since somebody was reading the table.
 */
export async function migrateDatabase(options: MigrateOptions): Promise<string[]> {
  const client = new Client({
    connectionString: options.databaseUrl,
    application_name: 'payonce-migrate',
  })
  await client.connect()
  try {
    // drizzle's migrator takes no lock of its own: two at once would both create the tables.
    await client.query('SELECT pg_advisory_lock($1)', [migrationLock])
    await migrate(drizzle(client), { migrationsFolder })
    const left = await createCommandPartitions(client)
    if (options.grantTo !== undefined) await grantAccess(client, options.grantTo)
    return left
  } finally {
    await client.end()
  }
}

/** What api and worker may do with each table. None may be emptied; the books only grow. */
const grants: Record<string, string> = {
  account_limits: 'SELECT, INSERT',
  accounts: 'SELECT, INSERT, UPDATE',
  api_keys: 'SELECT',
  batch_items: 'SELECT, INSERT',
  commands: 'SELECT, INSERT',
  deferred: 'SELECT, INSERT, UPDATE, DELETE',
  entries: 'SELECT, INSERT',
  event_feed: 'SELECT, UPDATE',
  events: 'SELECT, INSERT',
  events_position: 'SELECT',
  idempotency_keys: 'SELECT, INSERT',
  issued_keys: 'SELECT, INSERT',
  key_replays: 'SELECT, INSERT, UPDATE',
  ledger_chains: 'SELECT, UPDATE',
  settlements: 'SELECT, INSERT',
  sweeps: 'SELECT, UPDATE',
  tenants: 'SELECT',
  transfer_attempts: 'SELECT, INSERT',
  transfer_batches: 'SELECT, INSERT, UPDATE (completed_at, next_check_at)',
  // What a child changes on its parent, and nothing else.
  transfers: 'SELECT, INSERT, UPDATE (status, captured_amount, refunded_amount, event_count)',
  webhook_attempts: 'SELECT, INSERT',
  webhook_deliveries: 'SELECT, INSERT, UPDATE',
  webhook_endpoints: 'SELECT, INSERT, UPDATE',
  webhook_recoveries: 'SELECT, INSERT, UPDATE',
  webhook_secrets: 'SELECT, INSERT, UPDATE (expires_at)',
}

/** In one transaction: processes that run meanwhile never find a right taken away. */
async function grantAccess(client: Client, role: string): Promise<void> {
  const { rowCount } = await client.query('SELECT WHERE current_user = $1', [role])
  if (rowCount !== 0) {
    throw new Error(
      `APP_DATABASE_ROLE is ${role}, the role that migrates: it owns the tables and needs no grant. ` +
        'Leave it out, or name another role for API and worker.',
    )
  }
  const grantee = client.escapeIdentifier(role)
  await client.query('BEGIN')
  for (const [table, privileges] of Object.entries(grants)) {
    await client.query(`REVOKE ALL ON ${client.escapeIdentifier(table)} FROM ${grantee}`)
    await client.query(`GRANT ${privileges} ON ${client.escapeIdentifier(table)} TO ${grantee}`)
  }
  await client.query('COMMIT')
}
