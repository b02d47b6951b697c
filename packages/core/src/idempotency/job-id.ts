import { createHash } from 'node:crypto'

/**
 * The id of the job that settles the request of this key: a function of the key, so that ringing
 * twice for one key is one job. It is a hash and never the key itself, since BullMQ gives a meaning
 * to some names (`meta`, `active`, `123`, `a:b`), and since client text does not belong into the
 * queue.
 */
export function jobIdOf(tenantId: string, idempotencyKey: string): string {
  const hash = createHash('sha256').update(`${tenantId}\0${idempotencyKey}`).digest('base64url')
  return `k_${hash}`
}
