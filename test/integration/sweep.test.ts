import { beforeEach, describe, expect, test } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { acceptUnrung } from '../support/settlers.ts'
import { until } from '../support/until.ts'

let payonce: Payonce

beforeEach(async () => {
  payonce = await startPayonce({ worker: false })
  return () => payonce.close()
})

const times = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n))
const request = () => ({ source: payonce.world, destination: payonce.merchant, amount: 1 })

/** Lets what is accepted grow old, so that a sweep need not wait for it: it rings after 5 seconds. */
async function letTimePass(seconds: number): Promise<void> {
  await payonce.db.query(
    `UPDATE idempotency_keys SET due_at = due_at - $1 * interval '1 s' WHERE due_at IS NOT NULL`,
    [seconds],
  )
}

async function metric(name: string): Promise<number> {
  const { text } = await payonce.client.get('/metrics')
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1])
}

async function rescues(): Promise<number> {
  const text = (await payonce.worker?.metrics.registry.metrics()) ?? ''
  return Number(/^payonce_sweep_rescues_total (.*)$/m.exec(text)?.[1])
}

describe('the sweep', () => {
  test('settles what the queue has lost, without any retry by a client (I28)', async () => {
    await Promise.all(times(60, () => payonce.client.send(request())))
    await until('all jobs are queued', async () => (await metric('payonce_queue_jobs')) === 60)
    await payonce.emptyQueue()
    expect(await metric('payonce_queue_jobs')).toBe(0)
    await letTimePass(10)

    await payonce.startWorker()
    await payonce.untilAllSettled()
    expect(await rescues()).toBe(60)
    expect(await payonce.balanceOf(payonce.merchant)).toBe(60)
    await assertBooksHold(payonce.db)
  })

  test('settles what was accepted and never rung, as after a kill behind the commit', async () => {
    await acceptUnrung(
      payonce,
      times(1_500, () => request()),
    )
    await letTimePass(10)
    await payonce.startWorker()
    await payonce.untilAllSettled()
    expect(await rescues()).toBeGreaterThanOrEqual(1_500)
    expect(await payonce.balanceOf(payonce.merchant)).toBe(1_500)
    await assertBooksHold(payonce.db)
  })

  test('leaves alone what is younger than five seconds, and rings it then', async () => {
    await payonce.startWorker()
    const [ref] = await acceptUnrung(payonce, [request()])
    await payonce.untilAllSettled()
    const { rows } = await payonce.db.query<{ waited: number }>(
      `SELECT extract(epoch FROM settled_at - created_at)::float AS waited
         FROM transfers WHERE id = $1`,
      [ref?.transferId],
    )
    expect(rows[0]?.waited).toBeGreaterThan(5)
  })

  test('has the queue emptied under a running worker, and all the same nothing is lost', async () => {
    await payonce.startWorker()
    const answers = await Promise.all(
      times(120, async (n) => {
        if (n % 40 === 20) await payonce.emptyQueue()
        return payonce.client.send(request())
      }),
    )
    await payonce.emptyQueue()
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    await payonce.untilAllSettled()
    expect(await payonce.balanceOf(payonce.merchant)).toBe(120)
    await assertBooksHold(payonce.db)
    // The queue works as before, whatever it kept about itself.
    const { body } = await payonce.client.send(request(), { wait: 10 })
    expect(body.status).toBe('succeeded')
  })
})
