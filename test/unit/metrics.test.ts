import { describe, expect, it } from 'vitest'
import { createMetrics, watchPools, watchValue } from '@payonce/core/metrics'

async function linesOf(metrics: ReturnType<typeof createMetrics>, name: string): Promise<string[]> {
  const text = await metrics.registry.metrics()
  return text.split('\n').filter((line) => line.startsWith(name))
}

describe('the metrics', () => {
  it('show the connections of a pool: in use, idle, and waited for', async () => {
    const metrics = createMetrics()
    watchPools(metrics, { api: { totalCount: 5, idleCount: 2, waitingCount: 7 } })
    expect(await linesOf(metrics, 'payonce_pool_connections{')).toEqual([
      'payonce_pool_connections{pool="api",state="used"} 3',
      'payonce_pool_connections{pool="api",state="idle"} 2',
      'payonce_pool_connections{pool="api",state="waiting"} 7',
    ])
  })

  it('show the pools of an API and of a worker that share one process', async () => {
    const metrics = createMetrics()
    const idle = { totalCount: 1, idleCount: 1, waitingCount: 0 }
    watchPools(metrics, { api: idle, accept: idle })
    watchPools(metrics, { worker: idle })
    const text = (await linesOf(metrics, 'payonce_pool_connections{')).join('\n')
    for (const pool of ['api', 'accept', 'worker']) expect(text).toContain(`pool="${pool}"`)
  })

  it('show a value that is asked for at each scrape', async () => {
    const metrics = createMetrics()
    let value = 3
    watchValue(metrics, { name: 'payonce_test', help: 'a test', read: () => value })
    expect(await linesOf(metrics, 'payonce_test ')).toEqual(['payonce_test 3'])
    value = 4
    expect(await linesOf(metrics, 'payonce_test ')).toEqual(['payonce_test 4'])
  })

  it('are told also while one value cannot be', async () => {
    const metrics = createMetrics()
    const outage = () => Promise.reject(new Error('Connection terminated'))
    watchValue(metrics, { name: 'payonce_test', help: 'a test', read: outage })
    expect(await linesOf(metrics, 'payonce_transfers_accepted_total')).not.toEqual([])
  })
})
