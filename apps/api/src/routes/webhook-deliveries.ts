import { Hono, type Context } from 'hono'
import { positionOf } from '@payonce/core/events/event'
import { decodeId } from '@payonce/core/ids'
import {
  findDelivery,
  listDeliveries,
  resendDelivery,
  type Delivery,
} from '@payonce/core/webhooks/delivery'
import { decodeCursor, encodeCursor, idPosition } from '../cursor.ts'
import { readOptionalJsonBody } from '../json-body.ts'
import { Problem } from '../problem.ts'
import { deliveryQuery, emptyBody, noQuery } from '../schemas.ts'
import { validateBody, validateQuery } from '../validate.ts'
import { viewDelivery, viewList } from '../views.ts'
import type { Deps, Env } from '../deps.ts'

/** The log of what was sent, to whom, and what came of it. */
export function webhookDeliveryRoutes({ pool }: Pick<Deps, 'pool'>): Hono<Env> {
  const routes = new Hono<Env>()

  routes.get('/', async function listDeliveriesOfTenant(c) {
    const query = validateQuery(deliveryQuery, c.req.queries())
    const { tenantId } = c.var.owner
    const scope = { list: 'webhook-deliveries', tenantId }
    const { limit, cursor } = query
    const found = await listDeliveries(pool, {
      tenantId,
      status: query.status,
      endpointId: query.endpoint,
      eventPosition: query.event === undefined ? undefined : positionOf(query.event),
      createdAfter: query.created_after,
      createdBefore: query.created_before,
      beforeId: cursor === undefined ? undefined : idPosition(decodeCursor(scope, cursor)),
      limit: limit + 1,
    })
    const shown = found.slice(0, limit)
    const last = found.length > limit ? shown.at(-1) : undefined
    return c.json(viewList(shown.map(viewDelivery), last && encodeCursor(scope, [last.id])))
  })

  routes.get('/:id', async function readDelivery(c) {
    validateQuery(noQuery, c.req.queries())
    return c.json(viewDelivery(await requireDelivery(c)))
  })

  routes.post('/:id/resend', async function resend(c) {
    validateQuery(noQuery, c.req.queries())
    validateBody(emptyBody, await readOptionalJsonBody(c))
    const result = await resendDelivery(pool, deliveryRefIn(c))
    if (result === 'unknown') throw noSuchDelivery()
    if (result === 'endpoint_deleted') {
      throw new Problem('endpoint_deleted', 'Nothing is sent to an endpoint that was deleted.')
    }
    return c.json(viewDelivery(await requireDelivery(c)), 202)
  })

  async function requireDelivery(c: Context<Env>): Promise<Delivery> {
    const delivery = await findDelivery(pool, deliveryRefIn(c))
    if (delivery === undefined) throw noSuchDelivery()
    return delivery
  }

  return routes
}

function deliveryRefIn(c: Context<Env>): { tenantId: string; deliveryId: string } {
  const deliveryId = decodeId('delivery', c.req.param('id') ?? '')
  if (deliveryId === undefined) throw noSuchDelivery()
  return { tenantId: c.var.owner.tenantId, deliveryId }
}

function noSuchDelivery(): Problem {
  return new Problem('not_found', 'There is no such delivery.')
}
