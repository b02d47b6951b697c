import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { verify } from '@payonce/core/verify/verify'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { copyDatabase } from '../support/database.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { startProgram } from '../support/processes.ts'
import { until } from '../support/until.ts'
import type { AccountOnWire } from '../support/wire.ts'

/*
 * `npm run verify` over a history with every command: it holds, and each kind of damage that somebody
 * with all rights does to a copy of it is found by the rule that it breaks.
 */

const secret = 'a secret of more than thirty-two characters'
const folder = mkdtempSync(join(tmpdir(), 'payonce-verify-test-'))
const anchor = join(folder, 'anchor')
let databaseUrl: string
let seed = 20_260_101

afterAll(() => rmSync(folder, { recursive: true }))

/** A number from 0 to below `end`, the same in every run. */
function draw(end: number): number {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return Math.trunc((seed / 2_147_483_648) * end)
}

function drawOf<T>(all: readonly T[]): T {
  return all[draw(all.length)] as T
}

beforeAll(async () => {
  const payonce = await startPayonce({ environment: { LEDGER_SECRET: secret } })
  const accounts = await openAccounts(payonce)
  await checkWhileItRuns(payonce, accounts)
  await writeKnownHistory(payonce, accounts)
  await payonce.untilAllSettled()
  await payonce.stopWorker()
  await cancelAtTheEnd(payonce)
  await assertBooksHold(payonce.db)
  await payonce.db.query('UPDATE sweeps SET watermark = clock_timestamp()')
  databaseUrl = payonce.stores.databaseUrl
  await payonce.close()
  // What is younger than the horizon is not judged.
  await sleep(1_100)
}, 60_000)

async function openAccounts(payonce: Payonce): Promise<string[]> {
  const { client, world, alice, merchant } = payonce
  const market = await payonce.openAccount(0, { overdraft_limit: 500 })
  const accounts = [alice, merchant, market]
  for (const destination of accounts) {
    await client.send({ source: world, destination, amount: 5_000 }, { wait: 10 })
  }
  return accounts
}

/** Settlement goes on all the while, and no check may take it for damage. */
async function checkWhileItRuns(payonce: Payonce, accounts: readonly string[]): Promise<void> {
  const traffic = Array.from({ length: 4 }, async () => {
    for (let n = 0; n < 60; n++) await sendSomething(payonce, accounts)
  })
  const sent = Promise.all(traffic)
  let checks = 0
  while (await isPending(sent)) {
    const { findings, faults } = await verify({ pool: payonce.db, ledgerSecret: secret })
    expect(findings.flatMap(({ first }) => first)).toEqual([])
    expect(faults).toBe(0)
    checks++
  }
  expect(checks).toBeGreaterThan(2)
}

function isPending(work: Promise<unknown>): Promise<boolean> {
  return Promise.race([work.then(() => false), sleep(0, true)])
}

/** Whatever a tenant can do; what is refused belongs to a history as well. */
async function sendSomething({ client, world }: Payonce, accounts: readonly string[]) {
  const source = drawOf(accounts)
  const destination = drawOf([...accounts.filter((one) => one !== source), world])
  const one = { source, destination, amount: 1 + draw(300) }
  const pair = { source, destination, currency: 'EUR' }
  const legs = [
    { ...pair, amount: 1 + draw(50) },
    { source: destination, destination: source, amount: 1 + draw(50), currency: 'EUR' },
  ]
  switch (draw(9)) {
    case 0: {
      const { body: hold } = await client.send({ ...one, hold: true }, { wait: 5 })
      const what = drawOf(['capture', 'release'] as const)
      const part = draw(2) === 0 ? { amount: 1 + draw(100), final: draw(2) === 0 } : {}
      return client.follow(what, hold.id, what === 'capture' ? part : undefined)
    }
    case 1: {
      const { body: moved } = await client.send(one, { wait: 5 })
      await client.follow('refund', moved.id, { amount: 1 + draw(300) })
      return client.follow('refund', moved.id)
    }
    case 2: {
      const { body: split } = await client.send({ legs }, { wait: 5 })
      return client.follow('refund', split.id)
    }
    case 3:
      return client.sendBatch({ transfers: [one, { legs }, one], atomic: draw(2) === 0 })
    case 4: {
      const soon = new Date(Date.now() + 200 + draw(300)).toISOString()
      const { body: scheduled } = await client.send({ ...one, execute_at: soon })
      return draw(2) === 0 ? client.cancel(scheduled.id) : undefined
    }
    case 5:
      return client.patch(`/v1/accounts/${source}`, { overdraft_limit: draw(1_000) })
    case 6: {
      await client.patch(`/v1/accounts/${source}`, { status: 'frozen' })
      await client.send(one)
      return client.patch(`/v1/accounts/${source}`, { status: 'open' })
    }
    default:
      return client.send({ ...one, description: 'plain', metadata: { n: '1' } })
  }
}

/** What the planted damage needs: open and ended holds, a refusal, an overdraft. */
async function writeKnownHistory(payonce: Payonce, accounts: readonly string[]): Promise<void> {
  const { client, world, alice, merchant } = payonce
  for (const account of accounts) {
    await client.patch<AccountOnWire>(`/v1/accounts/${account}`, { status: 'open' })
    await client.send({ source: world, destination: account, amount: 5_000 }, { wait: 10 })
  }
  const pair = { source: alice, destination: merchant }
  const hold = async () =>
    (await client.send({ ...pair, amount: 100, hold: true }, { wait: 10 })).body
  const [, captured, released, expired] = [await hold(), await hold(), await hold(), await hold()]
  await client.follow('capture', captured.id, { amount: 60, final: true }, { wait: 10 })
  await client.follow('release', released.id, undefined, { wait: 10 })
  await payonce.db.query(
    `UPDATE transfers SET expires_at = clock_timestamp() WHERE id = (
       SELECT id FROM transfers WHERE status = 'held' ORDER BY created_at DESC, id DESC LIMIT 1)`,
  )
  await until('a hold has expired', async () => {
    const { rowCount } = await payonce.db.query(`SELECT FROM transfers WHERE status = 'expired'`)
    return (await client.read(expired.id)).status === 'expired' || rowCount !== 0
  })
  await client.send({ ...pair, amount: 10_000_000 }, { wait: 10 })
  const poor = await payonce.openAccount(0, { overdraft_limit: 900 })
  await client.send({ source: poor, destination: alice, amount: 900 }, { wait: 10 })
  await client.send({ source: alice, destination: poor, amount: 900 }, { wait: 10 })
  await client.patch(`/v1/accounts/${poor}`, { overdraft_limit: 10 })
}

/** The last settlement of all is one that can be cut off without touching a balance. */
async function cancelAtTheEnd({ client, alice, merchant }: Payonce): Promise<void> {
  const later = new Date(Date.now() + 3_600_000).toISOString()
  const { body: scheduled } = await client.send({
    source: alice,
    destination: merchant,
    amount: 1,
    execute_at: later,
  })
  await client.cancel(scheduled.id)
}

async function runVerify(
  url: string,
  ...args: string[]
): Promise<{ code: number; output: string }> {
  const env = { DATABASE_URL: url, LEDGER_SECRET: secret }
  const program = await startProgram('apps/cli/src/verify/main.ts', { env, args })
  const { code } = await program.exited
  return { code: code ?? -1, output: program.output() }
}

/** The rules that are broken once a change that the schema refuses was made to a copy. */
async function brokenAfter(change: string, ...args: string[]) {
  const url = await copyDatabase(databaseUrl)
  const client = new Client(url)
  await client.connect()
  try {
    for (const table of ['entries', 'settlements', 'account_limits']) {
      await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
    }
    const results = [await client.query(change)].flat()
    for (const { rowCount } of results) expect(rowCount).toBeGreaterThan(0)
  } finally {
    await client.end()
  }
  const { code, output } = await runVerify(url, ...args)
  return { code, output, broken: [...output.matchAll(/^BROKEN (\w+)/gm)].map(([, rule]) => rule) }
}

const one = (table: string, where = 'true') =>
  `ctid = (SELECT ctid FROM ${table} WHERE ${where} LIMIT 1)`
/** The last entry of some account. */
const lastEntry = `(tenant_id, account_id, seq) = (
  SELECT tenant_id, id, entry_count FROM accounts WHERE entry_count > 3 LIMIT 1)`
const moved = `status = 'succeeded' AND kind = 'transfer' AND legs IS NULL`

describe('npm run verify', () => {
  test('finds that a history with every command holds, and writes an anchor', async () => {
    const { code, output } = await runVerify(
      await copyDatabase(databaseUrl),
      '--write-anchor',
      anchor,
    )
    expect(output).toContain('The books hold.')
    expect(code).toBe(0)
    const checked = [...output.matchAll(/^(\w+) +([\d,]+) +0$/gm)].map(([, rule]) => rule)
    expect(checked).toHaveLength(12)
    expect(output).not.toMatch(/^\w+ +0 +0$/m)
    expect(readFileSync(anchor, 'utf8').trim().split('\n')).toHaveLength(16)
    const again = await runVerify(await copyDatabase(databaseUrl), '--anchor', anchor)
    expect(again.code).toBe(0)
    const printed = await runVerify(await copyDatabase(databaseUrl), '--print-anchor')
    expect(printed.output.trim()).toBe(readFileSync(anchor, 'utf8').trim())
  })

  test.each<[what: string, rule: string, change: string]>([
    [
      'the amount of an entry was changed',
      'entries_match_transfers',
      `UPDATE entries SET amount = amount + 1 WHERE ${lastEntry}`,
    ],
    [
      'an entry is said to be of another transfer',
      'entries_match_transfers',
      `UPDATE entries SET transfer_id = tenant_id WHERE ${lastEntry}`,
    ],
    [
      'a balance was changed',
      'balance_is_last_entry',
      `UPDATE accounts SET balance = balance + 1 WHERE ${one('accounts', `kind = 'external'`)}`,
    ],
    [
      'balances no longer sum to zero',
      'balances_sum_to_zero',
      `UPDATE accounts SET balance = balance + 1 WHERE ${one('accounts', `kind = 'external'`)}`,
    ],
    ['an entry is missing', 'entries_match_transfers', `DELETE FROM entries WHERE ${lastEntry}`],
    [
      'an entry was added',
      'entries_match_transfers',
      `INSERT INTO entries SELECT tenant_id, account_id, seq + 1, transfer_id, 1, balance_after + 1,
                                  created_at FROM entries WHERE ${lastEntry}`,
    ],
    [
      'an entry stands beyond the last one of its account',
      'balance_is_last_entry',
      `INSERT INTO entries SELECT tenant_id, account_id, seq + 1, transfer_id, 1, balance_after + 1,
                                  created_at FROM entries WHERE ${lastEntry}`,
    ],
    [
      'there is a gap in seq',
      'entries_form_a_chain',
      `UPDATE entries SET seq = seq + 1 WHERE ${lastEntry}`,
    ],
    [
      'a balance after an entry was changed',
      'entries_form_a_chain',
      `UPDATE entries SET balance_after = balance_after + 1 WHERE ${lastEntry}`,
    ],
    [
      'the time of an entry was put back',
      'entries_form_a_chain',
      `UPDATE entries SET created_at = created_at - interval '1 day' WHERE ${lastEntry}`,
    ],
    [
      'the time of an entry lies in the future, where nothing is judged',
      'entries_form_a_chain',
      `UPDATE entries SET created_at = now() + interval '1 day' WHERE ${lastEntry}`,
    ],
    [
      'a settlement is dated in the future',
      'chains_are_whole',
      `UPDATE settlements SET settled_at = now() + interval '1 day'
        WHERE (chain, position) = (SELECT chain, position FROM settlements LIMIT 1)`,
    ],
    [
      'a transfer was settled in the future',
      'statuses_are_consistent',
      `UPDATE transfers SET settled_at = now() + interval '1 day' WHERE ${one('transfers')}`,
    ],
    [
      'held is off by one',
      'held_is_open_holds',
      `UPDATE accounts SET held = held + 1 WHERE ${one('accounts', 'balance > held')}`,
    ],
    [
      'a limit was lower than what was used of it',
      'limits_hold',
      `UPDATE account_limits SET overdraft_limit = 899 WHERE overdraft_limit = 900`,
    ],
    [
      'a transfer that moved money has no entries',
      'entries_match_transfers',
      `DELETE FROM entries WHERE transfer_id = (
         SELECT id FROM transfers WHERE ${moved} ORDER BY settled_at LIMIT 1)`,
    ],
    [
      'a refused transfer has entries',
      'entries_match_transfers',
      `UPDATE entries SET transfer_id = (SELECT id FROM transfers WHERE status = 'failed' LIMIT 1)
        WHERE ${lastEntry}`,
    ],
    [
      'the row of a key is missing',
      'transfers_match_keys',
      `DELETE FROM idempotency_keys WHERE ${one('idempotency_keys', `resource = 'transfer'`)}`,
    ],
    [
      'captured_amount is off by one',
      'parents_match_children',
      `UPDATE transfers SET captured_amount = captured_amount + 1
        WHERE ${one('transfers', `kind = 'hold' AND captured_amount > 0 AND captured_amount < amount`)}`,
    ],
    [
      'refunded_amount is off',
      'parents_match_children',
      `UPDATE transfers SET refunded_amount = 1 WHERE ${one('transfers', `${moved} AND refunded_amount = 0`)}`,
    ],
    [
      'a hold that was released is open again',
      'held_is_open_holds',
      `UPDATE transfers SET status = 'held' WHERE ${one('transfers', `status = 'released'`)}`,
    ],
    [
      'a hold that nobody captured says that it succeeded',
      'statuses_are_consistent',
      `UPDATE transfers SET status = 'succeeded', source_version = 1, destination_version = 1
        WHERE ${one('transfers', `status = 'released' AND captured_amount = 0`)}`,
    ],
    [
      'what is due was forgotten',
      'due_is_settled',
      `DELETE FROM transfers WHERE ${one('transfers', `status = 'failed'`)}`,
    ],
    [
      'a description was changed',
      'settlements_are_sealed',
      `UPDATE transfers SET description = 'other' WHERE ${one('transfers', 'description IS NOT NULL')}`,
    ],
    [
      'a transfer says that another settlement settled it',
      'settlements_are_sealed',
      `UPDATE transfers SET settlement_id = tenant_id WHERE ${one('transfers')}`,
    ],
    [
      'a seal was changed',
      'settlements_are_sealed',
      `UPDATE settlements SET seal = sha256(seal) WHERE ${one('settlements', 'position = 2')}`,
    ],
    [
      'the head of a chain was changed',
      'chains_are_whole',
      `UPDATE ledger_chains SET length = length + 1 WHERE chain = 0`,
    ],
    [
      'a settlement was taken out of a chain',
      'chains_are_whole',
      `DELETE FROM settlements WHERE chain = 0 AND position = 2`,
    ],
    [
      'a seal was made without the secret',
      'chains_are_whole',
      `UPDATE settlements SET is_keyed = false WHERE chain = 0 AND position = 2`,
    ],
  ])('finds that %s', async (_what, rule, change) => {
    const { code, output, broken } = await brokenAfter(change)
    expect(broken, output).toContain(rule)
    expect(output).toContain('The books do not hold')
    expect(code).toBe(1)
  })

  test('finds by its anchor alone that the tail of a chain was cut off with all its rows', async () => {
    const tail = `
      CREATE TEMP TABLE tail AS SELECT transfers.*, chain, position FROM settlements
        JOIN transfers ON settlement_id = settlements.id
       WHERE transfers.status = 'canceled' AND cardinality(transfer_ids) = 1
         AND position = (SELECT length FROM ledger_chains
                          WHERE ledger_chains.chain = settlements.chain) LIMIT 1;
      DELETE FROM settlements USING tail WHERE settlements.id = settlement_id;
      DELETE FROM idempotency_keys USING tail
       WHERE idempotency_keys.idempotency_key = tail.idempotency_key;
      DELETE FROM transfers USING tail WHERE transfers.id = tail.id;
      UPDATE ledger_chains SET length = tail.position - 1, seal = coalesce((
        SELECT seal FROM settlements WHERE settlements.chain = tail.chain
           AND settlements.position = tail.position - 1), '\\x')
        FROM tail WHERE ledger_chains.chain = tail.chain`
    expect(await brokenAfter(tail)).toMatchObject({ code: 0, broken: [] })
    const found = await brokenAfter(tail, '--anchor', anchor)
    expect(found).toMatchObject({ code: 1, broken: ['chains_are_whole'] })
    expect(found.output).toContain('the tail was cut off')
  })

  test.each([
    ['an option that there is not', ['--fast']],
    ['an anchor that is not there', ['--anchor', '/nowhere/anchor']],
    ['an anchor that is none', ['--anchor', join(folder, 'none')]],
  ])('ends with 2 on %s', async (_what, args) => {
    writeFileSync(join(folder, 'none'), '{"chain": "0"}\n')
    expect((await runVerify(databaseUrl, ...args)).code).toBe(2)
  })

  test('ends with 2 where seals are keyed and it has no secret', async () => {
    const env = { DATABASE_URL: await copyDatabase(databaseUrl) }
    const program = await startProgram('apps/cli/src/verify/main.ts', { env })
    expect((await program.exited).code).toBe(2)
    expect(program.output()).toContain('LEDGER_SECRET')
  })
})
