import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSettlementQueue, createSettlementWorker } from '@payonce/core/queue/queues'
import { expect, test } from 'vitest'
import { createWatchdog } from '../../apps/worker/src/watchdog.ts'
import { createStores } from '../support/stores.ts'
import { until } from '../support/until.ts'

const onError = () => undefined

test('a worker that takes no jobs is noticed, on either backend, and one that does is not', async () => {
  const options = { ...(await createStores()), onError }
  const queue = createSettlementQueue(options)
  const ring = () => ({
    ref: { tenantId: randomUUID(), transferId: randomUUID() },
    idempotencyKey: randomUUID(),
  })
  let stuckAt: number | undefined
  const watch = () =>
    createWatchdog({
      queue,
      lookEveryMs: 50,
      patience: 4,
      onStuck: (waiting) => (stuckAt = waiting),
    })

  const idle = watch()
  idle.start()
  await sleep(400)
  expect(stuckAt).toBeUndefined()
  await queue.add([ring(), ring()])
  expect(await queue.countWaiting()).toBe(2)
  await until('the idle worker is noticed', () => stuckAt !== undefined)
  expect(stuckAt).toBe(2)

  stuckAt = undefined
  const busy = watch()
  let taken = 0
  const worker = createSettlementWorker(options, {
    concurrency: 1,
    process: busy.watching(async () => {
      taken += 1
      await sleep(20)
    }),
  })
  busy.start()
  worker.start()
  await queue.add(Array.from({ length: 30 }, ring))
  await until('every job was taken', () => taken >= 32, { withinMs: 20_000 })
  expect(stuckAt).toBeUndefined()
  expect(await queue.countWaiting()).toBe(0)
  busy.stop()
  await worker.close(2_000)
  await queue.close()
})
