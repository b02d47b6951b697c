import { createClient } from '../../apps/cli/src/conformance/client.ts'
import { createHttp } from '../../apps/cli/src/conformance/http.ts'
import { runRow, type RowResult } from '../../apps/cli/src/conformance/run.ts'
import type { Context, Row } from '../../apps/cli/src/conformance/row.ts'
import { createApiKey, type ApiKeyScope } from '@payonce/core/tenants/api-key'
import { findOrCreateTenant, type TenantMode } from '@payonce/core/tenants/tenant'
import type { Payonce } from './payonce.ts'

/** The credentials that the whole table takes. */
export type ConformanceKeys = {
  key: string
  secondKey: string
  otherTenantKey: string
  otherModeKey: string
  readOnlyKey: string
}

/** Makes them at a started server: three of a new tenant, one of a second, one of its live twin. */
export async function createConformanceKeys(
  { db, newId }: Pick<Payonce, 'db' | 'newId'>,
  name = 'conformance',
): Promise<ConformanceKeys> {
  const keyOf = (tenantId: string, mode: TenantMode = 'test', scopes?: ApiKeyScope[]) =>
    createApiKey(db, { id: newId(), tenantId, mode, ...(scopes === undefined ? {} : { scopes }) })
  const tenant = (name: string, mode: TenantMode) =>
    findOrCreateTenant(db, { id: newId(), name, mode })
  const tenantId = await tenant(name, 'test')
  return {
    key: await keyOf(tenantId),
    secondKey: await keyOf(tenantId),
    otherTenantKey: await keyOf(await tenant(`not ${name}`, 'test')),
    otherModeKey: await keyOf(await tenant(name, 'live'), 'live'),
    readOnlyKey: await keyOf(tenantId, 'test', ['read']),
  }
}

/** Runs a row as the tool does, with every credential, against one or two processes. */
export async function runConformanceRow(
  row: Row,
  { keys, url, secondUrl }: { keys: ConformanceKeys; url: string; secondUrl?: string },
): Promise<RowResult> {
  const http = createHttp(new URL(url), { timeoutMs: 15_000 })
  const secondHttp = createHttp(new URL(secondUrl ?? url), { timeoutMs: 15_000 })
  const context: Omit<Context, 'note'> = {
    client: createClient(http, keys.key),
    others: {
      otherCredential: createClient(http, keys.secondKey),
      otherTenant: createClient(http, keys.otherTenantKey),
      otherMode: createClient(http, keys.otherModeKey),
      readOnly: createClient(http, keys.readOnlyKey),
      otherProcess: createClient(secondHttp, keys.key),
    },
    settleWithinMs: 15_000,
  }
  try {
    return await runRow(row, context)
  } finally {
    http.close()
    secondHttp.close()
  }
}
