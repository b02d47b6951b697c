import * as schema from '@payonce/core/db/schema'
import { createPool, type Pool } from '@payonce/core/db/client'
import { is, type SQL } from 'drizzle-orm'
import { PgDialect, PgTable, getTableConfig } from 'drizzle-orm/pg-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../support/database.ts'

/*
 * schema.ts is what the code believes, the migrations are what a database becomes. What neither of
 * them can say of the other is looked up in the catalogue of a migrated database.
 */

const tables = Object.values(schema)
  .filter((table) => is(table, PgTable))
  .map(getTableConfig)
const names = tables.map(({ name }) => name)
let db: Pool

beforeAll(async () => {
  db = createPool({
    databaseUrl: await createDatabase(),
    name: 'test',
    maxConnections: 2,
    onError: () => undefined,
  })
  await db.query('CREATE SCHEMA believed')
})

afterAll(() => db.end())

type TableConfig = ReturnType<typeof getTableConfig>

async function rowsOf<Row extends object>(sql: string, values: unknown[] = []): Promise<Row[]> {
  return (await db.query<Row>(sql, values)).rows
}

function render(condition: SQL): string {
  const { sql, params } = new PgDialect().sqlToQuery(condition)
  expect(params).toEqual([])
  return sql
}

describe('a migrated database', () => {
  test('has the tables of schema.ts, and no others but parts of them', async () => {
    const rows = await rowsOf<{ name: string }>(
      `SELECT relname AS name FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
          AND NOT relispartition`,
    )
    expect(rows.map(({ name }) => name).toSorted()).toEqual(names.toSorted())
  })
})

describe.each(names)('the table %s', (name) => {
  const table = tables.find((one) => one.name === name) as TableConfig

  test('has the columns, types and nulls of schema.ts, in its order', async () => {
    const rows = await rowsOf(
      `SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS "notNull",
              pg_get_expr(adbin, adrelid) AS default
         FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum`,
      [name],
    )
    expect(rows).toEqual(
      table.columns.map((column) => ({
        name: column.name,
        type: column.getSQLType().replace('timestamp (', 'timestamp('),
        notNull: column.notNull,
        default: typeof column.default === 'number' ? `${column.default}` : null,
      })),
    )
    const made = table.columns.filter(({ hasDefault }) => hasDefault).map((column) => column.name)
    // What is counted from a beginning, and the place of an event.
    expect(['event_count', 'failures', 'position']).toEqual(expect.arrayContaining(made))
  })

  test('has its keys, unique constraints and references', async () => {
    const rows = await rowsOf<{ name: string; type: string; columns: string[]; target: string }>(
      `SELECT conname AS name, contype AS type, confrelid::regclass::text AS target,
              ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
                      JOIN pg_attribute ON attrelid = conrelid AND attnum = number
                     ORDER BY place) AS columns
         FROM pg_constraint
        WHERE conrelid = $1::regclass AND contype IN ('p', 'u', 'f')
        ORDER BY conname`,
      [name],
    )
    const believed = [
      ...table.columns
        .filter(({ primary }) => primary)
        .map((column) => ({
          name: `${name}_pkey`,
          type: 'p',
          target: '-',
          columns: [column.name],
        })),
      ...table.primaryKeys.map((key) => ({
        name: key.getName(),
        type: 'p',
        target: '-',
        columns: key.columns.map((column) => column.name),
      })),
      ...table.uniqueConstraints.map((unique) => ({
        name: unique.getName() ?? '',
        type: 'u',
        target: '-',
        columns: unique.columns.map((column) => column.name),
      })),
      ...table.foreignKeys.map((key) => ({
        name: key.getName(),
        type: 'f',
        target: getTableConfig(key.reference().foreignTable).name,
        columns: key.reference().columns.map((column) => column.name),
      })),
    ]
    expect(rows).toEqual(believed.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
  })

  // A condition is compared as Postgres writes it back: what schema.ts says is put on a table of the
  // same columns first.
  test('has its checks and its indexes, with their conditions', async () => {
    await db.query(`CREATE TABLE believed."${name}" (LIKE public."${name}")`)
    for (const check of table.checks) {
      await db.query(
        `ALTER TABLE believed."${name}" ADD CONSTRAINT "${check.name}" CHECK (${render(check.value)})`,
      )
    }
    for (const { config } of table.indexes) {
      const columns = config.columns.map((column) =>
        'name' in column ? `"${column.name}" ${column.indexConfig?.opClass ?? ''}` : '',
      )
      const where = config.where === undefined ? '' : `WHERE ${render(config.where)}`
      const unique = config.unique ? 'UNIQUE' : ''
      await db.query(
        `CREATE ${unique} INDEX "${config.name}" ON believed."${name}" USING ${config.method ?? 'btree'} (${columns.join(', ')}) ${where}`,
      )
    }
    const checksIn = (schemaName: string) =>
      rowsOf(
        `SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint
          WHERE conrelid = $1::regclass AND contype = 'c' ORDER BY conname`,
        [`${schemaName}."${name}"`],
      )
    const indexesIn = async (schemaName: string) =>
      rowsOf(
        `SELECT relname AS name,
                regexp_replace(pg_get_indexdef(indexrelid), ' ON (ONLY )?[^ ]+', '') AS definition
           FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
          WHERE indrelid = $1::regclass
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
          ORDER BY relname`,
        [`${schemaName}."${name}"`],
      )
    expect(await checksIn('public')).toEqual(await checksIn('believed'))
    expect(await indexesIn('public')).toEqual(await indexesIn('believed'))
  })

  test('can be distributed by tenant: its unique keys begin with tenant_id, or it is exempt', async () => {
    const rows = await rowsOf<{ name: string; first: string }>(
      `SELECT relname AS name, attname AS first
         FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
                       JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
        WHERE indrelid = $1::regclass AND indisunique`,
      [name],
    )
    const exempt = ['tenants_pkey', 'tenants_name_mode_unique', 'api_keys_pkey', 'sweeps_pkey']
    exempt.push('api_keys_hash_unique', 'ledger_chains_pkey', 'settlements_primary')
    exempt.push('event_feed_pkey')
    const others = rows.filter((row) => !exempt.includes(row.name))
    expect(others.filter(({ first }) => first !== 'tenant_id')).toEqual([])
  })
})

describe('what the schema alone holds', () => {
  const id = '01900000-0000-7000-8000-000000000001'
  const other = '01900000-0000-7000-8000-000000000002'

  beforeAll(async () => {
    await db.query(
      `INSERT INTO accounts (tenant_id, id, kind, currency, status, balance, held, overdraft_limit,
                             version, entry_count, created_at)
       VALUES ($1, $1, 'internal', 'EUR', 'open', 0, 0, 100, 0, 0, now())`,
      [id],
    )
    await db.query(
      `INSERT INTO entries (tenant_id, account_id, seq, transfer_id, amount, balance_after, created_at)
       VALUES ($1, $1, 1, $1, 5, 5, now())`,
      [id],
    )
    await db.query(
      `INSERT INTO account_limits (tenant_id, account_id, version, overdraft_limit, created_at)
       VALUES ($1, $1, 0, 100, now())`,
      [id],
    )
  })

  test.each(['entries', 'account_limits'])(
    '%s are written once, even by their owner',
    async (name) => {
      const final = new RegExp(`rows of ${name} are written once and never changed`)
      for (const statement of [
        `UPDATE ${name} SET created_at = now()`,
        `DELETE FROM ${name}`,
        `TRUNCATE ${name}`,
        `DELETE FROM ${name} WHERE false`,
      ]) {
        await expect(db.query(statement)).rejects.toThrow(final)
      }
      expect(await rowsOf(`SELECT FROM ${name}`)).toHaveLength(1)
    },
  )

  const transfer = (change: Record<string, string> = {}) => {
    const columns = {
      tenant_id: `'${id}'`,
      id: 'gen_random_uuid()',
      idempotency_key: 'gen_random_uuid()::text',
      kind: `'transfer'`,
      status: `'succeeded'`,
      source: `'${id}'`,
      destination: `'${other}'`,
      amount: '1',
      currency: `'EUR'`,
      failure_code: 'NULL',
      source_version: '1',
      destination_version: '1',
      captured_amount: '0',
      refunded_amount: '0',
      settlement_id: `'${id}'`,
      created_at: 'now()',
      settled_at: 'now()',
      ...change,
    }
    return `INSERT INTO transfers (${Object.keys(columns).join(', ')})
            VALUES (${Object.values(columns).join(', ')})`
  }

  test.each<[what: string, sql: string, constraint: string]>([
    ['an overdraft beyond the limit', 'UPDATE accounts SET balance = -101', 'overdraft_check'],
    ['holds beyond what is there', 'UPDATE accounts SET held = 101', 'overdraft_check'],
    ['a negative hold', 'UPDATE accounts SET held = -1', 'held_check'],
    [
      'a balance above 2^53 - 1',
      `UPDATE accounts SET kind = 'external', balance = 9007199254740992`,
      'balance_check',
    ],
    [
      'a count of entries without a time',
      'UPDATE accounts SET entry_count = 1',
      'last_entry_check',
    ],
    ['an unknown status of an account', `UPDATE accounts SET status = 'held'`, 'status_check'],
    ['an entry of nothing', entry('2, gen_random_uuid(), 0, 5'), 'amount_check'],
    ['an entry before the first', entry('0, gen_random_uuid(), 1, 6'), 'seq_check'],
    ['an entry twice', entry('1, gen_random_uuid(), 1, 6'), 'entries_primary'],
    ['a transfer of nothing', transfer({ amount: '0' }), 'amount_check'],
    ['a transfer to its own source', transfer({ destination: `'${id}'` }), 'accounts_check'],
    ['a failure without a code', transfer({ status: `'failed'` }), 'failure_check'],
    ['a success with a code', transfer({ failure_code: `'x'` }), 'failure_check'],
    ['a success without versions', transfer({ source_version: 'NULL' }), 'versions_check'],
    ['a transfer that is not settled', transfer({ status: `'queued'` }), 'status_check'],
  ])('refuses %s', async (_what, sql, constraint) => {
    await expect(db.query(sql)).rejects.toThrow(constraint)
  })

  function entry(values: string): string {
    return `INSERT INTO entries (tenant_id, account_id, seq, transfer_id, amount, balance_after,
                                 created_at)
            VALUES ('${id}', '${id}', ${values}, now())`
  }

  test('refuses a second transfer of one key, and of one id', async () => {
    await db.query(transfer({ id: `'${id}'`, idempotency_key: `'K'` }))
    await expect(db.query(transfer({ idempotency_key: `'K'` }))).rejects.toThrow(
      'transfers_idempotency_key_unique',
    )
    await expect(db.query(transfer({ id: `'${id}'` }))).rejects.toThrow('transfers_primary')
    await db.query(transfer({ tenant_id: `'${other}'`, id: `'${id}'`, idempotency_key: `'K'` }))
  })
})
