import { expectEqual, expectProblem, expectThat, expectUnmarked } from '../deviation.ts'
import {
  expectAccepted,
  expectEffects,
  newKey,
  openAccount,
  openPair,
  transferOf,
} from '../money.ts'
import { expectPageServed } from '../page.ts'
import { isObject, type Answer } from '../client.ts'
import type { Context, Row } from '../row.ts'

/** A key that comes back with another request. */
export const anotherRequest: readonly Row[] = [
  {
    row: 'I13',
    situation: 'the key with another amount, destination, description or metadata',
    expectation:
      '422 idempotency_key_reused with a type URL that is served; the original untouched',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const body = transferOf(pair, { amount: 7, description: 'rent', metadata: { order: '1' } })
      const transfer = expectAccepted('the first POST', await client.transfer(body, { key }))
      const elsewhere = await openAccount(client, 'internal')
      const changes: Record<string, object> = {
        'another amount': { amount: 8 },
        'another destination': { destination: elsewhere },
        'another description': { description: 'food' },
        'other metadata': { metadata: { order: '2' } },
      }
      for (const [what, change] of Object.entries(changes)) {
        const refused = await client.transfer({ ...body, ...change }, { key })
        expectReused(what, refused)
        await expectPageServed(client, `${what}: type`, refused.members['type'])
      }
      await expectEffects(context, pair, [transfer])
      await expectEffects(context, { source: elsewhere, destination: elsewhere }, [])
    },
  },
  {
    row: 'I14',
    situation: 'what that 422 tells',
    expectation:
      "perhaps the tenant's own transfer id and the names of the fields that differ; never stored values or hashes",
    run: async ({ client }) => {
      const [pair, key] = [await openPair(client), newKey()]
      const stored = {
        amount: 918273,
        description: 'stored-description',
        metadata: { 'stored-name': 'stored-value' },
      }
      const first = await client.transfer(transferOf(pair, stored), { key })
      const { id } = expectAccepted('the first POST', first)
      const other = { ...(await openPair(client)), amount: 2, currency: 'EUR', metadata: {} }
      const refused = await client.transfer(other, { key })
      expectReused('another body', refused)
      const secrets = ['918273', 'stored-', pair.source, pair.destination]
      const leaked = secrets.filter((secret) => refused.text.includes(secret))
      expectEqual('stored values in the answer', leaked, [])
      expectNoHash(refused)
      const { transfer = id, differing_members: names } = refused.members
      expectEqual('the id that it names', transfer, id)
      if (names === undefined) return
      const differing = ['/amount', '/description', '/destination', '/metadata', '/source']
      expectEqual(
        'the names',
        Array.isArray(names) ? names.map(String).toSorted() : names,
        differing,
      )
    },
  },
  {
    row: 'I17',
    situation:
      'null against absent; a default spelled out against left out; legs reordered; NFC against NFD text',
    expectation: '422: these are different requests',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      const variants: [what: string, a: Members, b: Members][] = [
        ['null against absent', {}, { description: null }],
        ['a default spelled out against left out', {}, { metadata: {} }],
        ['NFC against NFD', { description: 'caf\u00e9' }, { description: 'cafe\u0301' }],
      ]
      for (const [what, a, b] of variants) {
        const key = newKey()
        const [one, other] = [transferOf(pair, a), transferOf(pair, b)]
        expectAccepted(`${what}, first`, await client.transfer(one, { key }))
        expectReused(what, await client.transfer(other, { key }))
        const reverse = newKey()
        expectAccepted(`${what}, reversed`, await client.transfer(other, { key: reverse }))
        expectReused(`${what}, reversed`, await client.transfer(one, { key: reverse }))
      }
      await expectAccountDefaults(context)
      await expectLegsInOrder(context)
    },
  },
]

export function expectReused(what: string, answer: Answer): void {
  expectProblem(what, answer, 422, 'idempotency_key_reused')
  expectUnmarked(what, answer)
}

/** Defaults of accounts are told apart as well: their POST may have a key. */
async function expectAccountDefaults({ client }: Context): Promise<void> {
  const key = newKey()
  const first = await client.post('/v1/accounts', { currency: 'EUR' }, { key })
  expectEqual('an account under a key', first.status, 201)
  const spelledOut = { currency: 'EUR', kind: 'internal' }
  expectReused('kind spelled out', await client.post('/v1/accounts', spelledOut, { key }))
}

async function expectLegsInOrder({ client, note }: Context): Promise<void> {
  const [one, other] = [await openPair(client), await openPair(client)]
  const legs = [transferOf(one), transferOf(other)]
  const key = newKey()
  const first = await client.transfer({ legs }, { key })
  if (first.status === 400 && first.code === 'unknown_field') {
    note('the server has no legs')
    return
  }
  expectEqual('a transfer with legs', first.status, 202)
  const reordered = await client.transfer({ legs: legs.toReversed() }, { key })
  expectReused('legs reordered', reordered)
}

type Members = Record<string, unknown>

/** A hash in hexadecimal or base64 has no business in any member, whatever it is a hash of. */
function expectNoHash(answer: Answer): void {
  // The type is a URL: a path may look like base64.
  const { type: _, ...members } = answer.members
  const suspicious = texts(members).filter((text) =>
    /[0-9a-f]{64}|[A-Za-z0-9+/_-]{43,}/i.test(text),
  )
  expectThat(suspicious.length === 0, `what looks like a hash: ${suspicious.join(', ')}`)
}

function texts(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (Array.isArray(value)) return value.flatMap(texts)
  return isObject(value) ? Object.values(value).flatMap(texts) : []
}
