import type { Queryable, Tx } from '../db/client.ts'

/** A key that was used, with the request and the resource that it is bound to for ever. */
export type KnownKey = {
  resource: 'transfer' | 'batch' | 'account' | 'endpoint'
  resourceId: string
  fingerprint: Buffer
  acceptedAt: Date
}

/** A lock on the key was held for longer than a client should wait: the same request may be sent again. */
export class KeyInFlightError extends Error {
  override name = 'KeyInFlightError'
}

/** What is known of a key, or undefined where nobody has used it. */
export async function findKey(
  db: Queryable,
  tenantId: string,
  idempotencyKey: string,
): Promise<KnownKey | undefined> {
  const [known] = await readKeys(db, [{ tenantId, idempotencyKey }])
  return known
}

/** Whether a request is the one that its key was first used for. */
export function matches(known: KnownKey, fingerprint: Buffer): boolean {
  return known.fingerprint.equals(fingerprint)
}

/**
 * Binds a key to a resource that is made in the same transaction. Returns undefined where the key
 * was free, else what it is bound to: then the caller must make nothing.
 */
export async function bindKey(
  tx: Tx,
  binding: { tenantId: string; idempotencyKey: string } & Omit<KnownKey, 'acceptedAt'>,
): Promise<KnownKey | undefined> {
  const { tenantId, idempotencyKey, fingerprint, resource, resourceId } = binding
  const { rowCount } = await tx.query(
    `INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                   accepted_at)
     VALUES ($1, $2, $3, $4, $5, date_trunc('milliseconds', now()))
     ON CONFLICT ON CONSTRAINT idempotency_keys_primary DO NOTHING`,
    [tenantId, idempotencyKey, fingerprint, resource, resourceId],
  )
  if (rowCount === 1) return undefined
  // A second statement: the snapshot of the first may not see the row that it waited for.
  const known = await findKey(tx, tenantId, idempotencyKey)
  if (known === undefined) throw new Error('a key that conflicted is gone')
  return known
}

/** What is known of several keys, in their order. */
export async function readKeys(
  db: Queryable,
  keys: readonly { tenantId: string; idempotencyKey: string }[],
): Promise<(KnownKey | undefined)[]> {
  if (keys.length === 0) return []
  const { rows } = await db.query<KeyRow & { position: bigint }>(
    `SELECT wanted.position, known.resource, known.resource_id, known.fingerprint, known.accepted_at
       FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY
              AS wanted (tenant_id, idempotency_key, position)
      CROSS JOIN LATERAL (
        SELECT * FROM idempotency_keys
         WHERE tenant_id = wanted.tenant_id AND idempotency_key = wanted.idempotency_key
         LIMIT 1
      ) AS known`,
    [keys.map(({ tenantId }) => tenantId), keys.map(({ idempotencyKey }) => idempotencyKey)],
  )
  const found = new Map(rows.map((row) => [Number(row.position) - 1, toKnownKey(row)]))
  return keys.map((_, index) => found.get(index))
}

type KeyRow = {
  resource: KnownKey['resource']
  resource_id: string
  fingerprint: Buffer
  accepted_at: Date
}

function toKnownKey(row: KeyRow): KnownKey {
  return {
    resource: row.resource,
    resourceId: row.resource_id,
    fingerprint: row.fingerprint,
    acceptedAt: row.accepted_at,
  }
}
