import { isTransient } from '../db/transient.ts'
import { createGroupCommit } from '../group-commit.ts'
import { readKeys, type KnownKey } from './known-key.ts'
import type { Queryable } from '../db/client.ts'

export type KeyRef = { tenantId: string; idempotencyKey: string }

/** Tells what a key was used for, or undefined where nobody has used it. Rejects in an outage. */
export type KeyReader = (key: KeyRef) => Promise<KnownKey | undefined>

/**
 * A request that is to be refused is looked up first, since a replay is answered whatever else is
 * wrong. Requests that are refused together share one query: there are most of them just when there
 * are too many.
 */
export function createKeyReader(db: Queryable): KeyReader {
  const group = createGroupCommit<KeyRef, KnownKey | undefined>({
    flush: (keys) => readKeys(db, keys),
    maxItems: 500,
    maxPending: 20_000,
    isTransient,
  })
  return group.submit
}
