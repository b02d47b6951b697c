import { inTransaction } from '../db/transaction.ts'
import { isLockTimeout } from '../db/transient.ts'
import { recordEvents, type EventType } from '../events/event.ts'
import { bindKey, KeyInFlightError, matches, type KnownKey } from '../idempotency/known-key.ts'
import { endSecrets, rotateSecret } from './secret.ts'
import { verificationKeyOf, type SecretScheme, type SigningSecret } from './signature.ts'
import type { Pool, Queryable, Tx } from '../db/client.ts'
import type { EndpointRef, NewId } from '../ids.ts'

export type DisabledReason = 'requested' | 'failing' | 'gone'

/** Where a tenant wants its events sent. */
export type Endpoint = {
  tenantId: string
  id: string
  url: string
  description: string | null
  /** Null for every type. */
  eventTypes: string[] | null
  /** Attempts begun within a second, at most. */
  rateLimit: number
  status: 'enabled' | 'disabled'
  disabledReason: DisabledReason | null
  disabledAt: Date | null
  createdAt: Date
  /** The public ed25519 key that its deliveries can be verified with besides; null without one. */
  publicKey: string | null
  health: EndpointHealth
}

export type EndpointHealth = {
  /** Failed attempts since the last success. */
  failures: number
  failingSince: Date | null
  /** Nothing is sent before this, but one probe then; null while all is well. */
  probeAt: Date | null
  lastSuccessAt: Date | null
  lastFailureAt: Date | null
}

export type NewEndpoint = Pick<
  Endpoint,
  'tenantId' | 'id' | 'url' | 'description' | 'eventTypes' | 'rateLimit'
> & {
  /** Whether its deliveries are signed by ed25519 besides. */
  hasEd25519: boolean
}

export type EndpointCreation =
  | ({ result: 'created' | 'replayed' } & CreatedEndpoint)
  /** The key belongs to another request. */
  | { result: 'mismatched'; known: KnownKey }
  | { result: 'too_many' }

/** What the answer to a creation tells that its request does not. */
export type CreatedEndpoint = {
  id: string
  createdAt: Date
  /** Null in the answer to a replay, once another secret has taken over. */
  secret: string | null
  publicKey: string | null
}

/** 50 endpoints a tenant: each event is a row for each of them. */
export const MAX_ENDPOINTS = 50

/** 100 attempts begun within a second, where nobody has said otherwise. */
export const DEFAULT_RATE_LIMIT = 100

/** Ends the transaction without a trace. */
class TooManyEndpoints extends Error {
  override name = 'TooManyEndpoints'
}

/**
 * Sets up an endpoint with its secret, under a key if there is one: then the same request makes no
 * second one. Throws `KeyInFlightError` where another request has held the key for 2 s, else only for
 * outages.
 */
export async function createEndpoint(
  { pool, newId }: { pool: Pool; newId: NewId },
  endpoint: NewEndpoint,
  key?: { idempotencyKey: string; fingerprint: Buffer },
): Promise<EndpointCreation> {
  const { tenantId, id } = endpoint
  try {
    return await inTransaction(pool, { lockTimeoutMs: 2_000 }, async (tx) => {
      const binding = { tenantId, resource: 'endpoint', resourceId: id } as const
      const known = key && (await bindKey(tx, { ...key, ...binding }))
      if (known !== undefined) return replay(tx, known, { tenantId, ...key })
      await insertEndpoint(tx, endpoint)
      const owner = { tenantId, endpointId: id }
      const options = { overlapMs: 0, newId }
      const secret = await rotateSecret(tx, owner, { ...options, scheme: 'v1' })
      if (endpoint.hasEd25519) await rotateSecret(tx, owner, { ...options, scheme: 'v1a' })
      const { createdAt, publicKey } = await requireEndpoint(tx, owner)
      return { result: 'created', id, createdAt, secret, publicKey }
    })
  } catch (error) {
    if (error instanceof TooManyEndpoints) return { result: 'too_many' }
    if (key !== undefined && isLockTimeout(error)) {
      throw new KeyInFlightError('the key is in flight', { cause: error })
    }
    throw error
  }
}

/** Whoever lost the first answer has lost the secret with it; a later one belongs to another answer. */
async function replay(
  tx: Tx,
  known: KnownKey,
  { tenantId, fingerprint }: { tenantId: string; fingerprint?: Buffer },
): Promise<EndpointCreation> {
  if (fingerprint === undefined || !matches(known, fingerprint)) {
    return { result: 'mismatched', known }
  }
  const id = known.resourceId
  const { rows } = await tx.query<SigningSecret>(
    `SELECT scheme, key FROM webhook_secrets WHERE tenant_id = $1 AND endpoint_id = $2`,
    [tenantId, id],
  )
  const onlyOf = (scheme: SecretScheme) => {
    const [first, ...later] = rows.filter((secret) => secret.scheme === scheme)
    return first === undefined || later.length > 0 ? null : verificationKeyOf(first)
  }
  const createdAt = known.acceptedAt
  return { result: 'replayed', id, createdAt, secret: onlyOf('v1'), publicKey: onlyOf('v1a') }
}

/** The lock of the tenant keeps two requests at once from passing the limit together. */
async function insertEndpoint(tx: Tx, endpoint: NewEndpoint): Promise<void> {
  const { tenantId } = endpoint
  await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('endpoints/' || $1, 0))`, [
    tenantId,
  ])
  const { rowCount } = await tx.query(
    `INSERT INTO webhook_endpoints (tenant_id, id, kind, url, description, event_types, rate_limit,
                                    status, created_at)
     SELECT $1, $2, 'endpoint', $3, $4, $5, $6, 'enabled', date_trunc('milliseconds', now())
      WHERE (SELECT count(*) FROM webhook_endpoints
              WHERE tenant_id = $1 AND kind = 'endpoint' AND status <> 'deleted') < $7`,
    [
      tenantId,
      endpoint.id,
      endpoint.url,
      endpoint.description,
      endpoint.eventTypes,
      endpoint.rateLimit,
      MAX_ENDPOINTS,
    ],
  )
  if (rowCount === 0) throw new TooManyEndpoints()
}

type EndpointRow = Omit<Endpoint, 'publicKey' | 'health'> &
  EndpointHealth & { ed25519Key: Buffer | null }

const endpointColumns = `tenant_id AS "tenantId", id, url, description, event_types AS "eventTypes",
  rate_limit AS "rateLimit", status, disabled_reason AS "disabledReason",
  disabled_at AS "disabledAt", created_at AS "createdAt", failures, failing_since AS "failingSince",
  probe_at AS "probeAt", last_success_at AS "lastSuccessAt", last_failure_at AS "lastFailureAt",
  (SELECT key FROM webhook_secrets
    WHERE webhook_secrets.tenant_id = webhook_endpoints.tenant_id
      AND webhook_secrets.endpoint_id = webhook_endpoints.id
      AND scheme = 'v1a' AND expires_at IS NULL LIMIT 1) AS "ed25519Key"`

function toEndpoint(row: EndpointRow): Endpoint {
  const { ed25519Key, failures, failingSince, probeAt, lastSuccessAt, lastFailureAt, ...endpoint } =
    row
  return {
    ...endpoint,
    publicKey: ed25519Key === null ? null : verificationKeyOf({ scheme: 'v1a', key: ed25519Key }),
    health: { failures, failingSince, probeAt, lastSuccessAt, lastFailureAt },
  }
}

/** A tenant's endpoint, or undefined where it has none such or has deleted it. */
export async function findEndpoint(
  db: Queryable,
  ref: EndpointRef,
  lock: '' | 'FOR NO KEY UPDATE' = '',
): Promise<Endpoint | undefined> {
  const { rows } = await db.query<EndpointRow>(
    `SELECT ${endpointColumns} FROM webhook_endpoints
      WHERE tenant_id = $1 AND id = $2 AND kind = 'endpoint' AND status <> 'deleted'
      ${lock}`,
    [ref.tenantId, ref.endpointId],
  )
  return rows[0] && toEndpoint(rows[0])
}

async function requireEndpoint(tx: Tx, ref: EndpointRef): Promise<Endpoint> {
  const endpoint = await findEndpoint(tx, ref)
  if (endpoint === undefined) throw new Error('an endpoint vanished in its own transaction')
  return endpoint
}

/** A tenant's endpoints, newest first. */
export async function listEndpoints(
  db: Queryable,
  range: { tenantId: string; beforeId?: string | undefined; limit: number },
): Promise<Endpoint[]> {
  const { rows } = await db.query<EndpointRow>(
    `SELECT ${endpointColumns} FROM webhook_endpoints
      WHERE tenant_id = $1 AND kind = 'endpoint' AND status <> 'deleted'
        AND ($2::uuid IS NULL OR id < $2)
      ORDER BY id DESC
      LIMIT $3`,
    [range.tenantId, range.beforeId ?? null, range.limit],
  )
  return rows.map(toEndpoint)
}

export type EndpointChange = {
  url?: string | undefined
  description?: string | null | undefined
  eventTypes?: string[] | null | undefined
  rateLimit?: number | undefined
  status?: 'enabled' | 'disabled' | undefined
  hasEd25519?: boolean | undefined
}

/**
 * Changes an endpoint. Enabling it, or another URL, forgets its failures: what waits is sent at once.
 * Whoever sends to it now loses it with another URL or status, so that this holds from then on.
 * Undefined where the tenant has none such.
 */
export function updateEndpoint(
  { pool, newId }: { pool: Pool; newId: NewId },
  ref: EndpointRef,
  change: EndpointChange,
): Promise<Endpoint | undefined> {
  return inTransaction(pool, {}, async (tx) => {
    const before = await findEndpoint(tx, ref, 'FOR NO KEY UPDATE')
    if (before === undefined) return undefined
    const status = change.status ?? before.status
    const isFresh =
      (status === 'enabled' && before.status === 'disabled') ||
      (change.url !== undefined && change.url !== before.url)
    await tx.query(
      `UPDATE webhook_endpoints
          SET url = $3, description = $4, event_types = $5, rate_limit = $6, status = $7,
              disabled_reason = CASE WHEN $7 = 'disabled'
                THEN coalesce(disabled_reason, 'requested') END,
              disabled_at = CASE WHEN $7 = 'disabled'
                THEN coalesce(disabled_at, date_trunc('milliseconds', clock_timestamp())) END,
              failures = CASE WHEN $8 THEN 0 ELSE failures END,
              failing_since = CASE WHEN $8 THEN NULL ELSE failing_since END,
              probe_at = CASE WHEN $8 THEN NULL ELSE probe_at END,
              holder = CASE WHEN $9 THEN NULL ELSE holder END,
              lease_expires_at = CASE WHEN $9 THEN NULL ELSE lease_expires_at END
        WHERE tenant_id = $1 AND id = $2`,
      [
        ref.tenantId,
        ref.endpointId,
        change.url ?? before.url,
        change.description === undefined ? before.description : change.description,
        change.eventTypes === undefined ? before.eventTypes : change.eventTypes,
        change.rateLimit ?? before.rateLimit,
        status,
        isFresh,
        isFresh || status !== before.status,
      ],
    )
    await changeEd25519(tx, before, change.hasEd25519, newId)
    return requireEndpoint(tx, ref)
  })
}

async function changeEd25519(
  tx: Tx,
  { tenantId, id, publicKey }: Endpoint,
  isWanted: boolean | undefined,
  newId: NewId,
): Promise<void> {
  const owner = { tenantId, endpointId: id }
  if (isWanted === true && publicKey === null) {
    await rotateSecret(tx, owner, { scheme: 'v1a', overlapMs: 0, newId })
  }
  if (isWanted === false && publicKey !== null)
    await endSecrets(tx, owner, { scheme: 'v1a', afterMs: 0 })
}

/** Deletes an endpoint: nothing more is sent to it, and its deliveries stay in the log. */
export async function deleteEndpoint(db: Queryable, ref: EndpointRef): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE webhook_endpoints
        SET status = 'deleted', disabled_reason = NULL, disabled_at = NULL,
            holder = NULL, lease_expires_at = NULL
      WHERE tenant_id = $1 AND id = $2 AND kind = 'endpoint' AND status <> 'deleted'`,
    [ref.tenantId, ref.endpointId],
  )
  return rowCount === 1
}

/** Gives an endpoint a new secret. Undefined where the tenant has none such. */
export function rotateEndpointSecret(
  { pool, newId }: { pool: Pool; newId: NewId },
  ref: EndpointRef,
  overlapMs: number,
): Promise<{ endpoint: Endpoint; secret: string } | undefined> {
  return inTransaction(pool, {}, async (tx) => {
    const before = await findEndpoint(tx, ref, 'FOR NO KEY UPDATE')
    if (before === undefined) return undefined
    const secret = await rotateSecret(tx, ref, { scheme: 'v1', overlapMs, newId })
    if (before.publicKey !== null) {
      await rotateSecret(tx, ref, { scheme: 'v1a', overlapMs, newId })
    }
    return { endpoint: await requireEndpoint(tx, ref), secret }
  })
}

/** Records an event that is sent to this endpoint alone, so that a person can see it arrive. */
export function testEndpoint(pool: Pool, ref: EndpointRef): Promise<boolean> {
  return inTransaction(pool, {}, async (tx) => {
    const endpoint = await findEndpoint(tx, ref, 'FOR NO KEY UPDATE')
    if (endpoint === undefined) return false
    await recordOf(tx, 'webhook_endpoint.tested', endpoint)
    return true
  })
}

/**
 * Sends nothing more to an endpoint until somebody enables it, and says so by one event, however
 * many processes find it out. What is due stays due. Returns whether it was enabled until now.
 */
export function disableEndpoint(
  pool: Pool,
  ref: EndpointRef,
  reason: DisabledReason,
): Promise<boolean> {
  return inTransaction(pool, {}, async (tx) => {
    const { rowCount } = await tx.query(
      `UPDATE webhook_endpoints
          SET status = 'disabled', disabled_reason = $3,
              disabled_at = date_trunc('milliseconds', clock_timestamp())
        WHERE tenant_id = $1 AND id = $2 AND kind = 'endpoint' AND status = 'enabled'`,
      [ref.tenantId, ref.endpointId, reason],
    )
    if (rowCount !== 1) return false
    await recordOf(tx, 'webhook_endpoint.disabled', await requireEndpoint(tx, ref))
    return true
  })
}

/** What an event keeps of an endpoint. */
export type EndpointFacts = {
  url: string
  description: string | null
  status: Endpoint['status']
  disabled_reason: DisabledReason | null
  failing_since: string | null
}

async function recordOf(
  tx: Tx,
  type: EventType & `webhook_endpoint.${string}`,
  endpoint: Endpoint,
): Promise<void> {
  const { tenantId, id } = endpoint
  const { rows } = await tx.query<{ sequence: number; createdAt: Date }>(
    `UPDATE webhook_endpoints SET event_count = event_count + 1
      WHERE tenant_id = $1 AND id = $2
      RETURNING event_count AS sequence,
                date_trunc('milliseconds', clock_timestamp()) AS "createdAt"`,
    [tenantId, id],
  )
  const row = rows[0]
  if (row === undefined) throw new Error('an endpoint vanished under its lock')
  const state: EndpointFacts = {
    url: endpoint.url,
    description: endpoint.description,
    status: endpoint.status,
    disabled_reason: endpoint.disabledReason,
    failing_since: endpoint.health.failingSince?.toISOString() ?? null,
  }
  const event = { tenantId, type, objectId: id, sequence: row.sequence }
  await recordEvents(
    tx,
    [{ ...event, state: JSON.stringify(state), callbackUrl: null }],
    row.createdAt,
  )
}
