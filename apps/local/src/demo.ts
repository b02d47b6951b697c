import { createClock } from '@payonce/core/clock'
import { createPool, type Pool } from '@payonce/core/db/client'
import { createIdGenerator, encodeId, type NewId } from '@payonce/core/ids'
import { createAccount, listAccounts, type AccountKind } from '@payonce/core/ledger/account'
import { createApiKey, findApiKeyOwner } from '@payonce/core/tenants/api-key'
import { findOrCreateTenant } from '@payonce/core/tenants/tenant'
import { createApiKeyFile, type ApiKeyFile } from './api-key-file.ts'

/** What someone needs for a first transfer. */
export type Demo = {
  apiKey: string
  /** Where the key is kept, as an absolute path. */
  apiKeyFile: string
  /** The id of an account outside, which may go below zero. */
  world: string
  /** The id of an account inside. */
  alice: string
}

/** Makes the tenant `demo`, its key and its accounts, or finds those that an earlier start made. */
export async function prepareDemo(options: {
  databaseUrl: string
  dataDir: string
}): Promise<Demo> {
  const pool = createPool({
    databaseUrl: options.databaseUrl,
    name: 'demo',
    maxConnections: 2,
    // The next statement fails of the same cause, and says it.
    onError: () => undefined,
  })
  try {
    const newId = createIdGenerator(createClock().nowMs)
    const tenantId = await findOrCreateTenant(pool, { id: newId(), name: 'demo', mode: 'test' })
    const owner = { pool, newId, tenantId }
    const file = createApiKeyFile(options.dataDir)
    return {
      apiKey: await findOrCreateApiKey(owner, file),
      apiKeyFile: file.path,
      world: await findOrOpenAccount(owner, 'world', 'external'),
      alice: await findOrOpenAccount(owner, 'alice', 'internal'),
    }
  } finally {
    await pool.end()
  }
}

type Owner = { pool: Pool; newId: NewId; tenantId: string }

/** The key in the file, unless it was revoked or is another database's: then a new one takes its place. */
async function findOrCreateApiKey(
  { pool, newId, tenantId }: Owner,
  file: ApiKeyFile,
): Promise<string> {
  const kept = file.read()
  const isValid = kept !== '' && (await findApiKeyOwner(pool, kept))?.tenantId === tenantId
  const key = isValid ? kept : await createApiKey(pool, { id: newId(), tenantId, mode: 'test' })
  // A kept key is written again too: a restored copy of the folder may be open to others.
  file.write(key)
  return key
}

/** Nobody else opens accounts here meanwhile: the API does not run yet. */
async function findOrOpenAccount(
  { pool, newId, tenantId }: Owner,
  reference: string,
  kind: AccountKind,
): Promise<string> {
  const [known] = await listAccounts(pool, { tenantId, reference, limit: 1 })
  if (known !== undefined) return encodeId('account', known.id)
  const account = { tenantId, id: newId(), kind, currency: 'EUR', name: reference, reference }
  const { result } = await createAccount(pool, { ...account, overdraftLimit: 0n, metadata: {} })
  if (result !== 'created')
    throw new Error(`the account ${reference} could not be opened: ${result}`)
  return encodeId('account', account.id)
}
