import { setTimeout as sleep } from 'node:timers/promises'
import { expectEqual, expectThat } from '../deviation.ts'
import {
  balanceOf,
  expectAccepted,
  expectEffects,
  expectReplay,
  newKey,
  openAccount,
  openPair,
  readList,
  settled,
  textMember,
  transferOf,
} from '../money.ts'
import type { Answer, Client } from '../client.ts'
import type { Context, Row } from '../row.ts'

/** What the first request with a key gets, and what every later one gets. */
export const firstAndRepeat: readonly Row[] = [
  {
    row: 'I1',
    situation: 'first POST with a key',
    expectation: '202, Location, Retry-After, the key in the body, no replay marker; one effect',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const answer = await client.transfer(transferOf(pair), { key })
      const transfer = expectAccepted('the first POST', answer)
      expectEqual('Payonce-Status', answer.header('payonce-status'), undefined)
      expectEqual('idempotency_key', answer.members['idempotency_key'], key)
      expectEqual('status in the body', transfer.status, 'queued')
      expectRetryAfter(answer)
      await expectEffects(context, pair, [transfer])
    },
  },
  {
    row: 'I2',
    situation: 'the same request again',
    expectation: 'the same status, bytes and Location, with Idempotent-Replayed: true; one effect',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const body = transferOf(pair, { description: 'lunch', metadata: { z: '1', a: '2' } })
      const first = await client.transfer(body, { key })
      const transfer = expectAccepted('the first POST', first)
      for (const what of ['the second POST', 'the third POST']) {
        const again = await client.transfer(body, { key })
        expectReplay(what, again, first)
        expectRetryAfter(again)
      }
      await expectEffects(context, pair, [transfer])
    },
  },
  {
    row: 'I3',
    situation: 'again after it has settled',
    expectation: 'the original 202 bytes; GET and the header Payonce-Status tell the outcome',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const first = await client.transfer(transferOf(pair), { key })
      const transfer = expectAccepted('the first POST', first)
      expectEqual('the outcome', (await settled(client, transfer.id, context)).status, 'succeeded')
      const again = await client.transfer(transferOf(pair), { key })
      expectReplay('the POST after settlement', again, first)
      expectEqual('Payonce-Status', again.header('payonce-status'), 'succeeded')
      await expectEffects(context, pair, [transfer])
    },
  },
  {
    row: 'I6',
    situation: 'another key with the identical body',
    expectation: 'a second, independent transfer',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      const body = transferOf(pair)
      const first = await client.transfer(body, { key: newKey() })
      const second = await client.transfer(body, { key: newKey() })
      await expectEffects(context, pair, [
        expectAccepted('the first key', first),
        expectAccepted('the other key', second),
      ])
    },
  },
  {
    row: 'I12',
    situation: 'the headers of a replay',
    expectation:
      'a fresh Date and request-id, Cache-Control: no-store; marker, Location, Retry-After and request-id can be read by scripts of other origins',
    run: async ({ client }) => {
      const [body, key] = [transferOf(await openPair(client)), newKey()]
      const headers = [['origin', 'https://shop.example']] as const
      const first = await client.transfer(body, { key, headers })
      await nextSecond(client, first)
      const again = await client.transfer(body, { key, headers })
      expectReplay('the replay', again, first)
      expectThat(again.header('date') !== first.header('date'), 'the Date of the first answer')
      const requestId = again.header('request-id')
      expectThat(requestId !== undefined, 'a replay without request-id')
      expectThat(requestId !== first.header('request-id'), 'the request-id of the first answer')
      expectEqual('Cache-Control', again.header('cache-control'), 'no-store')
      expectExposed(again, ['idempotent-replayed', 'location', 'retry-after', 'request-id'])
    },
  },
  {
    row: 'I34',
    situation: 'insufficient funds; then the account is funded and the request sent again',
    expectation: 'the original 202; GET stays failed; no money moves; a new key works',
    run: async (context) => {
      const { client } = context
      const world = await openPair(client)
      const pair = {
        source: world.destination,
        destination: await openAccount(client, 'internal'),
      }
      const [body, key] = [transferOf(pair, { amount: 30 }), newKey()]
      const first = await client.transfer(body, { key })
      const { id } = expectAccepted('the first POST', first)
      const failed = await settled(client, id, context)
      expectEqual('its outcome', failed.status, 'failed')
      expectEqual('its code', failed.failureCode, 'insufficient_funds')

      const funds = await client.transfer(transferOf(world, { amount: 30 }), { key: newKey() })
      await settled(client, expectAccepted('the funding', funds).id, context)
      const again = await client.transfer(body, { key })
      expectReplay('the POST after the funding', again, first)
      expectEqual('Payonce-Status', again.header('payonce-status'), 'failed')
      expectEqual('GET after the funding', (await settled(client, id, context)).status, 'failed')
      expectEqual('the balance of the source', await balanceOf(client, pair.source), 30)

      const anew = await client.transfer(body, { key: newKey() })
      const other = await settled(client, expectAccepted('the new key', anew).id, context)
      expectEqual('the outcome under a new key', other.status, 'succeeded')
      expectEqual('what arrived', await balanceOf(client, pair.destination), 30)
    },
  },
  {
    row: 'I35',
    situation: 'replays after settlement',
    expectation: 'they leave no trace: no entry, no new version of an account, no event',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const first = await client.transfer(transferOf(pair), { key })
      const transfer = expectAccepted('the first POST', first)
      await expectEffects(context, pair, [transfer])
      const before = await traces(context, pair, transfer.id)
      for (let n = 1; n <= 5; n++) {
        expectReplay(`replay ${n}`, await client.transfer(transferOf(pair), { key }), first)
      }
      // What a replay has had accepted, and what waits, leaves its traces only later.
      await expectEffects(context, pair, [transfer])
      expectEqual('what can be seen', await traces(context, pair, transfer.id), before)
    },
  },
]

function expectRetryAfter(answer: Answer): void {
  const seconds = answer.header('retry-after')
  expectThat(/^\d+$/.test(seconds ?? ''), `Retry-After: ${seconds ?? 'missing'}`)
}

/** Waits until the server's clock shows another second than it did: no longer than one. */
async function nextSecond(client: Client, first: Answer): Promise<void> {
  const date = first.header('date')
  expectThat(date !== undefined, 'an answer without Date')
  const deadline = performance.now() + 3_000
  while (performance.now() < deadline) {
    const answer = await client.get('/v1/accounts?limit=1')
    if (answer.header('date') !== date) return
    await sleep(50)
  }
  expectThat(false, 'Date stands still')
}

function expectExposed(answer: Answer, names: readonly string[]): void {
  const exposed = (answer.header('access-control-expose-headers') ?? '')
    .toLowerCase()
    .split(/\s*,\s*/)
  const hidden = names.filter((name) => !exposed.includes(name))
  expectThat(hidden.length === 0, `not in Access-Control-Expose-Headers: ${hidden.join(', ')}`)
}

/** All that a transfer leaves behind, as far as HTTP shows it. */
async function traces(
  { client, note }: Context,
  { source, destination }: { source: string; destination: string },
  transferId: string,
): Promise<unknown> {
  const [from, to] = [
    await client.get(`/v1/accounts/${source}`),
    await client.get(`/v1/accounts/${destination}`),
  ]
  const entries = await readList(client, `/v1/accounts/${destination}/entries?limit=100`)
  return {
    versions: [from.members['version'], to.members['version']],
    entries: entries.length,
    transfer: (await client.get(`/v1/transfers/${transferId}`)).text,
    events: await countEvents(client, transferId, note),
  }
}

async function countEvents(
  client: Client,
  transferId: string,
  note: (text: string) => void,
): Promise<number> {
  const probe = await client.get('/v1/events?limit=1')
  if (probe.status === 404) {
    note('the server has no events')
    return 0
  }
  // A feed may show an event a moment after its cause.
  const deadline = performance.now() + feedDelayMs
  for (;;) {
    const count = await countInFeed(client, transferId)
    if (count > 0 || performance.now() > deadline) return count
    await sleep(feedPollMs)
  }
}

const feedDelayMs = 5_000
const feedPollMs = 100

async function countInFeed(client: Client, transferId: string): Promise<number> {
  let [count, after] = [0, '']
  for (;;) {
    const page = await client.get(`/v1/events?limit=100${after}`)
    const { data, has_more: hasMore } = page.members
    expectThat(Array.isArray(data), `GET /v1/events: ${page.describe()}`)
    count += data.filter((event) => JSON.stringify(event).includes(transferId)).length
    if (hasMore !== true) return count
    after = `&after=${encodeURIComponent(textMember(page, 'next_cursor'))}`
  }
}
