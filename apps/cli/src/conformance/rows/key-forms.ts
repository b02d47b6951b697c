import { expectEqual, expectProblem, expectThat, expectUnmarked } from '../deviation.ts'
import {
  expectAccepted,
  expectEffects,
  expectReplay,
  newKey,
  openPair,
  readTransfer,
  settled,
  transferOf,
  type Transfer,
} from '../money.ts'
import { isObject, type Answer, type Client } from '../client.ts'
import { expectPageServed } from '../page.ts'
import type { Context, Row } from '../row.ts'

/** What is a key, and which keys are the same. */
export const keyForms: readonly Row[] = [
  {
    row: 'I36',
    situation: 'no key',
    expectation: '400 idempotency_key_missing with a Link that describes why, and is served',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      const answer = await client.transfer(transferOf(pair))
      expectProblem('no key', answer, 400, 'idempotency_key_missing')
      const link = /<([^>]+)>\s*;\s*rel="?describedby"?/.exec(answer.header('link') ?? '')?.[1]
      await expectPageServed(client, 'Link', link)
      await expectEffects(context, pair, [])
    },
  },
  {
    row: 'I37',
    situation:
      'empty, spaces only, 256 characters, tab, non-ASCII, comma, backslash, inner quote as a key',
    expectation: '400 idempotency_key_invalid before any look-up; 255 is fine; never truncated',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      // Accounts that do not exist: an answer about them would come from a look-up.
      const unknown = (id: string) => id.replace(/.{12}$/, '0123456789ab')
      const nowhere = transferOf({
        source: unknown(pair.source),
        destination: unknown(pair.destination),
      })
      for (const [what, key] of Object.entries(invalidKeys)) {
        const answer = await client.transfer(nowhere, { key })
        expectProblem(what, answer, 400, 'idempotency_key_invalid')
        expectUnmarked(what, answer)
      }
      await expectLongKeys(context)
    },
  },
  {
    row: 'I38',
    situation: 'the header twice, with the same or different values',
    expectation: '400',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      const key = newKey()
      for (const keys of [
        [key, key],
        [key, newKey()],
        [`"${key}"`, `"${key}"`],
      ]) {
        const answer = await client.transfer(transferOf(pair), { key: keys })
        expectProblem(keys.join(' and '), answer, 400, 'idempotency_key_invalid')
      }
      await expectEffects(context, pair, [])
    },
  },
  {
    row: 'I39',
    situation:
      '"K" against bare K; abc against ABC; header against ?idempotency_key=; both and different',
    expectation: 'one key; two keys; one key; 400',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const body = transferOf(pair)
      const inQuery = `/v1/transfers?idempotency_key=${key}`
      const first = await client.transfer(body, { key })
      const transfer = expectAccepted('bare', first)
      expectReplay('quoted', await client.transfer(body, { key: `"${key}"` }), first)
      expectReplay('in the query', await client.post(inQuery, body), first)
      expectReplay('in both', await client.post(inQuery, body, { key }), first)
      const upper = await client.transfer(body, { key: key.toUpperCase() })
      const other = expectAccepted('in capitals', upper)
      expectThat(other.id !== transfer.id, 'in capitals: the same transfer')
      const different = await client.post(inQuery, body, { key: newKey() })
      expectProblem('both and different', different, 400, 'idempotency_key_invalid')
      await expectEffects(context, pair, [transfer, other])
    },
  },
  {
    row: 'I40',
    situation: 'keys that are names with a meaning to BullMQ, Redis, JavaScript, file systems',
    expectation: 'each settles once, and a normal transfer sent afterwards settles',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      const answers = await Promise.all(
        hostileKeys.map((key) => client.transfer(transferOf(pair), { key })),
      )
      const transfers = await Promise.all(
        answers.map((answer, index) => transferUnder(context, hostileKeys[index] ?? '', answer)),
      )
      for (const { id } of transfers) await settled(client, id, context)
      const normal = await client.transfer(transferOf(pair), { key: newKey() })
      await expectEffects(context, pair, [
        ...transfers.filter(({ isOurs }) => isOurs),
        expectAccepted('a normal transfer', normal),
      ])
    },
  },
]

const invalidKeys: Record<string, string> = {
  'an empty key': '',
  'spaces only': '   ',
  '256 characters': 'x'.repeat(256),
  'a tab': 'a\tb',
  'a space inside': 'a b',
  'non-ASCII, as UTF-8': Buffer.from('cl\u00e9').toString('latin1'),
  'non-ASCII, as latin1': 'cl\u00e9',
  'a comma': 'a,b',
  'a backslash': String.raw`a\b`,
  'an inner quote': 'a"b',
  'an escaped quote in quotes': String.raw`"a\"b"`,
  'nothing in quotes': '""',
  'a quote that is not closed': '"abc',
  '256 characters in quotes': `"${'x'.repeat(256)}"`,
}

async function expectLongKeys(context: Context): Promise<void> {
  const { client } = context
  const pair = await openPair(client)
  const start = newKey()
  // Lengths at which somebody may cut: the two keys differ in their last character alone.
  const transfers: Transfer[] = []
  for (const length of [65, 129, 255]) {
    for (const last of ['a', 'b']) {
      const key = start.padEnd(length - 1, 'x') + last
      const answer = await client.transfer(transferOf(pair), { key })
      transfers.push(expectAccepted(`a key of ${length} characters ending in ${last}`, answer))
      expectEqual('idempotency_key', answer.members['idempotency_key'], key)
    }
  }
  await expectEffects(context, pair, transfers)
}

/**
 * Such a key can be used but once in a tenant's life. Where an earlier run has used it, its transfer
 * of then is looked at.
 */
async function transferUnder(
  { client, note }: Context,
  key: string,
  answer: Answer,
): Promise<Transfer & { isOurs: boolean }> {
  if (answer.code !== 'idempotency_key_reused') {
    return { ...expectAccepted(`the key ${key}`, answer), isOurs: true }
  }
  note('keys that an earlier run had used were looked up')
  return { ...(await findByKey(client, key)), isOurs: false }
}

async function findByKey(client: Client, key: string): Promise<Transfer> {
  const query = new URLSearchParams({ idempotency_key: key })
  const answer = await client.get(`/v1/transfers?${query.toString()}`)
  const { data } = answer.members
  const [found, ...more] = Array.isArray(data) ? data.filter(isObject) : []
  expectThat(
    found !== undefined && more.length === 0,
    `the key ${key} is used, and its list is ${answer.text.slice(0, 100)}`,
  )
  return readTransfer(found)
}

const hostileKeys = [
  ...'meta wait active delayed prioritized completed failed stalled events marker id'.split(' '),
  ...'pc limiter repeat stalled-check waiting-children paused drained 0 1 123 -5 007'.split(' '),
  ...'a:b a:b:c a:b:c:d __proto__ constructor toString hasOwnProperty NaN null'.split(' '),
  ...'undefined true ../x ./. {x} {} [] * ? # %00 %s%n $1 ${x} <x> x;y |x x&y'.split(' '),
  "';DROP/**/TABLE/**/transfers;--",
]
