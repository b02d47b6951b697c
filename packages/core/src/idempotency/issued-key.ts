import { decodeId, encodeId } from '../ids.ts'
import type { Queryable } from '../db/client.ts'

/** The routes that a key can be asked for. */
export const keyPurposes = [
  'POST /v1/transfers',
  'POST /v1/transfers/{id}/capture',
  'POST /v1/transfers/{id}/release',
  'POST /v1/transfers/{id}/refund',
  'POST /v1/transfer-batches',
  'POST /v1/accounts',
  'POST /v1/webhook-endpoints',
] as const
export type KeyPurpose = (typeof keyPurposes)[number]

/** A key that was made by the server on request. */
export type IssuedKey = {
  idempotencyKey: string
  /** The route that it may be used for; null where it may be used for any. */
  purpose: KeyPurpose | null
  issuedAt: Date
  expiresAt: Date
  isExpired: boolean
}

/** 24 hours: a client that asks for a key means to use it soon. A used key never expires. */
const lifetime = `interval '24 hours'`

/** Whether a key has the form of those made here. Whoever uses one must have been given it. */
export function looksIssued(idempotencyKey: string): boolean {
  return decodeId('idempotencyKey', idempotencyKey) !== undefined
}

/** Makes a key for a tenant, bound to a purpose if there is one. `id` is a new uuid. */
export async function issueKey(
  db: Queryable,
  { tenantId, id, purpose }: { tenantId: string; id: string; purpose: KeyPurpose | null },
): Promise<IssuedKey> {
  const idempotencyKey = encodeId('idempotencyKey', id)
  const { rows } = await db.query<IssuedKey>(
    `INSERT INTO issued_keys (tenant_id, idempotency_key, purpose, issued_at, expires_at)
     VALUES ($1, $2, $3, date_trunc('milliseconds', now()),
             date_trunc('milliseconds', now()) + ${lifetime})
     RETURNING ${issuedKeyColumns}`,
    [tenantId, idempotencyKey, purpose],
  )
  const issued = rows[0]
  if (issued === undefined) throw new Error('a key was inserted and not returned')
  return issued
}

/** The key as it was issued, or undefined where the tenant was never given it. */
export async function findIssuedKey(
  db: Queryable,
  tenantId: string,
  idempotencyKey: string,
): Promise<IssuedKey | undefined> {
  const { rows } = await db.query<IssuedKey>(
    `SELECT ${issuedKeyColumns} FROM issued_keys WHERE tenant_id = $1 AND idempotency_key = $2`,
    [tenantId, idempotencyKey],
  )
  return rows[0]
}

const issuedKeyColumns = `idempotency_key AS "idempotencyKey", purpose, issued_at AS "issuedAt",
  expires_at AS "expiresAt", expires_at <= clock_timestamp() AS "isExpired"`
