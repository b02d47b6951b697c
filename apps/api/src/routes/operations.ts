import { Hono } from 'hono'
import { readSweepState } from '@payonce/core/transfers/unsettled'
import { authenticateOperator } from '../middleware/authenticate.ts'
import type { Deps, Env } from '../deps.ts'

/** 2 s: a probe that waits longer tells its orchestrator less than a failure does. */
const probeTimeoutMs = 2_000

/** Whether the process lives, whether it can serve, and what it has measured. */
export function operationsRoutes(deps: Deps): Hono<Env> {
  const routes = new Hono<Env>()

  routes.get('/healthz', function tellHealth(c) {
    return c.json({ status: 'ok' })
  })

  /**
   * Ready means that requests can be accepted durably. An absent queue does not make it unready:
   * what is accepted meanwhile is rung by the sweep.
   */
  routes.get('/readyz', async function tellReadiness(c) {
    const [database, queue] = await Promise.all([
      probe(() => readSweepState(deps.pool)),
      probe(() => deps.queue.count()),
    ])
    const isReady = database && !deps.isStopping()
    const state = (isUp: boolean) => (isUp ? 'up' : 'down')
    return c.json(
      {
        status: isReady ? 'ready' : deps.isStopping() ? 'stopping' : 'not_ready',
        database: state(database),
        queue: state(queue),
        queue_backend: deps.queue.backend,
      },
      isReady ? 200 : 503,
    )
  })

  routes.get('/metrics', authenticateOperator(deps), async function tellMetrics(c) {
    const { registry } = deps.metrics
    return c.body(await registry.metrics(), 200, { 'content-type': registry.contentType })
  })

  return routes
}

async function probe(ask: () => Promise<unknown>): Promise<boolean> {
  const tooLate = new Promise<false>((resolve) => {
    setTimeout(() => resolve(false), probeTimeoutMs).unref()
  })
  return Promise.race([
    ask().then(
      () => true,
      () => false,
    ),
    tooLate,
  ])
}
