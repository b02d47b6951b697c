import { Hono, type Context } from 'hono'
import { decodeId, type EndpointRef } from '@payonce/core/ids'
import {
  createEndpoint,
  deleteEndpoint,
  findEndpoint,
  listEndpoints,
  MAX_ENDPOINTS,
  rotateEndpointSecret,
  testEndpoint,
  updateEndpoint,
  type CreatedEndpoint,
  type Endpoint,
  type NewEndpoint,
} from '@payonce/core/webhooks/endpoint'
import {
  cancelRecovery,
  createRecovery,
  findRecovery,
  type Recovery,
} from '@payonce/core/webhooks/recovery'
import { decodeCursor, encodeCursor, idPosition } from '../cursor.ts'
import { keyReused, markReplay, readCreationKey } from '../idempotency-key.ts'
import { readJsonBody, readOptionalJsonBody } from '../json-body.ts'
import { Problem } from '../problem.ts'
import {
  emptyBody,
  endpointChange,
  keyedQuery,
  newEndpoint,
  newRecovery,
  noQuery,
  pageQuery,
  secretRotation,
} from '../schemas.ts'
import { validateBody, validateQuery } from '../validate.ts'
import { viewEndpoint, viewList, viewRecovery } from '../views.ts'
import { refusalOfUrl } from '../webhook-url.ts'
import type { Deps, Env } from '../deps.ts'

export function webhookEndpointRoutes(
  deps: Pick<Deps, 'pool' | 'newId' | 'metrics' | 'replayCounter' | 'allowedNetworks'>,
): Hono<Env> {
  const { pool, newId, allowedNetworks } = deps
  const routes = new Hono<Env>()

  routes.post('/', async function openEndpoint(c) {
    validateQuery(keyedQuery, c.req.queries())
    const body = await readJsonBody(c)
    const request = validateBody(newEndpoint, body)
    const key = await readCreationKey(c, pool, { route: '/v1/webhook-endpoints', body })
    const endpoint: NewEndpoint = {
      tenantId: c.var.owner.tenantId,
      id: newId(),
      url: request.url,
      description: request.description,
      eventTypes: request.event_types,
      rateLimit: request.rate_limit,
      hasEd25519: request.ed25519,
    }
    requireAllowed(request.url)
    const creation = await createEndpoint({ pool, newId }, endpoint, key)
    if (creation.result === 'mismatched') throw keyReused(creation.known)
    if (creation.result === 'too_many') {
      throw new Problem('too_many_endpoints', `Delete one first: ${MAX_ENDPOINTS} are allowed.`)
    }
    if (creation.result === 'replayed' && key !== undefined) markReplay(c, deps, key.idempotencyKey)
    const opened = viewEndpoint(openedEndpoint(endpoint, creation))
    c.header('location', `/v1/webhook-endpoints/${opened.id}`)
    return c.json({ ...opened, secret: creation.secret }, 201)
  })

  routes.get('/', async function listEndpointsOfTenant(c) {
    const { limit, cursor } = validateQuery(pageQuery, c.req.queries())
    const { tenantId } = c.var.owner
    const scope = { list: 'webhook-endpoints', tenantId }
    const beforeId = cursor === undefined ? undefined : idPosition(decodeCursor(scope, cursor))
    const found = await listEndpoints(pool, { tenantId, beforeId, limit: limit + 1 })
    const shown = found.slice(0, limit)
    const last = found.length > limit ? shown.at(-1) : undefined
    return c.json(viewList(shown.map(viewEndpoint), last && encodeCursor(scope, [last.id])))
  })

  routes.get('/:id', async function readEndpoint(c) {
    validateQuery(noQuery, c.req.queries())
    return c.json(viewEndpoint(await requireEndpoint(c)))
  })

  routes.patch('/:id', async function changeEndpoint(c) {
    validateQuery(noQuery, c.req.queries())
    const ref = endpointRefIn(c)
    const change = validateBody(endpointChange, await readJsonBody(c))
    if (change.url !== undefined) requireAllowed(change.url)
    const changed = await updateEndpoint({ pool, newId }, ref, {
      url: change.url,
      description: change.description,
      eventTypes: change.event_types,
      rateLimit: change.rate_limit,
      status: change.status,
      hasEd25519: change.ed25519,
    })
    if (changed === undefined) throw noSuchEndpoint()
    return c.json(viewEndpoint(changed))
  })

  routes.delete('/:id', async function removeEndpoint(c) {
    validateQuery(noQuery, c.req.queries())
    if (!(await deleteEndpoint(pool, endpointRefIn(c)))) throw noSuchEndpoint()
    return c.body(null, 204)
  })

  routes.post('/:id/rotate-secret', async function rotateSecret(c) {
    validateQuery(noQuery, c.req.queries())
    const ref = endpointRefIn(c)
    const sent = validateBody(secretRotation, await readOptionalJsonBody(c))
    const overlapMs = sent.overlap_seconds * 1_000
    const rotated = await rotateEndpointSecret({ pool, newId }, ref, overlapMs)
    if (rotated === undefined) throw noSuchEndpoint()
    return c.json({ ...viewEndpoint(rotated.endpoint), secret: rotated.secret })
  })

  routes.post('/:id/test', async function sendTest(c) {
    validateQuery(noQuery, c.req.queries())
    const ref = endpointRefIn(c)
    validateBody(emptyBody, await readOptionalJsonBody(c))
    if (!(await testEndpoint(pool, ref))) throw noSuchEndpoint()
    return c.json(viewEndpoint(await requireEndpoint(c)), 202)
  })

  routes.post('/:id/recoveries', async function recover(c) {
    validateQuery(noQuery, c.req.queries())
    const ref = endpointRefIn(c)
    const { since } = validateBody(newRecovery, await readJsonBody(c))
    await requireEndpoint(c)
    const recovery = viewRecovery(await createRecovery(pool, { ...ref, id: newId(), since }))
    c.header('location', `${c.req.path}/${recovery.id}`)
    return c.json(recovery, 202)
  })

  routes.get('/:id/recoveries/:recovery', async function readRecovery(c) {
    validateQuery(noQuery, c.req.queries())
    return c.json(viewRecovery(ofEndpoint(c, await findRecovery(pool, recoveryRefIn(c)))))
  })

  routes.post('/:id/recoveries/:recovery/cancel', async function endRecovery(c) {
    validateQuery(noQuery, c.req.queries())
    validateBody(emptyBody, await readOptionalJsonBody(c))
    ofEndpoint(c, await findRecovery(pool, recoveryRefIn(c)))
    return c.json(viewRecovery(ofEndpoint(c, await cancelRecovery(pool, recoveryRefIn(c)))))
  })

  function requireAllowed(url: string): void {
    const refusal = refusalOfUrl(url, allowedNetworks, '/url')
    if (refusal !== undefined) throw refusal
  }

  async function requireEndpoint(c: Context<Env>): Promise<Endpoint> {
    const endpoint = await findEndpoint(pool, endpointRefIn(c))
    if (endpoint === undefined) throw noSuchEndpoint()
    return endpoint
  }

  return routes
}

/** As it is when it has just been opened: rendered from the request, so that a replay is the same. */
function openedEndpoint(endpoint: NewEndpoint, created: CreatedEndpoint): Endpoint {
  return {
    ...endpoint,
    id: created.id,
    createdAt: created.createdAt,
    publicKey: created.publicKey,
    status: 'enabled',
    disabledReason: null,
    disabledAt: null,
    health: {
      failures: 0,
      failingSince: null,
      probeAt: null,
      lastSuccessAt: null,
      lastFailureAt: null,
    },
  }
}

function endpointRefIn(c: Context<Env>): EndpointRef {
  const endpointId = decodeId('endpoint', c.req.param('id') ?? '')
  if (endpointId === undefined) throw noSuchEndpoint()
  return { tenantId: c.var.owner.tenantId, endpointId }
}

function recoveryRefIn(c: Context<Env>): { tenantId: string; id: string } {
  const id = decodeId('recovery', c.req.param('recovery') ?? '')
  if (id === undefined) throw noSuchRecovery()
  return { tenantId: c.var.owner.tenantId, id }
}

function ofEndpoint(c: Context<Env>, recovery: Recovery | undefined): Recovery {
  if (recovery?.endpointId !== endpointRefIn(c).endpointId) throw noSuchRecovery()
  return recovery
}

function noSuchEndpoint(): Problem {
  return new Problem('not_found', 'There is no such endpoint.')
}

function noSuchRecovery(): Problem {
  return new Problem('not_found', 'There is no such recovery.')
}
