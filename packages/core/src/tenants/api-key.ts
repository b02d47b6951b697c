import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Queryable } from '../db/client.ts'
import type { TenantMode } from './tenant.ts'

/**
 * `po_test_` or `po_live_`, 43 characters of randomness, and 6 of checksum. The checksum lets a
 * typing error, or a false find of a secret scanner, be told from a key without a look-up.
 */
const form = /^po_(test|live)_([A-Za-z0-9_-]{43})([0-9a-z]{6})$/

/** What a key may do: read everything of its tenant, and write, which moves money. */
export const apiKeyScopes = ['read', 'write'] as const
export type ApiKeyScope = (typeof apiKeyScopes)[number]

export type ApiKeyOwner = {
  apiKeyId: string
  tenantId: string
  mode: TenantMode
  scopes: readonly ApiKeyScope[]
}

export type ApiKeyInfo = {
  id: string
  tenant: string
  mode: TenantMode
  hint: string
  scopes: readonly ApiKeyScope[]
  createdAt: Date
  expiresAt: Date | null
  revokedAt: Date | null
}

/** A new key: 256 bits from the system's generator. It is shown once; only its hash is stored. */
export function generateApiKey(mode: TenantMode): string {
  const random = randomBytes(32).toString('base64url')
  return `po_${mode}_${random}${checksum(mode, random)}`
}

/** Whether `text` has the form of a key and its checksum fits: a check that costs no look-up. */
export function isWellFormedApiKey(text: string): boolean {
  const match = form.exec(text)
  if (match === null) return false
  const [, mode, random, sum] = match as unknown as [string, TenantMode, string, string]
  return checksum(mode, random) === sum
}

/** SHA-256 is enough for a key of 256 random bits: there is nothing to guess. */
export function hashApiKey(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}

/** Makes a key for a tenant and returns it with its id: the only time that the key can be seen. */
export async function createApiKey(
  db: Queryable,
  options: {
    id: string
    tenantId: string
    mode: TenantMode
    scopes?: readonly ApiKeyScope[]
    expiresAt?: Date | null
  },
): Promise<string> {
  const key = generateApiKey(options.mode)
  await db.query(
    `INSERT INTO api_keys (id, tenant_id, hash, hint, scopes, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, clock_timestamp(), $6)`,
    [
      options.id,
      options.tenantId,
      hashApiKey(key),
      hintOf(key),
      options.scopes ?? apiKeyScopes,
      options.expiresAt ?? null,
    ],
  )
  return key
}

/** The owner of a key, or undefined where the key is unknown, revoked or expired. */
export async function findApiKeyOwner(
  db: Queryable,
  key: string,
): Promise<ApiKeyOwner | undefined> {
  const hash = hashApiKey(key)
  const { rows } = await db.query<{
    id: string
    tenant_id: string
    mode: TenantMode
    scopes: ApiKeyScope[]
    hash: Buffer
  }>(
    `SELECT api_keys.id, api_keys.tenant_id, tenants.mode, api_keys.scopes,
            api_keys.hash
       FROM api_keys JOIN tenants ON tenants.id = api_keys.tenant_id
      WHERE api_keys.hash = $1 AND api_keys.revoked_at IS NULL
        AND (api_keys.expires_at IS NULL OR api_keys.expires_at > clock_timestamp())`,
    [hash],
  )
  const row = rows[0]
  if (row === undefined || !timingSafeEqual(row.hash, hash)) return undefined
  return { apiKeyId: row.id, tenantId: row.tenant_id, mode: row.mode, scopes: row.scopes }
}

/** Every key, of one tenant or of all, oldest first. */
export async function listApiKeys(db: Queryable, tenant?: string): Promise<ApiKeyInfo[]> {
  const { rows } = await db.query<ApiKeyInfo>(
    `SELECT api_keys.id, tenants.name AS tenant, tenants.mode, api_keys.hint, api_keys.scopes,
            api_keys.created_at AS "createdAt", api_keys.expires_at AS "expiresAt", api_keys.revoked_at AS "revokedAt"
       FROM api_keys JOIN tenants ON tenants.id = api_keys.tenant_id
      WHERE $1::text IS NULL OR tenants.name = $1
      ORDER BY api_keys.id`,
    [tenant ?? null],
  )
  return rows
}

/** Ends a key at once. Returns false where no key has this id; a second revocation changes nothing. */
export async function revokeApiKey(db: Queryable, id: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = $1`,
    [id],
  )
  return rowCount === 1
}

function checksum(mode: TenantMode, random: string): string {
  return crc32(`${mode}_${random}`).toString(36).padStart(6, '0').slice(-6)
}

function hintOf(key: string): string {
  return `${key.slice(0, 'po_test_'.length)}…${key.slice(-4)}`
}
