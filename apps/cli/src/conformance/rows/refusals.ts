import { expectProblem, expectUnmarked } from '../deviation.ts'
import { expectAccepted, expectEffects, newKey, openPair, transferOf, type Pair } from '../money.ts'
import type { Answer, Body, Client } from '../client.ts'
import type { Context, Row } from '../row.ts'

/** What is refused before it is accepted leaves its key free. */
export const refusals: readonly Row[] = [
  {
    row: 'I18',
    situation: 'an amount above 2^53-1, or a fraction in its text even where a double rounds it',
    expectation: '400, and the key is not used up',
    run: (context) =>
      expectRefusedThenAccepted(context, 400, 'invalid_amount', (pair) =>
        inexactAmounts.map((text) => [
          `amount ${text}`,
          JSON.stringify(transferOf(pair)).replace('"amount":1', `"amount":${text}`),
        ]),
      ),
  },
  {
    row: 'I19',
    situation: 'duplicate member names anywhere in the JSON',
    expectation: '400 duplicate_member, and the key is not used up',
    run: (context) =>
      expectRefusedThenAccepted(context, 400, 'duplicate_member', (pair) => {
        const text = JSON.stringify(transferOf(pair))
        const escaped = String.raw`"\u0061mount":1`
        return [
          ['the amount twice', text.replace('{', '{"amount":2,')],
          ['the amount twice, with one value', text.replace('{', '{"amount":1,')],
          ['the amount again with an escape', text.replace('{', `{${escaped},`)],
          ['a name twice in metadata', text.replace('{', '{"metadata":{"a":"1","a":"1"},')],
        ]
      }),
  },
  {
    row: 'I32',
    situation: 'a key with an invalid body, then a valid one',
    expectation: '202: the key was not used up',
    run: async (context) => {
      const unknown = (id: string) => id.replace(/.{12}$/, '0123456789ab')
      await expectRefusedThenAccepted(context, 400, 'invalid_json', (pair) => [
        ['no JSON', '{'],
        ['half a body', JSON.stringify(transferOf(pair)).slice(0, 40)],
      ])
      await expectRefusedThenAccepted(context, 400, 'invalid_amount', (pair) => [
        ['an amount of 0', transferOf(pair, { amount: 0 })],
        ['no amount', transferOf(pair, { amount: undefined })],
      ])
      await expectRefusedThenAccepted(context, 400, 'unknown_field', (pair) => [
        ['an unknown member', transferOf(pair, { priority: 'high' })],
      ])
      await expectRefusedThenAccepted(context, 422, 'account_not_found', (pair) => [
        ['an unknown account', transferOf({ ...pair, source: unknown(pair.source) })],
      ])
      await expectRefusedThenAccepted(context, 422, 'same_account', (pair) => [
        ['one account twice', transferOf({ ...pair, destination: pair.source })],
      ])
    },
  },
  {
    row: 'I33',
    situation: '401, 403, 413, 415, 429, 503, and then a good request',
    expectation: '202; the error is never replayed',
    run: async (context) => {
      const { client, others, note } = context
      const pair = await openPair(client)
      const body = transferOf(pair)
      const key = newKey()
      const wrongCredential = { key, headers: [['authorization', 'Bearer po_test_x']] as const }
      const unauthorized = await client.transfer(body, wrongCredential)
      expectRefusal('a wrong credential', unauthorized, 401, 'unauthorized')
      const wrongType = { key, headers: [['content-type', 'text/plain']] as const }
      const text = await client.transfer(body, wrongType)
      expectRefusal('text/plain', text, 415, 'unsupported_media_type')
      const large = transferOf(pair, { description: 'x'.repeat(70_000) })
      const tooLarge = await client.transfer(large, { key })
      expectRefusal('a body of 70 KB', tooLarge, 413, 'body_too_large')
      if (others.readOnly === undefined) {
        note('not looked at: 403 (give --read-only-key)')
      } else {
        const forbidden = await others.readOnly.transfer(body, { key })
        expectRefusal('a read-only credential', forbidden, 403, 'insufficient_scope')
      }
      note('not looked at: 429 and 503, which cannot be brought about from here')
      await expectEffects(context, pair, [
        expectAccepted('the good request', await client.transfer(body, { key })),
      ])
    },
  },
]

const inexactAmounts = [
  '9007199254740992',
  '9007199254740993',
  '1e400',
  '1.5',
  '1.00000000000000001',
  '0.99999999999999999999',
  '1e-1',
]

/** Sends each body under a key of its own, refused, and then a good one under the same key. */
async function expectRefusedThenAccepted(
  { client }: Context,
  status: number,
  code: string,
  bodiesOf: (pair: Pair) => [what: string, body: Body][],
): Promise<void> {
  const pair = await openPair(client)
  for (const [what, body] of bodiesOf(pair)) {
    const key = newKey()
    expectRefusal(what, await client.transfer(body, { key }), status, code)
    await expectUnused(client, what, key, pair)
  }
}

async function expectUnused(client: Client, what: string, key: string, pair: Pair): Promise<void> {
  const good = await client.transfer(transferOf(pair), { key })
  expectAccepted(`${what}, then a good request`, good)
}

function expectRefusal(what: string, answer: Answer, status: number, code: string): void {
  expectProblem(what, answer, status, code)
  expectUnmarked(what, answer)
}
