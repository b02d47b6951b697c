import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { createClient, newKey, type Client } from '../support/client.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import {
  startApi,
  startWorker,
  type Environment,
  type RunningProcess,
} from '../support/processes.ts'
import { hasRedis, startRedis } from '../support/redis.ts'
import { createStores, environmentOf } from '../support/stores.ts'
import { until } from '../support/until.ts'

/*
 * What happens to processes from outside: they are stopped, killed, and lose their queue. An API in
 * this process stays alive throughout, and tells what has become of it all.
 */

const backends = hasRedis ? (['postgres', 'redis'] as const) : (['postgres'] as const)

/** Stopping promises 10 s. */
const stopLimitMs = 10_000

async function startInstallation(
  backend: 'postgres' | 'redis',
): Promise<{ payonce: Payonce; environment: Environment }> {
  const stores = await createStores(backend)
  return {
    payonce: await startPayonce({ stores, worker: false }),
    environment: environmentOf(stores),
  }
}

const fromWorld = ({ world, merchant }: Payonce) => ({
  source: world,
  destination: merchant,
  amount: 1,
})

/** How long a process takes to end in order. */
async function stopAndMeasure(running: RunningProcess): Promise<{ code: number; ms: number }> {
  const startedAt = performance.now()
  const { code } = await running.stop()
  return { code, ms: performance.now() - startedAt }
}

/** Sends one transfer after the other, as a client that repeats what got no answer. */
function keepSending(payonce: Payonce, clients: () => Client): { stop(): Promise<number> } {
  const sending = new AbortController()
  let accepted = 0
  const senders = Array.from({ length: 6 }, async () => {
    while (!sending.signal.aborted) {
      const key = newKey()
      for (;;) {
        const answer = await clients()
          .send(fromWorld(payonce), { key })
          .catch(() => undefined)
        if (answer?.status === 202) break
        if (answer !== undefined && answer.status !== 503) throw new Error(answer.text)
        await sleep(20)
      }
      accepted += 1
    }
  })
  return {
    stop: async () => {
      sending.abort()
      await Promise.all(senders)
      return accepted
    },
  }
}

describe('an API that is asked to stop', () => {
  test('answers at once those who wait, and ends with 0', async () => {
    const { payonce, environment } = await startInstallation('postgres')
    const api = await startApi(environment)
    const client = createClient(api.url, payonce.apiKey)
    const key = newKey()
    const { body: queued } = await client.send(fromWorld(payonce))
    const waiting = [
      client.send(fromWorld(payonce), { key, wait: 30 }),
      client.send(fromWorld(payonce), { wait: 30 }),
      client.get(`/v1/transfers/${queued.id}`, { wait: 30 }),
    ]
    await until('three clients wait', async () =>
      /^payonce_waiting_clients 3$/m.test((await client.get('/metrics')).text),
    )
    const startedAt = performance.now()
    const stopped = stopAndMeasure(api)
    const answers = await Promise.all(waiting)
    // No settlement and no end of the 30 s has answered them: there is no worker.
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 200])
    expect(answers.map(({ headers }) => headers.get('connection'))).toEqual(
      answers.map(() => 'close'),
    )
    const { code, ms } = await stopped
    expect(code).toBe(0)
    expect(ms).toBeLessThan(stopLimitMs)

    // What it accepted is there, and is settled by whoever comes.
    const replay = await payonce.client.send(fromWorld(payonce), { key })
    expect(replay.text).toBe(answers[0]?.text)
    await payonce.startWorker()
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(payonce.merchant)).toBe(3)
    await assertBooksHold(payonce.db)
  })

  test('gives a kept-alive connection back with its next answer (F6)', async () => {
    const { payonce, environment } = await startInstallation('postgres')
    const api = await startApi(environment)
    const client = createClient(api.url, payonce.apiKey)
    expect((await client.get('/healthz')).status).toBe(200)
    const stopped = stopAndMeasure(api)
    await sleep(300)
    const answer = await client.send(fromWorld(payonce))
    expect(answer.status).toBe(202)
    expect(answer.headers.get('connection')).toBe('close')
    expect((await stopped).code).toBe(0)
  })

  test('under load accepts or turns away, but fails nobody (F6)', async () => {
    const { payonce, environment } = await startInstallation('postgres')
    await payonce.startWorker()
    const apis = [await startApi(environment), await startApi(environment)]
    let urls = apis.map(({ url }) => url)
    let turn = 0
    const load = keepSending(payonce, () =>
      createClient(urls[(turn += 1) % urls.length] ?? '', payonce.apiKey),
    )
    for (const leaving of apis) {
      await sleep(300)
      const successor = await startApi(environment)
      urls = [...urls.filter((url) => url !== leaving.url), successor.url]
      const { code, ms } = await stopAndMeasure(leaving)
      expect(code).toBe(0)
      expect(ms).toBeLessThan(stopLimitMs)
    }
    const accepted = await load.stop()
    expect(accepted).toBeGreaterThan(50)
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(payonce.merchant)).toBe(accepted)
    await assertBooksHold(payonce.db)
  })
})

describe.each(backends)('a worker with its queue on %s', (backend) => {
  test('that is asked to stop under load ends with 0, and another one does the rest', async () => {
    const { payonce, environment } = await startInstallation(backend)
    const leaving = await startWorker(environment)
    const load = keepSending(payonce, () => payonce.client)
    await until('it is at work', async () => (await payonce.balanceOf(payonce.merchant)) > 20)
    const { code, ms } = await stopAndMeasure(leaving)
    expect(code).toBe(0)
    expect(ms).toBeLessThan(stopLimitMs)
    expect(leaving.output()).toContain('worker has stopped')
    await startWorker(environment)
    const accepted = await load.stop()
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(payonce.merchant)).toBe(accepted)
    await assertBooksHold(payonce.db)
  })
})

describe('workers that are killed under load, one after the other', () => {
  test('lose nothing and do nothing twice (F3, F5)', async () => {
    // Both backends at once: most of the time passes in waiting for locks of the dead to end.
    await Promise.all(
      backends.map(async (backend) => {
        const { payonce, environment } = await startInstallation(backend)
        const load = keepSending(payonce, () => payonce.client)
        for (let n = 1; n <= 4; n++) {
          const before = await payonce.balanceOf(payonce.merchant)
          const doomed = await startWorker(environment)
          await until('it is at work', async () => {
            return (await payonce.balanceOf(payonce.merchant)) > before
          })
          doomed.kill('SIGKILL')
          await doomed.exited
        }
        await startWorker(environment)
        const accepted = await load.stop()
        await payonce.untilAllSettled(60_000)
        expect(await payonce.balanceOf(payonce.merchant)).toBe(accepted)
        await assertBooksHold(payonce.db)
      }),
    )
  })
})

if (hasRedis) {
  describe('a Redis', () => {
    test('that is emptied under load loses the jobs, and no transfer (I28, F7)', async () => {
      const redis = await startRedis()
      const { payonce, environment: stores } = await startInstallation('postgres')
      const environment = { ...stores, REDIS_URL: redis.url }
      const [api] = [await startApi(environment), await startWorker(environment)]
      const client = createClient(api.url, payonce.apiKey)
      const load = keepSending(payonce, () => client)
      for (let n = 0; n < 4; n++) {
        await sleep(250)
        await redis.flushAll()
      }
      const accepted = await load.stop()
      await redis.flushAll()
      await payonce.untilAllSettled(40_000)
      expect(await payonce.balanceOf(payonce.merchant)).toBe(accepted)
      await assertBooksHold(payonce.db)
      const settled = await client.send(fromWorld(payonce), { wait: 10 })
      expect(settled.body.status).toBe('succeeded')
    })

    test('that is down when the processes start is waited for by jobs, not by clients (F7)', async () => {
      const redis = await startRedis()
      await redis.kill()
      const { payonce, environment: stores } = await startInstallation('postgres')
      const environment = { ...stores, REDIS_URL: redis.url }
      const [api] = [await startApi(environment), await startWorker(environment)]
      const client = createClient(api.url, payonce.apiKey)
      const startedAt = performance.now()
      const first = await client.send(fromWorld(payonce))
      expect(first.status).toBe(202)
      expect(performance.now() - startedAt).toBeLessThan(2_000)
      await redis.restart()
      await payonce.untilAllSettled(30_000)
      expect(await payonce.client.read(first.body.id)).toMatchObject({ status: 'succeeded' })
      // From now on it rings, and nothing has to wait for a sweep.
      await until('a transfer settles within a second', async () => {
        const { body } = await client.send(fromWorld(payonce), { wait: 1 })
        return body.status === 'succeeded'
      })
      await payonce.untilAllSettled(30_000)
      await assertBooksHold(payonce.db)
    })

    test.each(['frozen', 'killed'] as const)(
      'that is %s does not keep the processes from stopping in time',
      async (state) => {
        const redis = await startRedis()
        const { payonce, environment: stores } = await startInstallation('postgres')
        const environment = { ...stores, REDIS_URL: redis.url }
        const [api, worker] = [await startApi(environment), await startWorker(environment)]
        const client = createClient(api.url, payonce.apiKey)
        expect((await client.send(fromWorld(payonce), { wait: 10 })).body.status).toBe('succeeded')
        if (state === 'frozen') redis.freeze()
        else await redis.kill()
        expect((await client.send(fromWorld(payonce))).status).toBe(202)
        const stopped = await Promise.all([stopAndMeasure(api), stopAndMeasure(worker)])
        expect(stopped.map(({ code }) => code)).toEqual([0, 0])
        for (const { ms } of stopped) expect(ms).toBeLessThan(stopLimitMs)
      },
    )
  })
}
