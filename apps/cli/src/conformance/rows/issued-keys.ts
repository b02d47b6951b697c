import { expectEqual, expectProblem, expectStatus, expectThat } from '../deviation.ts'
import {
  expectAccepted,
  expectEffects,
  expectReplay,
  newKey,
  openPair,
  textMember,
  transferOf,
} from '../money.ts'
import { isObject, type Answer, type Client } from '../client.ts'
import { expectReused } from './another-request.ts'
import type { Row } from '../row.ts'

/** Keys that the server makes, and what it tells of a key. */
export const issuedKeys: readonly Row[] = [
  {
    row: 'I42',
    situation: 'a key from POST /v1/idempotency-keys for POST /v1/transfers, then used',
    expectation:
      'the first use settles once; another purpose is 422; a made-up key of that form is 422',
    run: async (context) => {
      const { client, others, note } = context
      const pair = await openPair(client)
      const body = transferOf(pair)
      const key = await issueKey(client, 'POST /v1/transfers')
      const account = await client.post('/v1/accounts', { currency: 'EUR' }, { key })
      expectProblem('used for an account', account, 422, 'idempotency_key_purpose')

      const first = await client.transfer(body, { key })
      const transfer = expectAccepted('its first use', first)
      expectReplay('its second use', await client.transfer(body, { key }), first)
      const otherBody = await client.transfer(transferOf(pair, { amount: 2 }), { key })
      expectReused('its use for another body', otherBody)

      const madeUp = key.replace(/.{12}$/, '0123456789ab')
      const unknown = await client.transfer(body, { key: madeUp })
      expectProblem('a key that was made up', unknown, 422, 'idempotency_key_unknown')
      if (others.otherTenant === undefined) {
        note("not looked at: another tenant's issued key")
      } else {
        const foreign = await issueKey(others.otherTenant, 'POST /v1/transfers')
        const refused = await client.transfer(body, { key: foreign })
        expectProblem("another tenant's key", refused, 422, 'idempotency_key_unknown')
      }
      note('not looked at: expiry, which takes a day')
      await expectEffects(context, pair, [transfer])
    },
  },
  {
    row: 'I43',
    situation: 'GET /v1/idempotency-keys?key=…',
    expectation:
      'purpose, state (issued, accepted, settled), first seen, number of replays, resource; 404 for other tenants',
    run: async (context) => {
      const { client, others, note } = context
      const pair = await openPair(client)
      const unknown = await inspect(client, newKey())
      expectProblem('a key that nobody has used', unknown, 404, 'not_found')

      const key = await issueKey(client, 'POST /v1/transfers')
      expectKey(await inspect(client, key), { key, state: ['issued'], resourceId: undefined })
      const answer = await client.transfer(transferOf(pair), { key })
      const transfer = expectAccepted('its use', answer)
      const used = { key, resourceId: transfer.id }
      expectKey(await inspect(client, key), { ...used, state: ['accepted', 'settled'] })
      await expectEffects(context, pair, [transfer])
      expectKey(await inspect(client, key), { ...used, state: ['settled'] })
      if (others.otherTenant === undefined) {
        note('not looked at: another tenant')
      } else {
        const foreign = await inspect(others.otherTenant, key)
        expectProblem('another tenant', foreign, 404, 'not_found')
      }
    },
  },
]

async function issueKey(client: Client, purpose: string): Promise<string> {
  const answer = await client.post('/v1/idempotency-keys', { purpose })
  expectStatus('asking for a key', answer, 201)
  const key = textMember(answer, 'key')
  expectThat(/^key_[0-9a-z]+$/.test(key), `a key of another form: ${key}`)
  return key
}

function inspect(client: Client, key: string): Promise<Answer> {
  return client.get(`/v1/idempotency-keys?key=${encodeURIComponent(key)}`)
}

function expectKey(
  answer: Answer,
  wanted: { key: string; state: readonly string[]; resourceId: string | undefined },
): void {
  expectStatus('what is known of the key', answer, 200)
  const { key, purpose, state, first_seen_at: firstSeenAt, replays, resource } = answer.members
  expectEqual('key', key, wanted.key)
  expectEqual('purpose', purpose, 'POST /v1/transfers')
  expectThat(wanted.state.includes(String(state)), `state ${String(state)}`)
  expectThat(
    typeof firstSeenAt === 'string' && !Number.isNaN(Date.parse(firstSeenAt)),
    `first_seen_at ${String(firstSeenAt)}`,
  )
  expectThat(Number.isInteger(replays), `replays ${String(replays)}`)
  const id = isObject(resource) ? resource['id'] : undefined
  expectEqual('the id of its resource', id, wanted.resourceId)
}
