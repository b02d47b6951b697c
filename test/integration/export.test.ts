import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { exportJournal } from '../../apps/cli/src/export/export.ts'
import { assertBooksHold } from '../support/books.ts'
import { findHledger, hledgerMissingLine } from '../support/hledger-program.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { repositoryRoot } from '../support/processes.ts'
import type { AccountOnWire, EntryOnWire, TransferOnWire } from '../support/wire.ts'

const hledger = findHledger()
const folder = mkdtempSync(join(tmpdir(), 'payonce-test-export-'))
let payonce: Payonce
/** The books after the whole history, in a file. */
let journal: string
/** A moment in the middle of the history. */
let middle: Date
let seed = 20_260_202

/** A number from 0 to below `end`, the same in every run. */
function draw(end: number): number {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return Math.trunc((seed / 2_147_483_648) * end)
}

function drawOf<T>(all: readonly T[]): T {
  return all[draw(all.length)] as T
}

/** What a journal could take for its own: dates, codes, comments, tags, further lines. */
const hostileTexts = [
  '2020-01-01 * (code) another one',
  '(tr_0) ! =2020-02-02',
  'rent ; date:2020-01-01, type:L',
  'payee | note',
  'two\nlines\r\n2020-01-01 * x\n    internal:a  1 EUR\n    external:b',
  '  spaces   within and around  ',
  ';',
  '[2020-13-45] [=1/1] date:x',
  '\u2028 \u2029 \u00A0 \u3000 \t \uFEFF \u200F end\u00A0',
  '100 %3B 50% off',
  'include /etc/passwd',
  '"quoted" \\ {@ 5 USD} = 7 EUR @@ 3',
  'ž 漢字 👩‍👩‍👧 é',
  'a:b::c, d:e,',
  '~ monthly',
  'comment\nend comment',
]

const currencies = ['EUR', 'JPY', 'KWD'] as const
type Currency = (typeof currencies)[number]
type Cast = Record<Currency, { world: string; inside: string[] }>

beforeAll(async () => {
  if (hledger === undefined) throw new Error(hledgerMissingLine)
  payonce = await startPayonce()
  const cast = await openCast()
  await writeHistory(cast, 50)
  await payonce.untilAllSettled()
  await sleep(5)
  middle = new Date()
  await sleep(5)
  await writeHistory(cast, 50)
  await sendHostileTexts(cast)
  await moveLargestAmount()
  await payonce.untilAllSettled()
  await payonce.stopWorker()
  await assertBooksHold(payonce.db)
  // The horizon is a second ago: what is younger is not exported.
  await sleep(1_100)
  journal = await exportTo('books.journal')
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true }))

async function openAccount(account: Partial<AccountOnWire>): Promise<string> {
  const { body, status } = await payonce.client.post<AccountOnWire>('/v1/accounts', account)
  expect(status).toBe(201)
  return body.id
}

async function openCast(): Promise<Cast> {
  const cast: Cast = {
    EUR: { world: '', inside: [] },
    JPY: { world: '', inside: [] },
    KWD: { world: '', inside: [] },
  }
  let nextText = 0
  for (const currency of currencies) {
    const world = await openAccount({ currency, kind: 'external', name: 'the world outside' })
    cast[currency].world = world
    for (let n = 0; n < 6; n++) {
      const text = hostileTexts[nextText++ % hostileTexts.length] as string
      const reference = n === 0 ? null : `${text}${nextText}`
      const inside = await openAccount({ currency, reference, name: text, overdraft_limit: 50 })
      const { body } = await payonce.client.send(
        { source: world, destination: inside, amount: 1_000, currency },
        { wait: 10 },
      )
      expect(body.status).toBe('succeeded')
      cast[currency].inside.push(inside)
    }
  }
  return cast
}

async function writeHistory(cast: Cast, length: number): Promise<void> {
  const traffic = Array.from({ length: 4 }, async () => {
    for (let n = 0; n < length / 4; n++) await doSomething(cast)
  })
  await Promise.all(traffic)
}

/** Whatever a tenant can do; what is refused belongs to a history as well. */
async function doSomething(cast: Cast): Promise<unknown> {
  const { client } = payonce
  const currency = drawOf(currencies)
  const { inside, world } = cast[currency]
  const source = drawOf(inside)
  const destination = drawOf([...inside.filter((one) => one !== source), world])
  const one = { source, destination, amount: 1 + draw(400), currency }
  const [other, third] = [drawOf(currencies), drawOf(currencies)]
  const legs = [currency, other, third].map((legCurrency) => {
    const [from, to] = cast[legCurrency].inside.slice(draw(4))
    return {
      source: from ?? '',
      destination: to ?? '',
      amount: 1 + draw(90),
      currency: legCurrency,
    }
  })
  switch (draw(9)) {
    case 0: {
      const { body: hold } = await client.send({ ...one, hold: true }, { wait: 5 })
      await client.follow('capture', hold.id, { amount: 1 + draw(100), final: draw(2) === 0 })
      return client.follow(drawOf(['capture', 'release']), hold.id, undefined, { wait: 5 })
    }
    case 1: {
      const { body: moved } = await client.send(one, { wait: 5 })
      await client.follow('refund', moved.id, { amount: 1 + draw(300) })
      return client.follow('refund', moved.id)
    }
    case 2: {
      const { body: exchanged } = await client.send({ legs }, { wait: 5 })
      return draw(2) === 0 ? client.follow('refund', exchanged.id) : undefined
    }
    case 3:
      return client.sendBatch({ transfers: [one, { legs }, one], atomic: draw(2) === 0 })
    case 4: {
      const soon = new Date(Date.now() + 100 + draw(300)).toISOString()
      const { body: scheduled } = await client.send({ ...one, execute_at: soon })
      return draw(3) === 0 ? client.cancel(scheduled.id) : undefined
    }
    case 5: {
      await client.send({ ...one, hold: true })
      return client.send({ ...one, amount: 1_000_000 })
    }
    default:
      return client.send({ ...one, description: 'plain', metadata: { n: '1' } })
  }
}

async function sendHostileTexts(cast: Cast): Promise<void> {
  for (const [n, description] of hostileTexts.entries()) {
    const metadata = Object.fromEntries(
      hostileTexts.map((text, index) => [`${text.slice(0, 36)}${index}`, text]),
    )
    const { body } = await payonce.client.send(
      {
        source: cast.EUR.world,
        destination: cast.EUR.inside[0] ?? '',
        amount: 1,
        description,
        metadata,
      },
      { key: `hostile:${n};[2020-99-99]*|`, wait: 5 },
    )
    expect(body.status).toBe('succeeded')
  }
}

/** 2^53 - 1 minor units: no floating-point number may come near it. */
async function moveLargestAmount(): Promise<void> {
  const pair = { kind: 'external', currency: 'KWD' } as const
  const [source, destination] = [await openAccount(pair), await openAccount(pair)]
  const amount = Number.MAX_SAFE_INTEGER
  await payonce.client.send({ source, destination, amount, currency: 'KWD' }, { wait: 5 })
}

type Ended = { code: number; stdout: string; stderr: string }

function runProgram(command: string, args: readonly string[], env: Record<string, string>) {
  return new Promise<Ended>((resolve) => {
    execFile(
      command,
      args,
      {
        cwd: repositoryRoot,
        env: { PATH: process.env['PATH'] ?? '', TMPDIR: folder, ...env },
        maxBuffer: 2 ** 28,
      },
      (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
      },
    )
  })
}

function runExport(...args: string[]): Promise<Ended> {
  const command = ['--import', 'tsx', 'apps/cli/src/export/main.ts', ...args]
  return runProgram(process.execPath, command, { DATABASE_URL: payonce.stores.databaseUrl })
}

async function exportTo(name: string, ...args: string[]): Promise<string> {
  const path = join(folder, name)
  const ended = await runExport('--format', 'ledger', '--output', path, ...args)
  expect(ended).toMatchObject({ code: 0, stdout: '' })
  return path
}

async function runHledger(file: string, ...args: string[]): Promise<string> {
  // Without a locale that knows UTF-8 it reads ASCII alone.
  const options = ['-f', file, ...args]
  const ended = await runProgram(hledger ?? '', options, { LANG: 'C.UTF-8', HOME: folder })
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  return ended.stdout
}

/** Balances in minor units by the account's id: `"internal:EUR:acc_…","-12.34 EUR"`. */
async function balancesByHledger(file: string): Promise<Map<string, bigint>> {
  const table = await runHledger(file, 'balance', '--flat', '--empty', '-N', '-O', 'csv')
  const lines = table.trimEnd().split('\n').slice(1)
  return new Map(
    lines.map((line) => {
      const [, id = '', amount = ''] = /(acc_[0-9a-f]{32})","([^"]+)"$/.exec(line) ?? [line]
      const [decimal = '', currency] = amount.split(' ')
      const digits = { EUR: 2, JPY: 0, KWD: 3 }[currency ?? ''] ?? 0
      // Zero alone stands without its digits.
      expect(`${id} ${decimal.split('.')[1]?.length ?? 0}`).toBe(
        `${id} ${decimal === '0' ? 0 : digits}`,
      )
      return [id, BigInt(decimal.replace('.', ''))]
    }),
  )
}

async function ourBalances(at?: Date): Promise<Map<string, bigint>> {
  const accounts = await payonce.client.listAll<AccountOnWire>('/v1/accounts', 100)
  const balances = await Promise.all(
    accounts.map(async ({ id, balance }): Promise<[string, bigint]> => {
      const time = at === undefined ? '' : `?at=${at.toISOString()}`
      if (time === '') return [id, BigInt(balance)]
      const past = await payonce.client.get<{ balance: number }>(
        `/v1/accounts/${id}/balance${time}`,
      )
      return [id, BigInt(past.body.balance)]
    }),
  )
  return new Map(balances)
}

function withoutZeros(balances: Map<string, bigint>): [string, bigint][] {
  return [...balances]
    .filter(([, balance]) => balance !== 0n)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
}

test('hledger accepts the books after a random history with every command, strictly', async () => {
  await runHledger(journal, 'check')
  await runHledger(journal, 'check', '--strict')
  await runHledger(journal, 'check', '--strict', 'ordereddates')
  const { rows } = await payonce.db.query<{ moved: string }>(
    `SELECT DISTINCT kind || CASE WHEN legs IS NULL THEN '' ELSE ' of legs' END AS moved
       FROM transfers WHERE status = 'succeeded' AND kind NOT IN ('hold', 'release') ORDER BY 1`,
  )
  expect(rows.map(({ moved }) => moved)).toEqual([
    'capture',
    'refund',
    'refund of legs',
    'transfer',
    'transfer of legs',
  ])
})

test('the balances of hledger are ours, to the last minor unit', async () => {
  const theirs = await balancesByHledger(journal)
  expect(withoutZeros(theirs)).toEqual(withoutZeros(await ourBalances()))
  expect([...theirs.values()]).toContain(9007199254740991n)
})

test('a balance that is not ours fails the check: the assertions are real', async () => {
  const text = readFileSync(journal, 'utf8')
  const forged = text.replace(/ == (-?)(\d)/, (_, sign: string, digit: string) => {
    return ` == ${sign}${(Number(digit) + 1) % 10}`
  })
  const path = join(folder, 'forged.journal')
  writeFileSync(path, forged)
  const options = ['-f', path, 'check']
  const { code, stderr } = await runProgram(hledger ?? '', options, { LANG: 'C.UTF-8' })
  expect(code).not.toBe(0)
  expect(stderr).toMatch(/balance assertion/i)
})

type PrintedTransaction = {
  tcode: string
  tdescription: string
  tdate: string
  tstatus: string
  ttags: [string, string][]
  tpostings: { paccount: string; ptags: unknown[]; pdate: string | null; ptype: string }[]
}

async function transactionsByHledger(): Promise<PrintedTransaction[]> {
  const json = await runHledger(journal, 'print', '-O', 'json')
  const all = JSON.parse(json) as PrintedTransaction[]
  return all.filter(({ tcode }) => tcode !== '')
}

test('every movement of money is there once, with all that its client wrote', async () => {
  const transactions = await transactionsByHledger()
  const all = await payonce.client.listAll<TransferOnWire>('/v1/transfers', 100)
  const moved = all.filter(
    ({ status, kind }) => status === 'succeeded' && kind !== 'hold' && kind !== 'release',
  )
  expect(transactions.map(({ tcode }) => tcode).toSorted()).toEqual(
    moved.map(({ id }) => id).toSorted(),
  )
  const byId = new Map(moved.map((transfer) => [transfer.id, transfer]))
  for (const transaction of transactions) {
    const transfer = byId.get(transaction.tcode)
    if (transfer === undefined) throw new Error(`no transfer ${transaction.tcode}`)
    expect(decoded(transaction.tdescription)).toBe(transfer.description ?? transfer.kind)
    expect(transaction).toMatchObject({
      tdate: transfer.settled_at?.slice(0, 10),
      tstatus: 'Cleared',
    })
    const tags = transaction.ttags.map(([name, value]) => [decoded(name), decoded(value)])
    expect(Object.fromEntries(tags)).toEqual({
      kind: transfer.kind,
      settled_at: transfer.settled_at,
      idempotency_key: transfer.idempotency_key,
      ...(transfer.parent === null ? {} : { parent: transfer.parent }),
      ...Object.fromEntries(
        Object.entries(transfer.metadata).map(([key, value]) => [`metadata.${key}`, value]),
      ),
    })
    expect(transaction.tpostings).toHaveLength(2 * (transfer.legs?.length ?? 1))
    for (const posting of transaction.tpostings) {
      expect(posting).toMatchObject({ ptype: 'RegularPosting', pdate: null })
    }
  }
})

/** As the documentation says. */
function decoded(text: string): string {
  return text.replace(/(?:%[0-9A-F]{2})+/g, decodeURIComponent)
}

test('names and references come back as they were given', async () => {
  const names = (await runHledger(journal, 'accounts', '--declared')).trimEnd().split('\n')
  const accounts = await payonce.client.listAll<AccountOnWire>('/v1/accounts', 100)
  const expected = accounts.map(({ kind, currency, reference, id }) =>
    [kind, currency, ...(reference === null ? [] : [reference]), id].join('\n'),
  )
  const found = names.map((name) => name.split(':').map(decoded).join('\n'))
  expect(found.toSorted()).toEqual(['external', 'internal', ...expected].toSorted())
  const tags = (await runHledger(journal, 'tags', '--values', '^name$')).trimEnd().split('\n')
  expect(tags.map(decoded)).toEqual(expect.arrayContaining(hostileTexts.filter(Boolean)))
})

test('transactions stand in the order of settlement', () => {
  const times = readFileSync(journal, 'utf8').match(/settled_at:\S+Z/g) ?? []
  expect(times.length).toBeGreaterThan(50)
  expect(times).toEqual(times.toSorted())
})

test('a second export has the same bytes, also where it was sorted in many files', async () => {
  const bytes = readFileSync(journal, 'utf8')
  await payonce.db.query('UPDATE accounts SET version = version WHERE tenant_id = $1', [payonce.id])
  expect(readFileSync(await exportTo('again.journal'), 'utf8')).toBe(bytes)
  const { stdout, stderr } = await runExport('--format', 'ledger', '--tenant', 'first')
  expect(stdout).toBe(bytes)
  expect(stderr).toMatch(/^The books of test tenant first, settled before \S+Z\.$/m)

  vi.stubEnv('TMPDIR', folder)
  let text = ''
  const range = { tenantId: payonce.id, before: new Date(Date.now() - 1_000) }
  for await (const piece of exportJournal({
    pool: payonce.db,
    ...range,
    charactersPerRun: 2_000,
  })) {
    text += piece
  }
  expect(text).toBe(bytes)
  const leftovers = readdirSync(folder).filter((name) => /payonce-export-|partial/.test(name))
  expect(leftovers).toEqual([])
})

test('two ranges of time fit together at their seam', async () => {
  const time = middle.toISOString()
  const early = await exportTo('early.journal', '--to', time)
  const late = await exportTo('late.journal', '--from', time)
  for (const file of [early, late]) await runHledger(file, 'check', '--strict', 'ordereddates')
  const before = new Date(middle.getTime() - 1)
  expect(withoutZeros(await balancesByHledger(early))).toEqual(
    withoutZeros(await ourBalances(before)),
  )
  expect(withoutZeros(await balancesByHledger(late))).toEqual(withoutZeros(await ourBalances()))
  const codesOf = (file: string) =>
    readFileSync(file, 'utf8').match(/(?<=^\S+ \* )\(tr_\w+\)/gm) ?? []
  expect([...codesOf(early), ...codesOf(late)]).toEqual(codesOf(journal))
  expect(codesOf(early).length).toBeGreaterThan(20)
  expect(codesOf(late).length).toBeGreaterThan(20)
})

test('an export while money moves is whole as of its moment', async () => {
  await payonce.startWorker()
  const { client, world, alice, merchant } = payonce
  const over = new AbortController()
  const traffic = Array.from({ length: 3 }, async () => {
    while (!over.signal.aborted) {
      await client.send({
        source: world,
        destination: drawOf([alice, merchant]),
        amount: 1 + draw(9),
      })
    }
  })
  await sleep(1_500)
  for (const name of ['first.journal', 'second.journal']) {
    await runHledger(await exportTo(name), 'check', '--strict')
  }
  over.abort()
  await Promise.all(traffic)
  await payonce.untilAllSettled()
  const { body } = await client.get<{ data: EntryOnWire[] }>(
    `/v1/accounts/${alice}/entries?limit=1`,
  )
  expect(body.data[0]?.seq).toBeGreaterThan(10)
})

test('what stands beside an open settlement waits for it: the export ends before both', async () => {
  const { client, db, world, alice } = payonce
  await payonce.startWorker()
  const open = await db.connect()
  try {
    await open.query('BEGIN; SELECT pg_current_xact_id()')
    const { body } = await client.send(
      { source: world, destination: alice, amount: 1 },
      { wait: 10 },
    )
    expect(body.status).toBe('succeeded')
    await sleep(1_100)
    expect(readFileSync(await exportTo('open.journal'), 'utf8')).not.toContain(body.id)
    await open.query('ROLLBACK')
    expect(readFileSync(await exportTo('ended.journal'), 'utf8')).toContain(body.id)
  } finally {
    open.release(true)
  }
})

test('nothing of another tenant is in it', async () => {
  const other = await payonce.addTenant('second')
  await other.client.send(
    { source: other.world, destination: other.alice, amount: 5 },
    { wait: 10 },
  )
  await sleep(1_100)
  const file = await exportTo('second-tenant.journal', '--tenant', 'second')
  const balances = await balancesByHledger(file)
  expect(withoutZeros(balances)).toEqual(
    [
      [other.world, -5n],
      [other.alice, 5n],
    ].toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  )
})

test.each([
  { args: [], says: '--format takes ledger' },
  { args: ['--format', 'csv'], says: '--format takes ledger' },
  { args: ['--format', 'ledger', '--tenant', 'nobody'], says: 'there is no test tenant nobody' },
  { args: ['--format', 'ledger', '--live'], says: 'there is no live tenant' },
  { args: ['--format', 'ledger'], says: 'several test tenants' },
  { args: ['--format', 'ledger', '--from', '2026-02-30'], says: '--from takes a time' },
  { args: ['--format', 'ledger', '--to', 'yesterday'], says: '--to takes a time' },
  {
    args: ['--format', 'ledger', '--from', '2026-02-01', '--to', '2026-02-01'],
    says: 'before --to',
  },
  { args: ['--format', 'ledger', '--frm', 'x'], says: '--frm' },
  { args: ['ledger'], says: 'ledger' },
])('$args ends with 2, says why, and shows the usage', async ({ args, says }) => {
  const ended = await runExport(...args)
  expect(ended).toMatchObject({ code: 2, stdout: '' })
  expect(ended.stderr).toContain(says)
  expect(ended.stderr).toContain('Usage:')
})
