import { createHash, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import {
  findApiKeyOwner,
  isWellFormedApiKey,
  type ApiKeyOwner,
  type ApiKeyScope,
} from '@payonce/core/tenants/api-key'
import { Problem } from '../problem.ts'
import type { MiddlewareHandler } from 'hono'
import type { Deps, Env } from '../deps.ts'

/** 5 s: so long may a revoked key still be honoured by a process that has just used it. */
const rememberedMs = 5_000

/**
 * Finds out whose key a request carries. Whatever is wrong with the key, the answer is the same, so
 * that it tells nobody which keys exist.
 */
export function authenticate({ pool }: Pick<Deps, 'pool'>): MiddlewareHandler<Env> {
  const owners = new LRUCache<string, ApiKeyOwner>({ max: 10_000, ttl: rememberedMs })

  async function ownerOf(key: string): Promise<ApiKeyOwner | undefined> {
    const name = createHash('sha256').update(key).digest('base64')
    const remembered = owners.get(name)
    if (remembered !== undefined) return remembered
    const owner = await findApiKeyOwner(pool, key)
    if (owner !== undefined) owners.set(name, owner)
    return owner
  }

  return async function requireApiKey(c, next) {
    const key = bearerToken(c.req.header('authorization'))
    const owner = key !== undefined && isWellFormedApiKey(key) ? await ownerOf(key) : undefined
    if (owner === undefined) throw unauthorized()
    requireScope(owner, c.req.method)
    c.set('owner', owner)
    await next()
  }
}

/** As `authenticate`, for the operator's pages: a token that is set is the only one that opens them. */
export function authenticateOperator(
  deps: Pick<Deps, 'pool' | 'metricsToken'>,
): MiddlewareHandler<Env> {
  const { metricsToken } = deps
  if (metricsToken === undefined) return authenticate(deps)
  return async function requireOperatorToken(c, next) {
    const token = bearerToken(c.req.header('authorization'))
    if (token === undefined || !isSame(token, metricsToken)) throw unauthorized()
    await next()
  }
}

function requireScope(owner: ApiKeyOwner, method: string): void {
  const scope: ApiKeyScope = method === 'GET' || method === 'HEAD' ? 'read' : 'write'
  if (owner.scopes.includes(scope)) return
  throw new Problem('insufficient_scope', `Use an API key with the scope ${scope}.`)
}

function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +([^\s,]+)$/i.exec(header ?? '')?.[1]
}

function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

function unauthorized(): Problem {
  return new Problem('unauthorized', 'Send a valid API key as Authorization: Bearer po_….', {
    headers: { 'www-authenticate': 'Bearer' },
  })
}
