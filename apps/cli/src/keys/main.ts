import { parseArgs } from 'node:util'
import { createClock } from '@payonce/core/clock'
import { readDatabaseConfig } from '@payonce/core/config'
import { createPool, type Pool } from '@payonce/core/db/client'
import { createIdGenerator, decodeId, encodeId } from '@payonce/core/ids'
import {
  apiKeyScopes,
  createApiKey,
  listApiKeys,
  revokeApiKey,
  type ApiKeyInfo,
  type ApiKeyScope,
} from '@payonce/core/tenants/api-key'
import {
  MAX_TENANT_NAME_LENGTH,
  findOrCreateTenant,
  type TenantMode,
} from '@payonce/core/tenants/tenant'

const usage = `Usage:
  npm run keys -- create --tenant NAME [--live] [--scope read|write]… [--expires-in DAYS]
      makes a key and prints it, once, on standard output; without --scope it may read and write
  npm run keys -- list [--tenant NAME]
      lists keys: never the keys themselves
  npm run keys -- revoke ID
      ends a key; servers honour it for up to 5 s more
The database is the one of DATABASE_URL.`

class UsageError extends Error {}

async function run(argv: string[]): Promise<void> {
  const { values, positionals } = parse(argv)
  const [command, ...rest] = positionals
  const pool = createPool({
    databaseUrl: readDatabaseConfig().DATABASE_URL,
    name: 'keys',
    maxConnections: 2,
    onError: () => undefined,
  })
  try {
    if (command === 'create' && rest.length === 0) await create(pool, values)
    else if (command === 'list' && rest.length === 0) await list(pool, values.tenant)
    else if (command === 'revoke' && rest.length === 1) await revoke(pool, rest[0] ?? '')
    else throw new UsageError(usage)
  } finally {
    await pool.end()
  }
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        tenant: { type: 'string' },
        live: { type: 'boolean', default: false },
        scope: { type: 'string', multiple: true, default: [...apiKeyScopes] },
        'expires-in': { type: 'string' },
      },
    })
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : ''}\n${usage}`)
  }
}

async function create(
  pool: Pool,
  { tenant, live, scope, 'expires-in': expiresIn }: ReturnType<typeof parse>['values'],
): Promise<void> {
  if (tenant === undefined || tenant === '' || tenant.length > MAX_TENANT_NAME_LENGTH) {
    throw new UsageError(
      `--tenant takes a name of 1 to ${MAX_TENANT_NAME_LENGTH} characters\n${usage}`,
    )
  }
  const scopes = scope.map(toScope)
  const expiresAt = expiresIn === undefined ? null : daysFromNow(expiresIn)
  const newId = createIdGenerator(createClock().nowMs)
  const mode: TenantMode = live ? 'live' : 'test'
  const tenantId = await findOrCreateTenant(pool, { id: newId(), name: tenant, mode })
  const id = newId()
  const key = await createApiKey(pool, { id, tenantId, mode, scopes, expiresAt })
  console.error(`Key ${encodeId('apiKey', id)} of ${mode} tenant ${tenant}. It is shown only now:`)
  console.log(key)
}

function toScope(text: string): ApiKeyScope {
  const scope = apiKeyScopes.find((known) => known === text)
  if (scope === undefined) throw new UsageError(`--scope takes read or write\n${usage}`)
  return scope
}

function daysFromNow(text: string): Date {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`--expires-in takes days\n${usage}`)
  return new Date(Date.now() + Number(text) * 86_400_000)
}

async function list(pool: Pool, tenant: string | undefined): Promise<void> {
  for (const key of await listApiKeys(pool, tenant)) {
    const state = stateOf(key)
    console.log(
      [
        encodeId('apiKey', key.id),
        key.hint,
        key.scopes.join('+'),
        key.mode,
        key.createdAt.toISOString(),
        state,
        key.tenant,
      ].join('\t'),
    )
  }
}

function stateOf({ revokedAt, expiresAt }: ApiKeyInfo): string {
  if (revokedAt !== null) return `revoked ${revokedAt.toISOString()}`
  if (expiresAt === null) return 'active'
  return `${expiresAt.getTime() > Date.now() ? 'expires' : 'expired'} ${expiresAt.toISOString()}`
}

async function revoke(pool: Pool, text: string): Promise<void> {
  const id = decodeId('apiKey', text)
  if (id === undefined)
    throw new UsageError(`${text.slice(0, 60)} is no id of a key: see list\n${usage}`)
  if (!(await revokeApiKey(pool, id))) throw new Error(`no key has the id ${text}`)
  console.error(`Key ${text} is revoked.`)
}

try {
  await run(process.argv.slice(2))
} catch (error) {
  console.error(`keys: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
