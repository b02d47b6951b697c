import type { Queryable } from '../db/client.ts'

/** A live and a test tenant of one name are two tenants that share nothing. */
export type TenantMode = 'test' | 'live'

/** The longest name, in characters. */
export const MAX_TENANT_NAME_LENGTH = 100

/** The id of the tenant of this name and mode, which is made where there is none: safe to repeat. */
export async function findOrCreateTenant(
  db: Queryable,
  options: { id: string; name: string; mode: TenantMode },
): Promise<string> {
  await db.query(
    `INSERT INTO tenants (id, name, mode, created_at) VALUES ($1, $2, $3, clock_timestamp())
     ON CONFLICT ON CONSTRAINT tenants_name_mode_unique DO NOTHING`,
    [options.id, options.name, options.mode],
  )
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM tenants WHERE name = $1 AND mode = $2`,
    [options.name, options.mode],
  )
  const row = rows[0]
  if (row === undefined) throw new Error(`tenant ${options.name} is gone`)
  return row.id
}

/** The tenants of a mode, by name: of one name where one is given, and at most `limit`. */
export async function listTenants(
  db: Queryable,
  { name, mode, limit }: { name?: string | undefined; mode: TenantMode; limit: number },
): Promise<{ id: string; name: string }[]> {
  const { rows } = await db.query<{ id: string; name: string }>(
    `SELECT id, name FROM tenants
      WHERE mode = $1 AND ($2::text IS NULL OR name = $2)
      ORDER BY name
      LIMIT $3`,
    [mode, name ?? null, limit],
  )
  return rows
}
