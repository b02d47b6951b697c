import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { createClient, newKey } from '../support/client.ts'
import { startPayonce } from '../support/payonce.ts'
import { startApi, startWorker } from '../support/processes.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { hasRedis } from '../support/redis.ts'
import { environmentOf } from '../support/stores.ts'
import { until } from '../support/until.ts'

/*
 * The queue in a Redis Cluster (F10): six real nodes. A queue lives in one slot, and so at one master
 * at a time.
 */

const queueKey = '{payonce_queue}:settlement:wait'

/** An installation whose queue is in a cluster, with transfers coming in all the time. */
async function startUnderLoad() {
  const cluster = await startRedisCluster()
  const environment = { REDIS_URL: cluster.url }
  const payonce = await startPayonce({ worker: false, environment })
  const processes = { ...environmentOf(payonce.stores), ...environment }
  const [api] = await Promise.all([
    startApi(processes),
    startWorker(processes),
    startWorker(processes),
  ])
  const client = createClient(api.url, payonce.apiKey)
  const request = { source: payonce.world, destination: payonce.merchant, amount: 1 }
  const answers: { id: string; status: number }[] = []
  const over = new AbortController()
  onTestFinished(() => over.abort())
  const load = (async () => {
    while (!over.signal.aborted) {
      const { status, body } = await client.send(request, { key: newKey() })
      answers.push({ id: body.id, status })
      await sleep(10)
    }
  })()
  return {
    cluster,
    payonce,
    answers,
    endLoad: async () => {
      over.abort()
      await load
    },
    /** By the ring alone: far sooner than the sweep would find it. */
    untilRungAgain: () =>
      until(
        'a transfer settles at once',
        async () => {
          const { body } = await client.send(request, { key: newKey(), wait: 2 })
          return body.settled_at !== null
        },
        { withinMs: 30_000 },
      ),
  }
}

describe.skipIf(!hasRedis)('a Redis Cluster', () => {
  it('F10: whose master of the queue is killed goes on with its replica', async () => {
    const { cluster, payonce, answers, endLoad, untilRungAgain } = await startUnderLoad()
    await untilRungAgain()
    const master = await cluster.masterOf(queueKey)
    await cluster.kill(master)
    const accepted = answers.length
    await until('another is promoted', async () => {
      const now = await cluster.masterOf(queueKey).catch(() => master)
      return now !== master
    })
    await untilRungAgain()
    await endLoad()
    await payonce.untilAllSettled(30_000)
    expect(answers.length).toBeGreaterThan(accepted)
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    await assertBooksHold(payonce.db)
  })

  it('F10: whose slot of the queue moves to another master loses nothing', async () => {
    const { cluster, payonce, answers, endLoad, untilRungAgain } = await startUnderLoad()
    await untilRungAgain()
    const before = await cluster.masterOf(queueKey)
    await cluster.moveSlotOf(queueKey)
    expect(await cluster.masterOf(queueKey)).not.toBe(before)
    await untilRungAgain()
    await endLoad()
    await payonce.untilAllSettled(30_000)
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    await assertBooksHold(payonce.db)
  })
})
