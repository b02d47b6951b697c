import { expectEqual, expectProblem, expectStatus, expectThat } from '../deviation.ts'
import {
  expectAccepted,
  expectEffects,
  expectReplay,
  membersOf,
  newKey,
  openPair,
  readList,
  transferOf,
} from '../money.ts'
import { clientNamed, type ClientName, type Context, type Row } from '../row.ts'
import { expectReused } from './another-request.ts'
import type { Client } from '../client.ts'

/** Whose key it is, and where it counts. */
export const scope: readonly Row[] = [
  {
    row: 'I7',
    situation: "another tenant sends this tenant's key with any body",
    expectation: 'an independent 202; nothing of this tenant shows',
    needs: ['otherTenant'],
    run: (context) => expectIndependent(context, 'otherTenant'),
  },
  {
    row: 'I8',
    situation: 'the same tenant with a second credential, key and body the same',
    expectation: 'a replay; one effect',
    needs: ['otherCredential'],
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      const first = await client.transfer(transferOf(pair), { key })
      const transfer = expectAccepted('the first credential', first)
      const second = await clientNamed('otherCredential', context).transfer(transferOf(pair), {
        key,
      })
      expectReplay('the second credential', second, first)
      await expectEffects(context, pair, [transfer])
    },
  },
  {
    row: 'I9',
    situation: 'the same key on another POST endpoint',
    expectation: '422 idempotency_key_reused',
    run: async ({ client }) => {
      const pair = await openPair(client)
      const ofTransfer = newKey()
      const first = await client.transfer(transferOf(pair), { key: ofTransfer })
      expectAccepted('a transfer', first)
      const account = await client.post('/v1/accounts', { currency: 'EUR' }, { key: ofTransfer })
      expectReused('POST /v1/accounts with the key of a transfer', account)

      const ofAccount = newKey()
      const opened = await client.post('/v1/accounts', { currency: 'EUR' }, { key: ofAccount })
      expectStatus('an account', opened, 201)
      const transfer = await client.transfer(transferOf(pair), { key: ofAccount })
      expectReused('POST /v1/transfers with the key of an account', transfer)

      const other = await client.transfer(transferOf(pair), { key: newKey() })
      const { id } = expectAccepted('another transfer', other)
      const cancel = await client.post(`/v1/transfers/${id}/cancel`, {}, { key: ofTransfer })
      expectReused("POST …/cancel with another transfer's key", cancel)
    },
  },
  {
    row: 'I10',
    situation: 'a test key and a live key of one tenant',
    expectation: "independent: they are different tenants' data",
    needs: ['otherMode'],
    run: (context) => expectIndependent(context, 'otherMode'),
  },
  {
    row: 'I11',
    situation: 'GET /v1/transfers?idempotency_key=…',
    expectation: 'the transfer or an empty list, own tenant only, from the moment of the 202',
    run: async (context) => {
      const { client, others, note } = context
      const [pair, key] = [await openPair(client), newKey()]
      const path = `/v1/transfers?idempotency_key=${key}`
      expectEqual('before the POST', await readList(client, path), [])
      const first = await client.transfer(transferOf(pair), { key })
      const { id } = expectAccepted('the POST', first)
      expectEqual('after the 202', membersOf(await readList(client, path), 'id'), [id])
      if (others.otherTenant === undefined) note('not looked at: another tenant')
      else expectEqual('another tenant', await readList(others.otherTenant, path), [])
      await expectEffects(context, pair, [{ id, amount: 1 }])
      expectEqual('after settlement', membersOf(await readList(client, path), 'id'), [id])
    },
  },
  {
    row: 'I41',
    situation: 'a key on GET or DELETE',
    expectation: 'ignored, and nothing stored',
    run: async (context) => {
      const { client } = context
      const [pair, key] = [await openPair(client), newKey()]
      for (const value of [key, 'no,key']) {
        const headers = [['idempotency-key', value]] as const
        const read = await client.get(`/v1/accounts/${pair.source}`, headers)
        expectStatus(`GET with the key ${value}`, read, 200)
        const path = `/v1/accounts/${pair.source}`
        const bare = await client.send({ method: 'DELETE', path })
        const removal = await client.send({ method: 'DELETE', path, headers })
        expectEqual(`DELETE with the key ${value}`, removal.describe(), bare.describe())
      }
      const known = await client.get(`/v1/idempotency-keys?key=${key}`)
      expectStatus('what is known of the key', known, 404)
      const first = await client.transfer(transferOf(pair), { key })
      await expectEffects(context, pair, [expectAccepted('the POST', first)])
    },
  },
]

/** A key of the first client means nothing to the other one. */
async function expectIndependent(context: Context, name: ClientName): Promise<void> {
  const { client } = context
  const other = clientNamed(name, context)
  const [pair, otherPair, key] = [await openPair(client), await openPair(other), newKey()]
  const body = transferOf(pair, { description: 'of the first tenant' })
  const mine = expectAccepted('the first tenant', await client.transfer(body, { key }))
  const answer = await other.transfer(transferOf(otherPair, { amount: 2 }), { key })
  const theirs = expectAccepted('the other tenant', answer)
  expectThat(theirs.id !== mine.id, 'the id of the first tenant')

  const sameBody = await other.transfer(body, { key: newKey() })
  expectProblem("the first tenant's accounts", sameBody, 422, 'account_not_found')
  await expectHidden(other, mine.id)
  await expectEffects(context, pair, [mine])
  await expectEffects({ ...context, client: other }, otherPair, [theirs])
}

async function expectHidden(client: Client, id: string): Promise<void> {
  const answer = await client.get(`/v1/transfers/${id}`)
  expectStatus("GET of the first tenant's transfer", answer, 404)
}
