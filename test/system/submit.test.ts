import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient, type Client } from '../support/client.ts'
import { startLocal, type Local } from '../support/local.ts'
import { parentOf } from '../support/process-tree.ts'
import { repositoryRoot, startCommand, startProgram } from '../support/processes.ts'
import { until } from '../support/until.ts'
import type { TransferOnWire, TrialBalanceOnWire } from '../support/wire.ts'

/*
 * A file of payments against the stack of `npm start`, as in the README. What the file asks for is
 * counted here by itself, and not by the code that reads it.
 */

let folder: string
let local: Local
let client: Client

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'payonce-submit-'))
  local = await startLocal({ dataDir: join(folder, 'data') })
  client = createClient(local.url, local.apiKey)
})

afterAll(async () => {
  await local.npm.stop()
  rmSync(folder, { recursive: true, force: true })
})

describe('npm run submit', () => {
  it('moves what the example asks for, and at the second time nothing', async () => {
    const file = 'examples/payments.csv'
    const { orders, total } = countOrders(file)

    const first = await submit(file)
    expect(first.code).toBe(0)
    expect(first.table).toMatchObject({ orders, submitted: orders, replayed: 0, succeeded: orders })
    expect(first.table).toMatchObject({ 'total moved': total, 'moved before': 0 })

    const second = await submit(file)
    expect(second.code).toBe(0)
    expect(second.table).toMatchObject({ orders, submitted: 0, replayed: orders })
    expect(second.table).toMatchObject({ 'total moved': 0, 'moved before': total })
    await expectMovedOnce('order', { orders, total })
  })

  it('killed in the middle and run again, moves the rest and nothing twice', async () => {
    const { file, ...wanted } = writeOrders('killed')
    const args = argumentsFor(file, '--prefix', 'killed', '--concurrency', '2')
    const killed = await startProgram('apps/cli/src/submit/main.ts', { args })
    await untilSomeMoved('killed')
    killed.kill('SIGKILL')
    await killed.exited

    const again = await submit(file, '--prefix', 'killed')
    expect(again.code).toBe(0)
    expectTheRest(again.table, wanted)
    await expectMovedOnce('killed', wanted)
  })

  it('stopped by Ctrl-C prints its table, which adds up with that of the next run', async () => {
    const { file, ...wanted } = writeOrders('stopped')
    const stopped = await startSubmit(file, '--prefix', 'stopped', '--concurrency', '2')
    await untilSomeMoved('stopped')
    // The terminal signals the whole group, so that npm and what it started both receive it.
    process.kill(-parentOf(stopped.pid), 'SIGINT')
    expect(await stopped.exited).toEqual({ code: 130 })
    const table = readTable(stopped.output())
    expect(table.orders).toBe(wanted.orders)
    expect(table['not answered']).toBeGreaterThan(0)

    const again = await submit(file, '--prefix', 'stopped')
    expectTheRest(again.table, wanted)
    expect(again.table['moved before']).toBeGreaterThanOrEqual(table['total moved'] ?? 0)
    await expectMovedOnce('stopped', wanted)
  })
})

type Orders = { orders: number; total: number }
type Table = Record<string, number>

async function submit(file: string, ...options: string[]): Promise<{ code: number; table: Table }> {
  const running = await startSubmit(file, ...options)
  const { code } = await running.exited
  return { code, table: readTable(running.output()) }
}

function startSubmit(file: string, ...options: string[]) {
  const args = argumentsFor(file, ...options)
  return startCommand(['npm', 'run', 'submit', '--', ...args], {
    env: { HOME: folder, npm_config_update_notifier: 'false' },
  })
}

function argumentsFor(file: string, ...options: string[]): string[] {
  return [file, '--currency', 'EUR', '--url', local.url, '--key-file', local.apiKeyFile, ...options]
}

/** The rows of the table by their names; of `2500 minor units (25.00 EUR)` the number. */
function readTable(output: string): Table {
  const rows = output.matchAll(/^([a-z][a-z ]*?) {2,}(\d+)/gm)
  return Object.fromEntries([...rows].map(([, name, value]) => [name, Number(value)]))
}

/** The second of two runs: each has moved something, and both together everything. */
function expectTheRest(table: Table, { orders, total }: Orders): void {
  const { submitted = 0, replayed = 0 } = table
  expect(submitted, 'the first run must not have been over').toBeGreaterThan(0)
  expect(replayed, 'the first run must have begun').toBeGreaterThan(0)
  expect(submitted + replayed).toBe(orders)
  expect((table['total moved'] ?? 0) + (table['moved before'] ?? 0)).toBe(total)
}

/** Asks the ledger itself: every order of this prefix has one transfer, and the books are in balance. */
async function expectMovedOnce(prefix: string, { orders, total }: Orders): Promise<void> {
  const moved = await transfersOf(prefix)
  expect(moved.map(({ status }) => status)).toEqual(Array(orders).fill('succeeded'))
  expect(new Set(moved.map(({ idempotency_key }) => idempotency_key)).size).toBe(orders)
  expect(moved.reduce((sum, { amount }) => sum + (amount ?? 0), 0)).toBe(total)
  const { body } = await client.get<TrialBalanceOnWire>('/v1/trial-balance')
  expect(body.data).toMatchObject([{ currency: 'EUR', balance: 0 }])
}

async function transfersOf(prefix: string): Promise<TransferOnWire[]> {
  const all = await client.listAll<TransferOnWire>('/v1/transfers', 100)
  return all.filter(({ idempotency_key }) => idempotency_key.startsWith(`${prefix}:`))
}

/** Some, and by far not all: 10 of 300. */
async function untilSomeMoved(prefix: string): Promise<void> {
  await until('some orders have been sent', async () => {
    const { body } = await client.get<{ data: TransferOnWire[] }>('/v1/transfers?limit=10')
    return (
      body.data.length === 10 &&
      body.data.every(({ idempotency_key: key }) => key.startsWith(`${prefix}:`))
    )
  })
}

/** 300 orders of 5 payers to 40 receivers: at two at a time they take about a second. */
function writeOrders(name: string): Orders & { file: string } {
  const amounts = Array.from({ length: 300 }, (_, index) => 100 + index * 37)
  const rows = amounts.map((amount, index) =>
    [
      `n-${index}`,
      `payer-${index % 5}`,
      `receiver-${index % 40}`,
      (amount / 100).toFixed(2),
    ].join(),
  )
  const file = join(folder, `${name}.csv`)
  writeFileSync(file, ['order_id,payer,receiver,amount', ...rows, ''].join('\n'))
  return { file, orders: amounts.length, total: amounts.reduce((sum, amount) => sum + amount, 0) }
}

/** Counts the rows and adds the column `amount`; no column before it holds a comma. */
function countOrders(file: string): Orders {
  const [head = '', ...rows] = readFileSync(join(repositoryRoot, file), 'utf8').trim().split('\n')
  const column = head.split(',').indexOf('amount')
  const cents = rows.map((row) => Math.round(Number(row.split(',')[column]) * 100))
  return { orders: rows.length, total: cents.reduce((sum, amount) => sum + amount, 0) }
}
