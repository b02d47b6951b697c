import { LRUCache } from 'lru-cache'
import { inTransaction } from '../db/transaction.ts'
import { newSecret, verificationKeyOf, type SecretScheme, type SigningSecret } from './signature.ts'
import type { Pool, Queryable, Tx } from '../db/client.ts'
import type { NewId } from '../ids.ts'

/** Whose deliveries a secret signs: an endpoint's, or those to the `callback_url`s of a tenant. */
export type SecretOwner = { tenantId: string; endpointId: string | null }

/** The secrets that sign now, the newest first: several at a time while a new one takes over. */
export async function readSecrets(db: Queryable, owner: SecretOwner): Promise<SigningSecret[]> {
  const { rows } = await db.query<SigningSecret>(
    `SELECT scheme, key FROM webhook_secrets
      WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2
        AND (expires_at IS NULL OR expires_at > clock_timestamp())
      ORDER BY id DESC`,
    [owner.tenantId, owner.endpointId],
  )
  return rows
}

/**
 * Makes a new secret of a scheme the current one. Those of before sign besides it for so long, and
 * none for longer, so that a consumer can change over without losing anything. Returns what the
 * consumer verifies with.
 */
export async function rotateSecret(
  tx: Tx,
  owner: SecretOwner,
  options: { scheme: SecretScheme; overlapMs: number; newId: NewId },
): Promise<string> {
  const { scheme, overlapMs, newId } = options
  await endSecrets(tx, owner, { scheme, afterMs: overlapMs })
  const secret = newSecret(scheme)
  await tx.query(
    `INSERT INTO webhook_secrets (tenant_id, id, endpoint_id, scheme, key, created_at)
     VALUES ($1, $2, $3, $4, $5, date_trunc('milliseconds', clock_timestamp()))`,
    [owner.tenantId, newId(), owner.endpointId, scheme, secret.key],
  )
  return verificationKeyOf(secret)
}

/** Makes or renews the secret that signs what goes to a tenant's `callback_url`s. */
export function rotateDefaultSecret(
  { pool, newId }: { pool: Pool; newId: NewId },
  tenantId: string,
  overlapMs: number,
): Promise<string> {
  const owner = { tenantId, endpointId: null }
  return inTransaction(pool, {}, async (tx) => {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('secret/' || $1, 0))`, [tenantId])
    return rotateSecret(tx, owner, { scheme: 'v1', overlapMs, newId })
  })
}

/** Stops signing by a scheme so much later, and no later than was said before. */
export async function endSecrets(
  tx: Tx,
  owner: SecretOwner,
  { scheme, afterMs }: { scheme: SecretScheme; afterMs: number },
): Promise<void> {
  await tx.query(
    `UPDATE webhook_secrets
        SET expires_at = least(expires_at, clock_timestamp() + $4 * interval '1 ms')
      WHERE tenant_id = $1 AND endpoint_id IS NOT DISTINCT FROM $2 AND scheme = $3
        AND (expires_at IS NULL OR expires_at > clock_timestamp())`,
    [owner.tenantId, owner.endpointId, scheme, afterMs],
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
