import { Hono } from 'hono'
import { rotateDefaultSecret } from '@payonce/core/webhooks/secret'
import { readOptionalJsonBody } from '../json-body.ts'
import { noQuery, secretRotation } from '../schemas.ts'
import { validateBody, validateQuery } from '../validate.ts'
import type { Deps, Env } from '../deps.ts'

/** The secret that signs what goes to the `callback_url`s of a tenant's requests. */
export function webhookSecretRoutes({ pool, newId }: Pick<Deps, 'pool' | 'newId'>): Hono<Env> {
  const routes = new Hono<Env>()

  routes.post('/', async function makeDefaultSecret(c) {
    validateQuery(noQuery, c.req.queries())
    const sent = validateBody(secretRotation, await readOptionalJsonBody(c))
    const { tenantId } = c.var.owner
    const overlapMs = sent.overlap_seconds * 1_000
    const secret = await rotateDefaultSecret({ pool, newId }, tenantId, overlapMs)
    return c.json({ object: 'webhook_secret', secret }, 201)
  })

  return routes
}
