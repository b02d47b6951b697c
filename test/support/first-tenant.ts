import { createApiKey } from '@payonce/core/tenants/api-key'
import { findOrCreateTenant } from '@payonce/core/tenants/tenant'
import { createClient, type Client } from './client.ts'
import type { Pool } from '@payonce/core/db/client'
import type { AccountOnWire } from './wire.ts'

/** A first tenant in an installation of processes, with a client of it and two accounts in EUR. */
export async function openAccounts(
  db: Pool,
  url: string,
): Promise<{ client: Client; world: string; merchant: string }> {
  const id = '019aa000-0000-7000-8000-000000000001'
  const tenantId = await findOrCreateTenant(db, { id, name: 'first', mode: 'test' })
  const client = createClient(url, await createApiKey(db, { id, tenantId, mode: 'test' }))
  const open = async (kind: string) =>
    (await client.post<AccountOnWire>('/v1/accounts', { currency: 'EUR', kind })).body.id
  return { client, world: await open('external'), merchant: await open('internal') }
}
