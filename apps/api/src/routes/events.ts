import { Hono } from 'hono'
import { eventIdOf, positionOf } from '@payonce/core/events/event'
import { findEvent, readFeed } from '@payonce/core/events/feed'
import { decodeId } from '@payonce/core/ids'
import { renderEvents } from '@payonce/core/webhooks/payload'
import { Problem } from '../problem.ts'
import { eventQuery, noQuery } from '../schemas.ts'
import { validateQuery } from '../validate.ts'
import { viewList } from '../views.ts'
import type { Deps, Env } from '../deps.ts'

/**
 * The feed: every event in one order for ever. Whoever follows it with `after` misses none, since it
 * shows only what nothing can come before any more.
 */
export function eventRoutes({ pool }: Pick<Deps, 'pool'>): Hono<Env> {
  const routes = new Hono<Env>()

  routes.get('/', async function readEvents(c) {
    const { after, type, limit } = validateQuery(eventQuery, c.req.queries())
    const found = await readFeed(pool, {
      tenantId: c.var.owner.tenantId,
      after: after === undefined ? 0n : positionOf(after),
      type,
      limit: limit + 1,
    })
    const data = await renderEvents(pool, found.slice(0, limit))
    const next = found.length > limit ? data.at(-1)?.id : undefined
    return c.json(viewList(data, next))
  })

  routes.get('/:id', async function readEvent(c) {
    validateQuery(noQuery, c.req.queries())
    const id = decodeId('event', c.req.param('id'))
    const { tenantId } = c.var.owner
    const event = id && (await findEvent(pool, { tenantId, position: positionOf(id) }))
    if (!event || eventIdOf(event) !== id) {
      throw new Problem('not_found', 'There is no such event.')
    }
    const [view] = await renderEvents(pool, [event])
    return c.json(view ?? null)
  })

  return routes
}
