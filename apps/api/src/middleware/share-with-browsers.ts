import type { Context, MiddlewareHandler } from 'hono'
import type { Deps, Env } from '../deps.ts'

/** What a script may read of an answer from another origin, besides its body. */
const exposedHeaders = [
  'ETag',
  'Idempotent-Replayed',
  'Location',
  'Payonce-Status',
  'Preference-Applied',
  'request-id',
  'Retry-After',
  'Link',
].join(', ')

const preflightHeaders = {
  'access-control-allow-methods': 'GET, HEAD, POST, PATCH, DELETE',
  'access-control-allow-headers':
    'Authorization, Content-Type, Idempotency-Key, If-None-Match, Prefer',
  // 2 h: browsers remember it for no longer.
  'access-control-max-age': '7200',
}

/**
 * Lets scripts of other origins use the API (CORS, Fetch standard section 3.2). That is safe for any
 * origin, since a browser adds no credential by itself: who has no API key gets nothing. A preflight
 * carries no key, so it is answered before anybody asks for one. Who is no browser pays nothing.
 */
export function shareWithBrowsers({
  corsOrigins,
}: Pick<Deps, 'corsOrigins'>): MiddlewareHandler<Env> {
  const isAnyAllowed = corsOrigins.includes('*')

  return async function allowOtherOrigins(c, next) {
    const origin = c.req.header('origin')
    if (origin === undefined || !(isAnyAllowed || corsOrigins.includes(origin))) return next()
    if (isPreflight(c)) c.res = c.body(null, 204, preflightHeaders)
    else await next()
    // No `Vary`: what depends on the origin here is `no-store`, and kept by no cache.
    c.header('access-control-allow-origin', isAnyAllowed ? '*' : origin)
    c.header('access-control-expose-headers', exposedHeaders)
  }
}

function isPreflight({ req }: Context): boolean {
  return req.method === 'OPTIONS' && req.header('access-control-request-method') !== undefined
}
