import { routePath } from 'hono/route'
import { encodeId } from '@payonce/core/ids'
import type { MiddlewareHandler } from 'hono'
import type { Deps, Env } from '../deps.ts'

/**
 * Gives each request an id, which stands on its answer and on every log line about it; logs and
 * measures the request when it has been answered. What stands on every answer is said before it is
 * made: an answer that is changed afterwards is copied and sent as a stream, at twice the price.
 */
export function requestContext(deps: Deps): MiddlewareHandler<Env> {
  return async function giveRequestContext(c, next) {
    const startedAt = performance.now()
    const requestId = encodeId('request', deps.newId())
    c.set('requestId', requestId)
    c.header('request-id', requestId)
    c.header('cache-control', 'no-store')
    await next()
    if (deps.isStopping()) c.header('connection', 'close')
    const durationMs = performance.now() - startedAt
    const route = routePath(c, -1)
    deps.metrics.httpDuration.observe(
      { method: c.req.method, route, status: c.res.status },
      durationMs / 1_000,
    )
    deps.log.debug(
      {
        requestId,
        method: c.req.method,
        route,
        status: c.res.status,
        durationMs: Math.round(durationMs),
      },
      'request answered',
    )
  }
}
