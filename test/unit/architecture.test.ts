import { posix } from 'node:path'
import { is } from 'drizzle-orm'
import { PgTable, getTableConfig } from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import * as schema from '@payonce/core/db/schema'
import { importsOf, readSources, templatesOf, withoutComments, type Source } from './sources.ts'

const sources = readSources()

/** A rule that finds nothing anywhere might be blind: each one is shown something to find. */
function planted(code: string, path = 'apps/api/src/planted.ts'): Source {
  return { path, code: withoutComments(code) }
}

function pathsOf(found: readonly Source[]): string[] {
  return found.map(({ path }) => path).toSorted()
}

const settle = 'packages/core/src/transfers/settle.ts'

describe('money moves in one place:', () => {
  const writesEntries = (source: Source) =>
    /\bINSERT\s+INTO\s+(?:ONLY\s+)?"?entries\b/i.test(source.code) ||
    /\.insert\(\s*(?:\w+\.)?entries\b/.test(source.code)

  const setsBalances = (source: Source) =>
    templatesOf(source).some(
      (sql) =>
        /\bUPDATE\s+(?:ONLY\s+)?"?accounts\b/i.test(sql) && /\b(?:balance|held)"?\s*=/i.test(sql),
    ) || /\.update\(\s*(?:\w+\.)?accounts\b/.test(source.code)

  it('only settlement writes entries', () => {
    expect(pathsOf(sources.filter(writesEntries))).toEqual([settle])
  })

  it('only settlement sets a balance', () => {
    expect(pathsOf(sources.filter(setsBalances))).toEqual([settle])
  })

  it('nothing changes or removes an entry', () => {
    const changesEntries = ({ code }: Source) =>
      /\b(?:UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO)\s+(?:ONLY\s+)?"?entries\b/i.test(
        code,
      ) || /\.(?:update|delete)\(\s*(?:\w+\.)?entries\b/.test(code)
    expect(pathsOf(sources.filter(changesEntries))).toEqual([])
    expect(changesEntries(planted('tx.query(`UPDATE entries SET amount = 0`)'))).toBe(true)
    expect(changesEntries(planted('db.delete(schema.entries)'))).toBe(true)
  })

  it('an account is opened in one place, and empty', () => {
    const opensAccounts = (source: Source) => /\bINSERT\s+INTO\s+"?accounts\b/i.test(source.code)
    const [opener, ...others] = sources.filter(opensAccounts)
    expect(others).toEqual([])
    expect(opener?.path).toBe('packages/core/src/ledger/account.ts')
    const insert = templatesOf(opener ?? planted('')).find((sql) => /INTO accounts/.test(sql)) ?? ''
    const columns = /INTO accounts \(([^)]+)\)/.exec(insert)?.[1]?.split(/,\s*/) ?? []
    const values = /VALUES \(([^]+?),\s*date_trunc/.exec(insert)?.[1]?.split(/,\s*/) ?? []
    for (const column of ['balance', 'held', 'version', 'entry_count']) {
      expect(values[columns.indexOf(column)]).toBe('0')
    }
  })

  it('a transfer is settled by settlement or by cancel, and by nobody else', () => {
    const settles = (source: Source) => /\bINSERT\s+INTO\s+"?transfers\b/i.test(source.code)
    expect(pathsOf(sources.filter(settles))).toEqual([
      'packages/core/src/transfers/cancel.ts',
      settle,
    ])
  })

  /** With it, two twins once wrote four entries that still summed to zero. */
  it('settlement inserts transfers without ON CONFLICT', () => {
    const source = sources.find(({ path }) => path === settle) ?? planted('')
    const inserts = templatesOf(source).filter((sql) => /INSERT\s+INTO\s+transfers/i.test(sql))
    expect(inserts).toHaveLength(1)
    for (const sql of inserts) expect(sql).not.toMatch(/ON\s+CONFLICT/i)
  })

  it('the rules find what is planted', () => {
    expect(writesEntries(planted('tx.query(`insert into entries VALUES ($1)`)'))).toBe(true)
    expect(writesEntries(planted('await db.insert(entries).values(rows)'))).toBe(true)
    expect(setsBalances(planted('`UPDATE accounts\n SET balance = balance + 1`'))).toBe(true)
    expect(setsBalances(planted('`UPDATE accounts SET version = 1, held = 0`'))).toBe(true)
    expect(setsBalances(planted('db.update(accounts).set({})'))).toBe(true)
    expect(setsBalances(planted('`UPDATE accounts SET name = $1`'))).toBe(false)
  })
})

describe('locks are taken in one way:', () => {
  /** A foreign key takes KEY SHARE, and with FOR UPDATE two transfers between the same accounts deadlock. */
  it('never stronger than NO KEY UPDATE', () => {
    // Nothing refers to the ends of the chains, and whoever takes one wants it alone.
    const isExempt = (sql: string) => /\bFROM ledger_chains\b/.test(sql)
    const locksTooMuch = (source: Source) =>
      templatesOf(source).some((sql) => /\bFOR\s+(?:UPDATE|SHARE)\b/.test(sql) && !isExempt(sql))
    expect(pathsOf(sources.filter(locksTooMuch))).toEqual([])
    expect(locksTooMuch(planted('`SELECT 1 FROM accounts FOR UPDATE`'))).toBe(true)
    expect(locksTooMuch(planted('`SELECT 1 FROM accounts FOR NO KEY UPDATE`'))).toBe(false)
  })

  it('several rows at once are locked in the order of their primary key', () => {
    const locking = sources.flatMap(templatesOf).filter((sql) => /FOR NO KEY UPDATE/.test(sql))
    expect(locking.length).toBeGreaterThan(0)
    for (const sql of locking) {
      const isOneRow = /tenant_id = \$1 AND id = \$2\b[^;]*FOR NO KEY UPDATE/.test(sql)
      expect(isOneRow || /ORDER BY \w+\.tenant_id, \w+\.id\s+FOR NO KEY UPDATE/.test(sql)).toBe(
        true,
      )
    }
  })
})

describe('connections are made where a program starts:', () => {
  const constructs = ({ code }: Source) =>
    /(?<!function )\b(?:createPool|connectProducer|connectConsumer|createSettlementQueue|createSettlementWorker)\(/.test(
      code,
    ) ||
    /\bnew (?:\w+\.)?(?:Client|Pool|PgPool|Redis|Cluster|Queue|Worker|QueueEvents|FlowProducer)\b/.test(
      code,
    )

  const exceptions = new Map([
    ['apps/local/src/demo.ts', 'prepares the demo tenant before anything else runs'],
    ['packages/core/src/db/client.ts', 'is the one that makes pools'],
    ['packages/core/src/db/migrate.ts', 'holds a session lock, which no pool can promise'],
    ['packages/core/src/queue/queues.ts', 'is the one that makes queues and workers'],
    ['packages/core/src/queue/redis.ts', 'is the one that connects to Redis'],
  ])

  it('in main.ts files, and by the few that make them', () => {
    const others = sources
      .filter(constructs)
      .filter(({ path }) => !/^apps\/[^]+\/main\.ts$/.test(path) && !exceptions.has(path))
    expect(pathsOf(others)).toEqual([])
  })

  it('and no exception outlives its reason', () => {
    expect(pathsOf(sources.filter(constructs))).toEqual(
      expect.arrayContaining([...exceptions.keys()]),
    )
  })

  it('the rule finds what is planted', () => {
    for (const code of [
      'const pool = createPool({})',
      'await connectProducer(url)',
      'new Client({})',
      'new pg.Pool()',
      'new Redis(url)',
      'new Postgres.Worker<X>("x", f)',
    ]) {
      expect(constructs(planted(code))).toBe(true)
    }
    expect(constructs(planted('export function createPool(options) {}'))).toBe(false)
    expect(constructs(planted('// createPool() makes one'))).toBe(false)
  })
})

describe('the environment is read in one place:', () => {
  const readsEnvironment = ({ code }: Source) =>
    /\bprocess\s*(?:\?\.|\.)\s*env\b|\bprocess\s*\[|\{[^}]*\benv\b[^}]*\}\s*=\s*(?:globalThis\.)?process\b/.test(
      code,
    ) || /\bimport\b[^;'"]*\benv\b[^;'"]*from\s*['"](?:node:)?process['"]/.test(code)

  it('core/config.ts', () => {
    expect(pathsOf(sources.filter(readsEnvironment))).toEqual(['packages/core/src/config.ts'])
  })

  it('however it is spelled', () => {
    for (const code of [
      'const { PORT } = process.env',
      "process.env['PORT']",
      "process['env']",
      'globalThis.process.env',
      'const { env } = process',
      'const { argv, env: e } = globalThis.process',
      "import { env } from 'node:process'",
      "import { argv, env } from 'process'",
    ]) {
      expect(readsEnvironment(planted(code))).toBe(true)
    }
    expect(readsEnvironment(planted('spawn(program, { env: given })'))).toBe(false)
  })
})

describe('workspaces meet by their names:', () => {
  const workspaceOf = (path: string) => path.split('/').slice(0, 2).join('/')

  const leaves = (source: Source) =>
    importsOf(source).some(({ specifier, isRelative }) => {
      const target = posix.join(posix.dirname(source.path), specifier)
      return isRelative && workspaceOf(target) !== workspaceOf(source.path)
    })

  it('no relative import leaves its own', () => {
    expect(pathsOf(sources.filter(leaves))).toEqual([])
  })

  it('so that apps know core alone, and only apps/local starts others', () => {
    const knows = (source: Source) =>
      importsOf(source)
        .map(({ specifier }) => /^@payonce\/(\w+)/.exec(specifier)?.[1])
        .filter((name) => name !== undefined && name !== 'core')
    const knowing = sources.filter((source) => knows(source).length > 0)
    for (const { path } of knowing) expect(path).toMatch(/^apps\/local\//)
  })

  it('the rule finds what is planted', () => {
    expect(leaves(planted("import { x } from '../../worker/src/main.ts'"))).toBe(true)
    expect(leaves(planted("export * from '../../../packages/core/src/money.ts'"))).toBe(true)
    expect(leaves(planted("await import('../../cli/src/x.ts')"))).toBe(true)
    expect(leaves(planted("import './problem.ts'"))).toBe(false)
  })
})

describe('the pure core', () => {
  const paths = ['apply', 'books'].map((name) => `packages/core/src/ledger/${name}.ts`)
  const pure = sources.filter(({ path }) => paths.includes(path))

  it('knows amounts and refusals, and neither clock, chance, SQL nor queue', () => {
    expect(pathsOf(pure).toSorted()).toEqual(paths)
    const specifiers = pure.flatMap(importsOf).map(({ specifier }) => specifier)
    expect([...new Set(specifiers)].toSorted()).toEqual([
      '../money.ts',
      '../refusals.ts',
      './books.ts',
    ])
    for (const { code } of pure) {
      expect(code).not.toMatch(/Date\.now|new Date\(|performance\.|Math\.random|\.query\(|await/)
    }
  })

  it('never makes a money amount a floating-point number', () => {
    for (const { code } of pure) expect(code).not.toMatch(/\bNumber\(|parseInt|parseFloat/)
  })
})

describe('requests to the outside', () => {
  const sends = ({ code }: Source) =>
    /(?<![.\w])fetch\(|\bhttps?\.(?:request|get)\(|from 'undici'|from 'node:https'/.test(code)

  it('are made by webhooks/send.ts alone, apart from the command line, which is a client itself', () => {
    const allowed = /^(?:packages\/core\/src\/webhooks\/send\.ts|apps\/(?:cli|local)\/)/
    expect(pathsOf(sources.filter(sends)).filter((path) => !allowed.test(path))).toEqual([])
    expect(sends(planted("await fetch('https://receiver.example')"))).toBe(true)
    expect(sends(planted('app.fetch(request)'))).toBe(false)
  })
})

describe('a file is named for what is in it', () => {
  it('and so never utils, common or helpers', () => {
    const vague = /(?:^|\/)(?:utils?|common|helpers?|misc|shared|lib|index)(?:\.ts|\/)/
    expect(pathsOf(sources.filter(({ path }) => vague.test(path)))).toEqual([])
    expect(sources.filter(({ path }) => !/^[a-z0-9./-]+\.ts$/.test(path))).toEqual([])
  })
})

describe('tables can be distributed by tenant:', () => {
  const tables = Object.values(schema).flatMap((value) =>
    is(value, PgTable) ? [getTableConfig(value)] : [],
  )

  /** Tables without a tenant, or that are asked before the tenant is known. */
  const exempt = new Map([
    ['tenants', 'is the list of tenants itself'],
    ['api_keys', 'is looked up by its hash to find the tenant'],
    ['sweeps', 'holds leases and watermarks of the whole system'],
    ['event_feed', 'holds the lease and the horizon of all events'],
    ['ledger_chains', 'holds the ends of the chains of seals, which run through all tenants'],
    ['settlements', 'is those chains: one transaction may settle for several tenants'],
  ])

  /** Every primary key and unique constraint or index, as the names of its columns. */
  function keysOf(table: (typeof tables)[number]): { name: string; columns: string[] }[] {
    const nameOf = (column: object) => String(Reflect.get(column, 'name'))
    return [
      ...table.primaryKeys.map((key) => ({
        name: key.getName(),
        columns: key.columns.map(nameOf),
      })),
      ...table.columns
        .filter((column) => column.primary || column.isUnique)
        .map((column) => ({ name: `${column.name} by itself`, columns: [column.name] })),
      ...table.uniqueConstraints.map((key) => ({
        name: key.getName() ?? 'unnamed',
        columns: key.columns.map(nameOf),
      })),
      ...table.indexes
        .filter((index) => index.config.unique)
        .map((index) => ({
          name: index.config.name ?? 'unnamed',
          columns: index.config.columns.map(nameOf),
        })),
    ]
  }

  it('the schema has tables, and each has a key', () => {
    expect(tables.length).toBeGreaterThan(8)
    for (const table of tables) expect(keysOf(table)).not.toEqual([])
  })

  it.each(
    tables.filter(({ name }) => !exempt.has(name)).map((table) => [table.name, table] as const),
  )('every key of %s begins with tenant_id', (_, table) => {
    for (const { name, columns } of keysOf(table)) {
      expect(`${name}: ${columns[0]}`).toBe(`${name}: tenant_id`)
    }
  })

  it('and no exemption outlives its table', () => {
    expect(tables.map(({ name }) => name)).toEqual(expect.arrayContaining([...exempt.keys()]))
  })
})
