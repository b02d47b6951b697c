import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { isObject, retryAfterMs, type Answer, type Client } from './client.ts'
import { Deviation, expectEqual, expectStatus, expectThat, expectUnmarked } from './deviation.ts'
import type { Context } from './row.ts'

/** Two accounts that one row alone uses: whatever moves between them was done by this row. */
export type Pair = { source: string; destination: string }

/** A key that nobody has used. */
export function newKey(): string {
  return `conformance-${randomUUID()}`
}

/** An account outside, which always has money, and an empty one inside. */
export async function openPair(client: Client): Promise<Pair> {
  return {
    source: await openAccount(client, 'external'),
    destination: await openAccount(client, 'internal'),
  }
}

export async function openAccount(client: Client, kind: 'internal' | 'external'): Promise<string> {
  const answer = await client.post('/v1/accounts', { currency: 'EUR', kind })
  expectStatus('opening an account', answer, 201)
  return textMember(answer, 'id')
}

/** The body of a transfer of 1 within the pair. */
export function transferOf(pair: Pair, members: Record<string, unknown> = {}) {
  return { ...pair, amount: 1, currency: 'EUR', ...members }
}

/** What rows look at in a transfer. */
export type Transfer = { id: string; status: string; amount: number; failureCode: string | null }

/** A transfer that was accepted just now and is no replay, by its answer. */
export function expectAccepted(what: string, answer: Answer): Transfer {
  expectStatus(what, answer, 202)
  expectUnmarked(what, answer)
  const transfer = readTransfer(answer.members)
  expectEqual(`${what}: Location`, answer.header('location'), `/v1/transfers/${transfer.id}`)
  return transfer
}

/** An answer that repeats the first one. */
export function expectReplay(what: string, answer: Answer, first: Answer): void {
  expectStatus(what, answer, first.status)
  expectEqual(`${what}: its bytes`, answer.text, first.text)
  expectEqual(`${what}: Location`, answer.header('location'), first.header('location'))
  expectEqual(`${what}: Idempotent-Replayed`, answer.header('idempotent-replayed'), 'true')
}

/** The transfer when it is settled. */
export async function settled(
  client: Client,
  id: string,
  { settleWithinMs }: Pick<Context, 'settleWithinMs'>,
): Promise<Transfer> {
  const deadline = performance.now() + settleWithinMs
  for (;;) {
    const answer = await client.get(`/v1/transfers/${id}`, [['prefer', 'wait=5']])
    expectStatus(`GET of ${id}`, answer, 200)
    const transfer = readTransfer(answer.members)
    if (!unsettledStatuses.has(transfer.status)) return transfer
    if (performance.now() > deadline) {
      throw new Deviation(`${id} is still ${transfer.status} after ${settleWithinMs / 1_000} s`)
    }
    // As the server asks; for a server that holds the answer back itself, this is the exception.
    await sleep(retryAfterMs(answer))
  }
}

const unsettledStatuses = new Set(['scheduled', 'queued'])

/**
 * Holds that these transfers, and no others, moved money between the accounts of the pair: each
 * succeeded, with one entry on either side. What was accepted and waits is in the list as well, so
 * no second effect can come later.
 */
export async function expectEffects(
  context: Context,
  pair: Pair,
  transfers: readonly Pick<Transfer, 'id' | 'amount'>[],
): Promise<void> {
  const { client } = context
  const listed = await readList(client, `/v1/transfers?account=${pair.destination}&limit=100`)
  const ids = transfers.map(({ id }) => id)
  expectEqual('transfers of the account', membersOf(listed, 'id').toSorted(), ids.toSorted())
  for (const { id } of transfers) {
    expectEqual(`status of ${id}`, (await settled(client, id, context)).status, 'succeeded')
  }
  await expectEntries(client, pair.destination, transfers, 1)
  await expectEntries(client, pair.source, transfers, -1)
}

async function expectEntries(
  client: Client,
  account: string,
  transfers: readonly Pick<Transfer, 'id' | 'amount'>[],
  sign: 1 | -1,
): Promise<void> {
  const entries = await readList(client, `/v1/accounts/${account}/entries?limit=100`)
  const lines = entries.map((entry) => `${String(entry['transfer'])} ${String(entry['amount'])}`)
  const wanted = transfers.map(({ id, amount }) => `${id} ${sign * amount}`)
  expectEqual(`entries of ${account}`, lines.toSorted(), wanted.toSorted())
  const sum = transfers.reduce((total, { amount }) => total + sign * amount, 0)
  expectEqual(`balance of ${account}`, await balanceOf(client, account), sum)
}

export async function balanceOf(client: Client, account: string): Promise<unknown> {
  const answer = await client.get(`/v1/accounts/${account}`)
  expectStatus('GET of an account', answer, 200)
  return answer.members['balance']
}

export async function readList(
  client: Client,
  path: string,
): Promise<Readonly<Record<string, unknown>>[]> {
  const answer = await client.get(path)
  expectStatus(`GET ${path}`, answer, 200)
  const { data } = answer.members
  expectThat(Array.isArray(data), `GET ${path}: no list`)
  return data.filter(isObject)
}

export function membersOf(items: readonly Readonly<Record<string, unknown>>[], name: string) {
  return items.map((item) => String(item[name]))
}

export function readTransfer(members: Readonly<Record<string, unknown>>): Transfer {
  const { id, status, amount, failure } = members
  expectThat(
    typeof id === 'string' && typeof status === 'string' && typeof amount === 'number',
    `an answer that is no transfer: ${JSON.stringify(members).slice(0, 100)}`,
  )
  const code = isObject(failure) ? failure['code'] : null
  return { id, status, amount, failureCode: typeof code === 'string' ? code : null }
}

export function textMember(answer: Answer, name: string): string {
  const value = answer.members[name]
  expectThat(typeof value === 'string', `${answer.describe()} without ${name}`)
  return value
}
