import { createHash } from 'node:crypto'
import { pruneCommands } from '@payonce/core/db/command-partitions'
import { Client, escapeIdentifier } from 'pg'
import { beforeAll, describe, expect, it } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { newKey, type Answer, type TransferRequest } from '../support/client.ts'
import { startPayonce, uuidOf, type Payonce } from '../support/payonce.ts'
import { until } from '../support/until.ts'
import type { ProblemOnWire, TransferOnWire } from '../support/wire.ts'

/*
 * Rows of table I that take more than HTTP: a look into the tables, a lock, a prune, a stopped
 * worker. Those that HTTP alone can show are in idempotency.test.ts; those that kill processes in
 * test/system/idempotency.test.ts; I23 is in acceptance-races.test.ts, I28 in sweep.test.ts, and I31
 * in deferred.test.ts.
 */

type ReusedProblem = ProblemOnWire & { transfer?: string; differing_members?: string[] }

describe('a key whose transfer is not settled', () => {
  let payonce: Payonce
  beforeAll(async () => {
    payonce = await startPayonce({ worker: false })
  })

  it('I4: again while the worker is stopped is a replay, never 409', async () => {
    const [request, key] = [fromWorld(payonce), newKey()]
    const first = await payonce.client.send(request, { key })
    expect(first.status).toBe(202)
    for (let n = 0; n < 5; n++) {
      expectReplay(await payonce.client.send(request, { key }), first, 'queued')
    }
  })

  it('I4: again while the worker is busy with it is a replay, never 409', async () => {
    const busy = await startPayonce()
    const [request, key] = [fromWorld(busy), newKey()]
    const release = await lockAccount(busy, request.source)
    try {
      const first = await busy.client.send(request, { key })
      await until('the worker waits for the account', () => isAnyoneWaitingForALock(busy))
      for (let n = 0; n < 5; n++) {
        expectReplay(await busy.client.send(request, { key }), first, 'queued')
      }
    } finally {
      await release()
    }
    await busy.untilAllSettled()
    await assertBooksHold(busy.db)
  })

  it('I15: with another body is 422 at once, though nothing settles', async () => {
    const [request, key] = [fromWorld(payonce), newKey()]
    const first = await payonce.client.send(request, { key })
    const refused = await payonce.client.post<ReusedProblem>(
      '/v1/transfers',
      { ...request, currency: 'EUR', amount: 2 },
      { key },
    )
    expect([refused.status, refused.body.code]).toEqual([422, 'idempotency_key_reused'])
    expect(refused.body.differing_members).toEqual(['/amount'])
    expect(await payonce.client.read(first.body.id)).toMatchObject({ status: 'queued', amount: 1 })
  })
})

describe('a key that is old', () => {
  it('I5: is replayed after its payload was pruned, and refuses another body', async () => {
    const payonce = await startPayonce()
    const request = { ...fromWorld(payonce), description: 'rent', metadata: { b: '2', a: '1' } }
    const key = newKey()
    const first = await payonce.client.send(request, { key })
    await payonce.untilAllSettled()
    await pruneEverything(payonce)
    expect((await payonce.db.query('SELECT FROM commands')).rowCount).toBe(0)

    expectReplay(await payonce.client.send(request, { key }), first, 'succeeded')
    const refused = await payonce.client.send({ ...request, amount: 2 }, { key })
    expect([refused.status, refused.text.includes('idempotency_key_reused')]).toEqual([422, true])
    expect(refused.text).not.toContain('differing_members')
    expect(await payonce.client.read(first.body.id)).toMatchObject({ status: 'succeeded' })
    expect(await payonce.balanceOf(request.destination)).toBe(1)
    await assertBooksHold(payonce.db)
  })

  it('I5: is replayed with the same bytes by a server that was upgraded', async () => {
    const payonce = await startPayonce({ worker: false })
    await storeAsVersion1(payonce)
    const first = await payonce.client.post('/v1/transfers', golden.request, { key: golden.key })
    expect([first.status, first.text]).toEqual([202, golden.answer])
    expect(first.headers.get('location')).toBe(golden.location)
    expect(first.headers.get('payonce-status')).toBe('queued')

    await payonce.startWorker()
    await payonce.untilAllSettled()
    const again = await payonce.client.post('/v1/transfers', golden.request, { key: golden.key })
    expect([again.status, again.text]).toEqual([202, golden.answer])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(again.headers.get('payonce-status')).toBe('succeeded')
    const otherBody = golden.request.replace('1250', '1251')
    const refused = await payonce.client.post('/v1/transfers', otherBody, { key: golden.key })
    expect([refused.status, refused.body.code]).toEqual([422, 'idempotency_key_reused'])
    await assertBooksHold(payonce.db)
  })
})

describe('a replay', () => {
  it('I35: changes no row of any table, but for its own count', async () => {
    const payonce = await startPayonce()
    const [request, key] = [fromWorld(payonce), newKey()]
    const first = await payonce.client.send(request, { key })
    await payonce.untilAllSettled()
    const before = await contentOfAllTables(payonce)
    expect(Object.keys(before)).toContain('transfers')
    for (let n = 0; n < 20; n++) {
      expectReplay(await payonce.client.send(request, { key }), first, 'succeeded')
    }
    expect(await contentOfAllTables(payonce)).toEqual(before)
  })

  it('I43: is counted, and the count is shown', async () => {
    const payonce = await startPayonce()
    const [request, key] = [fromWorld(payonce), newKey()]
    await payonce.client.send(request, { key })
    for (let n = 0; n < 3; n++) await payonce.client.send(request, { key })
    await until('the replays are counted', async () => {
      const path = `/v1/idempotency-keys?key=${key}`
      const { body } = await payonce.client.get<{ replays: number }>(path)
      return body.replays === 3
    })
  })
})

describe('what is turned away for a time', () => {
  it('I33: is 503 while the backlog is full, and accepted under the same key later', async () => {
    const payonce = await startPayonce({ worker: false, environment: { BACKLOG_LIMIT: '1' } })
    const { client } = payonce
    const request = fromWorld(payonce)
    const known = newKey()
    const first = await client.send(request, { key: known })
    const key = await until('the backlog is full', async () => {
      const tried = newKey()
      return (await client.send(request, { key: tried })).status === 503 && tried
    })
    const refused = await client.post('/v1/transfers', inEuro(request), { key })
    expect([refused.status, refused.body.code]).toEqual([503, 'backlog_full'])
    expect(refused.headers.get('retry-after')).toBe('5')
    expectReplay(await client.send(request, { key: known }), first, 'queued')

    await payonce.startWorker()
    const accepted = await until('there is room again', async () => {
      const answer = await client.send(request, { key })
      return answer.status === 202 && answer
    })
    expect(accepted.headers.get('idempotent-replayed')).toBeNull()
    await payonce.untilAllSettled()
    await assertBooksHold(payonce.db)
  })
})

describe('a key made by the server', () => {
  it('I42: that expired unused is 422; used in time, it is replayed after that too', async () => {
    const payonce = await startPayonce()
    const { client } = payonce
    const issue = async () =>
      (await client.post<{ key: string }>('/v1/idempotency-keys', { purpose: null })).body.key
    const [unused, used] = [await issue(), await issue()]
    const request = fromWorld(payonce)
    const first = await client.send(request, { key: used })
    expect(first.status).toBe(202)
    await payonce.db.query(`UPDATE issued_keys SET issued_at = issued_at - interval '25 hours',
                                                   expires_at = expires_at - interval '25 hours'`)
    const refused = await client.post('/v1/transfers', inEuro(request), { key: unused })
    expect([refused.status, refused.body.code]).toEqual([422, 'idempotency_key_expired'])
    const account = await client.post('/v1/accounts', { currency: 'EUR' }, { key: unused })
    expect([account.status, account.body.code]).toEqual([422, 'idempotency_key_expired'])
    await payonce.untilAllSettled()
    expectReplay(await client.send(request, { key: used }), first, 'succeeded')
    await assertBooksHold(payonce.db)
  })
})

/** A transfer of 1 from the world to the merchant. */
function fromWorld({ world, merchant }: Payonce): TransferRequest {
  return { source: world, destination: merchant, amount: 1 }
}

function inEuro(request: TransferRequest): TransferRequest {
  return { ...request, currency: 'EUR' }
}

function expectReplay(
  again: Answer<unknown>,
  first: Answer<unknown>,
  status: TransferOnWire['status'],
): void {
  expect(again.status).toBe(202)
  expect(again.text).toBe(first.text)
  expect(again.headers.get('location')).toBe(first.headers.get('location'))
  expect(again.headers.get('idempotent-replayed')).toBe('true')
  expect(again.headers.get('payonce-status')).toBe(status)
}

/** Keeps whoever wants to move money of this account waiting, until the returned function is called. */
async function lockAccount({ db }: Payonce, account: string): Promise<() => Promise<void>> {
  const session = await db.connect()
  await session.query('BEGIN')
  await session.query('SELECT FROM accounts WHERE id = $1 FOR UPDATE', [uuidOf(account)])
  return async () => {
    await session.query('ROLLBACK')
    session.release()
  }
}

async function isAnyoneWaitingForALock({ db }: Payonce): Promise<boolean> {
  const { rowCount } = await db.query(
    `SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  )
  return rowCount !== null && rowCount > 0
}

/**
 * Lets every payload be pruned. What tells the age of a partition is its name, so a new name does
 * what years of waiting would.
 */
async function pruneEverything({ stores }: Payonce): Promise<void> {
  const client = new Client(stores.databaseUrl)
  await client.connect()
  try {
    const { rows } = await client.query<{ name: string }>(
      'SELECT DISTINCT tableoid::regclass::text AS name FROM commands',
    )
    expect(rows).toHaveLength(1)
    await client.query(`ALTER TABLE ${rows[0]?.name} RENAME TO commands_2020_01`)
    const pruned = await pruneCommands(client, { retentionDays: 90 })
    expect(pruned).toEqual({ dropped: ['commands_2020_01'], kept: [], busy: [] })
  } finally {
    await client.end()
  }
}

/** A hash per table; left out are the notes of the sweep and the best-effort count of replays. */
/** But for the workers' own leases and watermarks, which move whether anybody asks or not. */
async function contentOfAllTables({ db }: Payonce): Promise<Record<string, string>> {
  const { rows } = await db.query<{ name: string }>(
    `SELECT tablename AS name FROM pg_tables
      WHERE schemaname = 'public' AND tablename NOT IN ('sweeps', 'event_feed', 'key_replays')`,
  )
  const contents: Record<string, string> = {}
  for (const { name } of rows) {
    const content = await db.query<{ text: string | null }>(
      `SELECT string_agg(t::text, E'\\n' ORDER BY t::text) AS text
         FROM ${escapeIdentifier(name)} AS t`,
    )
    contents[name] = createHash('sha256')
      .update(content.rows[0]?.text ?? '')
      .digest('hex')
  }
  return contents
}

/**
 * What version 0.1 stored for a request, and what it answered. These texts are never changed: a
 * server of any later version has to answer the same request with these very bytes.
 */
const golden = {
  key: 'golden-1',
  request:
    '{"source":"acc_019aa000000070008000000000000001","destination":"acc_019aa000000070008000000000000002",' +
    '"amount":1250,"currency":"EUR","description":"Ünïcode & <b>","metadata":{"z":"26","a":"1"}}',
  transferId: '019aa001-0000-7000-8000-000000000003',
  location: '/v1/transfers/tr_019aa001000070008000000000000003',
  acceptedAt: '2026-11-20T10:11:12.345Z',
  fingerprint: 'babfa8b4955401701cf0a17d1e1d3910caf1ff2910c253c6b7b539d5ad51ece3',
  command:
    '{"v":1,"kind":"transfer","source":"019aa000-0000-7000-8000-000000000001",' +
    '"destination":"019aa000-0000-7000-8000-000000000002","currency":"EUR","amount":1250,' +
    '"description":"Ünïcode & <b>","metadata":{"z":"26","a":"1"}}',
  answer:
    '{"id":"tr_019aa001000070008000000000000003","object":"transfer","kind":"transfer",' +
    '"status":"queued","source":"acc_019aa000000070008000000000000001",' +
    '"destination":"acc_019aa000000070008000000000000002","amount":1250,"currency":"EUR",' +
    '"description":"Ünïcode & <b>","metadata":{"a":"1","z":"26"},"idempotency_key":"golden-1",' +
    '"parent":null,"refunded_amount":0,"failure":null,"created_at":"2026-11-20T10:11:12.345Z","settled_at":null}',
}

async function storeAsVersion1({ db, id: tenantId }: Payonce): Promise<void> {
  for (const [id, kind] of [
    ['019aa000-0000-7000-8000-000000000001', 'external'],
    ['019aa000-0000-7000-8000-000000000002', 'internal'],
  ]) {
    await db.query(
      `INSERT INTO accounts (tenant_id, id, kind, currency, status, balance, held, overdraft_limit,
                             version, entry_count, created_at)
       VALUES ($1, $2, $3, 'EUR', 'open', 0, 0, 0, 0, 0, $4)`,
      [tenantId, id, kind, golden.acceptedAt],
    )
  }
  await db.query(
    `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                   accepted_at, due_at)
     VALUES ($1, $2, decode($3, 'hex'), 'transfer', $4, $5, $5)`,
    [tenantId, golden.key, golden.fingerprint, golden.transferId, golden.acceptedAt],
  )
  await db.query(
    `INSERT INTO commands (tenant_id, id, idempotency_key, accepted_at, due_at, command)
     VALUES ($1, $2, $3, $4, $4, $5::json)`,
    [tenantId, golden.transferId, golden.key, golden.acceptedAt, golden.command],
  )
}
