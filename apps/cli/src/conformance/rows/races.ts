import { Deviation, expectEqual, expectThat } from '../deviation.ts'
import {
  expectAccepted,
  expectEffects,
  newKey,
  openPair,
  readTransfer,
  transferOf,
} from '../money.ts'
import { expectReused } from './another-request.ts'
import type { Answer } from '../client.ts'
import type { Context, Row } from '../row.ts'

/** Requests with one key that arrive together. */
export const races: readonly Row[] = [
  {
    row: 'I15',
    situation: 'another body while the first request is in flight',
    expectation: '422 at once',
    run: async (context) => {
      const { client } = context
      const pair = await openPair(client)
      for (let round = 1; round <= 10; round++) {
        const key = newKey()
        const startedAt = performance.now()
        const answers = await Promise.all([
          client.transfer(transferOf(pair), { key }),
          client.transfer(transferOf(pair, { amount: 2 }), { key }),
        ])
        const [winner, loser] = answers.toSorted((a, b) => a.status - b.status)
        if (winner === undefined || loser === undefined) throw new Deviation('no answers')
        expectAccepted(`round ${round}, the winner`, winner)
        expectReused(`round ${round}, the loser`, loser)
        const tookMs = performance.now() - startedAt
        // 2 s is what a server may wait for a twin; telling another body takes no such wait.
        expectThat(tookMs < 2_000, `the 422 took ${Math.round(tookMs)} ms`)
      }
    },
  },
  {
    row: 'I21',
    situation: '50 parallel requests with one key and one body',
    expectation: 'one effect; every answer is 202 with one id and the same bytes',
    run: async (context) => {
      const pair = await openPair(context.client)
      const answers = await sendTogether(context, newKey(), () => transferOf(pair))
      const transfer = expectOneAcceptance(answers)
      await expectEffects(context, pair, [transfer])
    },
  },
  {
    row: 'I22',
    situation: '50 parallel requests with one key and two different bodies',
    expectation: 'winners all equal, losers all 422; never both executed',
    run: async (context) => {
      const pair = await openPair(context.client)
      const amountOf = (index: number) => 1 + (index % 2)
      const answers = await sendTogether(context, newKey(), (index) =>
        transferOf(pair, { amount: amountOf(index) }),
      )
      const winners = answers.filter(({ status }) => status === 202)
      const transfer = expectOneAcceptance(winners)
      answers.forEach((answer, index) => {
        if (amountOf(index) !== transfer.amount) expectReused(`answer ${index + 1}`, answer)
      })
      expectEqual('the number of winners', winners.length, parallel / 2)
      await expectEffects(context, pair, [transfer])
    },
  },
]

const parallel = 50

/** All at once, each on a connection of its own, and over two processes where there are two. */
function sendTogether(
  { client, others }: Context,
  key: string,
  bodyOf: (index: number) => object,
): Promise<Answer[]> {
  const processes = [client, others.otherProcess ?? client]
  return Promise.all(
    Array.from({ length: parallel }, (_, index) =>
      // Two in a row go to one process, so that either body goes to both.
      (processes[(index >> 1) % 2] ?? client).transfer(bodyOf(index), { key }),
    ),
  )
}

function expectOneAcceptance(answers: readonly Answer[]) {
  const statuses = [...new Set(answers.map((answer) => answer.describe()))].toSorted()
  expectEqual('the answers', statuses, ['202', '202 replayed'])
  const bodies = new Set(answers.map(({ text }) => text))
  expectEqual('the number of different bodies', bodies.size, 1)
  const locations = new Set(answers.map((answer) => answer.header('location')))
  expectEqual('the number of different Locations', locations.size, 1)
  const unmarked = answers.filter((answer) => answer.header('idempotent-replayed') === undefined)
  expectEqual('the number of answers without the marker', unmarked.length, 1)
  const [first] = unmarked
  if (first === undefined) throw new Deviation('no answer without the marker')
  return readTransfer(first.members)
}
