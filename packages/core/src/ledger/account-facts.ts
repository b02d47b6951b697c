import { LRUCache } from 'lru-cache'
import type { Queryable } from '../db/client.ts'

/** What can never change about an account, and so may be remembered. */
export type AccountFacts = { currency: string }

export type AccountFactsReader = {
  /** The facts of each account that exists, by its id. Only positive answers are remembered. */
  read(tenantId: string, accountIds: readonly string[]): Promise<Map<string, AccountFacts>>
}

/** 100,000 accounts take about 20 MB; what falls out is read again. */
const maxRemembered = 100_000

export function createAccountFactsReader(db: Queryable): AccountFactsReader {
  const remembered = new LRUCache<string, AccountFacts>({ max: maxRemembered })

  async function read(
    tenantId: string,
    accountIds: readonly string[],
  ): Promise<Map<string, AccountFacts>> {
    const found = new Map<string, AccountFacts>()
    const missing: string[] = []
    for (const id of accountIds) {
      const facts = remembered.get(`${tenantId}/${id}`)
      if (facts === undefined) missing.push(id)
      else found.set(id, facts)
    }
    if (missing.length === 0) return found
    const { rows } = await db.query<{ id: string; currency: string }>(
      `SELECT id, currency FROM accounts WHERE tenant_id = $1 AND id = ANY($2::uuid[])`,
      [tenantId, missing],
    )
    for (const { id, currency } of rows) {
      remembered.set(`${tenantId}/${id}`, { currency })
      found.set(id, { currency })
    }
    return found
  }

  return { read }
}
