import { newSecret, verificationKeyOf, type SecretScheme, type SigningSecret } from './signature.ts'
import { LRUCache } from 'lru-cache'
import type { Queryable, Tx } from '../db/client.ts'
import type { NewId } from '../ids.ts'

/** Whose deliveries a secret signs: an endpoint's, or those to the `callback_url`s of a tenant. */
export type SecretOwner = { tenantId: string; endpointId: string | null }

/** A secret as the database keeps it. Several sign at a time while a new one takes over. */
export type StoredSecret = SigningSecret & { expiresAt: Date | null }

/** The secrets that sign now, the newest first. */
export async function readSecrets(db: Queryable, owner: SecretOwner): Promise<StoredSecret[]> {
  const { rows } = await db.query<StoredSecret>(
    `SELECT scheme, key, expires_at AS "expiresAt" FROM webhook_secrets
      WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2
        AND (expires_at IS NULL OR expires_at > clock_timestamp())
      ORDER BY id DESC`,
    [owner.tenantId, owner.endpointId],
  )
  return rows
}

/**
 * Makes a new secret of a scheme the current one. Those of before sign besides it for so long, so
 * that a consumer can change over without losing anything. Returns what the consumer verifies with.
 */
export async function rotateSecret(
  tx: Tx,
  owner: SecretOwner,
  options: { scheme: SecretScheme; overlapMs: number; newId: NewId },
): Promise<string> {
  const { scheme, overlapMs, newId } = options
  await tx.query(
    `UPDATE webhook_secrets SET expires_at = clock_timestamp() + $4 * interval '1 ms'
      WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2 AND scheme = $3
        AND expires_at IS NULL`,
    [owner.tenantId, owner.endpointId, scheme, overlapMs],
  )
  const secret = newSecret(scheme)
  await tx.query(
    `INSERT INTO webhook_secrets (tenant_id, id, endpoint_id, scheme, key, created_at)
     VALUES ($1, $2, $3, $4, $5, date_trunc('milliseconds', clock_timestamp()))`,
    [owner.tenantId, newId(), owner.endpointId, scheme, secret.key],
  )
  return verificationKeyOf(secret)
}

/** Stops signing by a scheme at once. */
export async function removeSecrets(
  tx: Tx,
  owner: SecretOwner,
  scheme: SecretScheme,
): Promise<void> {
  await tx.query(
    `UPDATE webhook_secrets SET expires_at = clock_timestamp()
      WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2 AND scheme = $3
        AND (expires_at IS NULL OR expires_at > clock_timestamp())`,
    [owner.tenantId, owner.endpointId, scheme],
  )
}

/**
 * Tells whether a tenant has a default secret. A tenant that has one keeps one for ever, so a yes is
 * remembered and a no is asked again.
 */
export function createDefaultSecretCheck(db: Queryable): (tenantId: string) => Promise<boolean> {
  const known = new LRUCache<string, true>({ max: 10_000 })
  return async function hasDefaultSecret(tenantId) {
    if (known.has(tenantId)) return true
    const secrets = await readSecrets(db, { tenantId, endpointId: null })
    if (secrets.length > 0) known.set(tenantId, true)
    return secrets.length > 0
  }
}
