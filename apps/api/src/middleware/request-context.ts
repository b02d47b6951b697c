import { routePath } from 'hono/route'
import { encodeId } from '@payonce/core/ids'
import type { MiddlewareHandler } from 'hono'
import type { Deps, Env } from '../deps.ts'

/**
 * Gives each request an id, which stands on its answer and on every log line about it; logs and
 * measures the request when it has been answered.
 */
export function requestContext(deps: Deps): MiddlewareHandler<Env> {
  return async function giveRequestContext(c, next) {
    const startedAt = performance.now()
    const requestId = encodeId('request', deps.newId())
    const log = deps.log.child({ requestId })
    c.set('requestId', requestId)
    c.set('log', log)
    await next()
    c.header('request-id', requestId)
    if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
    if (deps.isStopping()) c.header('connection', 'close')
    const durationMs = performance.now() - startedAt
    const route = routePath(c, -1)
    deps.metrics.httpDuration.observe(
      { method: c.req.method, route, status: c.res.status },
      durationMs / 1_000,
    )
    log.debug(
      { method: c.req.method, route, status: c.res.status, durationMs: Math.round(durationMs) },
      'request answered',
    )
  }
}
