import {
  expectAccepted,
  expectEffects,
  expectReplay,
  newKey,
  openPair,
  transferOf,
  type Pair,
} from '../money.ts'
import type { Row } from '../row.ts'

/** What does not make another request of it. */
export const sameRequest: readonly Row[] = [
  {
    row: 'I16',
    situation: 'the same JSON with other key order, white space, number spelling, string escapes',
    expectation: 'a replay',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      const key = newKey()
      const first = await client.transfer(spelling(pair, plain), { key })
      const transfer = expectAccepted('the first POST', first)
      for (const [what, text] of Object.entries(otherSpellings)) {
        expectReplay(what, await client.transfer(spelling(pair, text), { key }), first)
      }
      await expectEffects(context, pair, [transfer])
    },
  },
  {
    row: 'I20',
    situation: 'other User-Agent, trace headers, Date',
    expectation: 'a replay',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const first = await client.transfer(transferOf(pair), {
        key,
        headers: [['user-agent', 'shop/1.0']],
      })
      const transfer = expectAccepted('the first POST', first)
      const again = await client.transfer(transferOf(pair), {
        key,
        headers: [
          ['user-agent', 'shop/2.0'],
          ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
          ['tracestate', 'shop=1'],
          ['x-request-id', 'second-try'],
          ['date', 'Tue, 15 Nov 1994 08:12:31 GMT'],
          ['accept', '*/*'],
          ['content-type', 'application/json; charset=utf-8'],
        ],
      })
      expectReplay('other headers', again, first)
      await expectEffects(context, pair, [transfer])
    },
  },
]

const plain =
  '{"source":$source,"destination":$destination,"amount":1000,"currency":"EUR",' +
  '"description":"a/b \u00e9","metadata":{"a":"1","b":"2"}}'

const otherSpellings: Record<string, string> = {
  'other key order':
    '{"metadata":{"b":"2","a":"1"},"description":"a/b \u00e9","currency":"EUR","amount":1000,' +
    '"destination":$destination,"source":$source}',
  'other white space': plain.replaceAll(/([{,:])"/g, '$1\n\t "').replaceAll('}', '\r\n}'),
  'the amount as 1000.0': plain.replace('1000', '1000.0'),
  'the amount as 1e3': plain.replace('1000', '1e3'),
  'the amount as 10E+2': plain.replace('1000', '10E+2'),
  'the amount as 100000e-2': plain.replace('1000', '100000e-2'),
  'escapes in a value': plain.replace('EUR', String.raw`\u0045\u0055R`),
  'an escaped slash and letter': plain.replace('a/b \u00e9', String.raw`a\/b \u00E9`),
  'escapes in a name': plain.replace('"amount"', String.raw`"\u0061mount"`),
}

function spelling({ source, destination }: Pair, text: string): string {
  return text
    .replace('$source', JSON.stringify(source))
    .replace('$destination', JSON.stringify(destination))
}
