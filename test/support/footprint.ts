import { setTimeout as sleep } from 'node:timers/promises'
import { createSettlementQueue } from '@payonce/core/queue/queues'
import { expect } from 'vitest'
import type { Payonce } from './payonce.ts'

/** How much there is of everything that a request may make. */
export type Footprint = Readonly<Record<string, number>>

const tables = [
  'tenants',
  'api_keys',
  'accounts',
  'account_limits',
  'idempotency_keys',
  'issued_keys',
  'commands',
  'transfers',
  'transfer_batches',
  'batch_items',
  'entries',
  'deferred',
  'transfer_attempts',
  'settlements',
]

/**
 * Does something that has to be refused, and holds that it leaves no trace: not a row, not a job, no
 * failure of the server's own making in its log or its numbers; and that the server still answers.
 * Only without a worker, whose work would change the counts.
 */
export async function leavingNoTrace<T>(payonce: Payonce, act: () => Promise<T>): Promise<T> {
  await passThrough(payonce)
  const before = await takeStillFootprint(payonce)
  const complaints = complaintsIn(payonce.log)
  const result = await act()
  await passThrough(payonce)
  expect(await takeStillFootprint(payonce)).toEqual(before)
  await expectNoFailure(payonce, complaints)
  expect((await payonce.client.get('/readyz')).status).toBe(200)
  return result
}

/** Holds that nothing failed on the side of the server, but for what it complained of before. */
export async function expectNoFailure(
  payonce: Payonce,
  complaints: readonly string[],
): Promise<void> {
  expect(await countServerErrors(payonce)).toBe(0)
  expect(complaintsIn(payonce.log).slice(complaints.length)).toEqual([])
}

/**
 * Sends a transfer that is sent each time: requests are accepted in turn, so whatever came before it
 * is stored by then, even if its client did not wait for the answer.
 */
async function passThrough({ client, world, merchant }: Payonce): Promise<void> {
  const request = { source: world, destination: merchant, amount: 1 }
  const { status } = await client.send(request, { key: 'passed-through' })
  expect(status).toBe(202)
}

export async function takeFootprint(payonce: Payonce): Promise<Footprint> {
  const counts = tables.map((table) => `(SELECT count(*)::int FROM ${table}) AS ${table}`)
  const { rows } = await payonce.db.query<Footprint>(`SELECT ${counts.join(', ')}`)
  return { ...rows[0], jobs: await countJobs(payonce) }
}

/** A job is added after the answer to its request: counts are taken until two in a row are the same. */
async function takeStillFootprint(payonce: Payonce): Promise<Footprint> {
  let last = await takeFootprint(payonce)
  for (;;) {
    await sleep(50)
    const next = await takeFootprint(payonce)
    if (next['jobs'] === last['jobs']) return next
    last = next
  }
}

/** Jobs that wait or run. */
async function countJobs({ stores }: Payonce): Promise<number> {
  const queue = createSettlementQueue({ ...stores, onError: () => undefined })
  try {
    // It also waits for the connection, which does not keep what is asked before it stands.
    await queue.inspect()
    return await queue.count()
  } finally {
    await queue.close()
  }
}

/** Requests that the API has answered with a status of 500 or more, or has counted so. */
async function countServerErrors({ api }: Payonce): Promise<number> {
  const { values } = await api.metrics.httpDuration.get()
  return values
    .filter(
      ({ metricName, labels }) => metricName?.endsWith('_count') && Number(labels.status) >= 500,
    )
    .reduce((sum, { value }) => sum + value, 0)
}

/** The lines of a log that say that something is wrong. */
export function complaintsIn(log: readonly string[]): readonly string[] {
  return log.filter((line) => /"level":"(warn|error|fatal)"/.test(line))
}
