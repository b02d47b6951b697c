import { readSweepState } from '../transfers/unsettled.ts'
import { firstUuid, readPages } from './pages.ts'
import type { Queryable } from '../db/client.ts'
import type { Check } from './check.ts'

type KeyRow = {
  tenant_id: string
  idempotency_key: string
  resource: string
  resource_id: string
  due_at: Date
  is_done: boolean
}

/** 5,000: each row looks for its transfer, in the order in which transfers lie. */
const keysPerPage = 5_000

/** What was due below the sweep's watermark, which says that nothing of it is left. */
export async function checkDue(
  db: Queryable,
  { read, findings, onProgress }: Check,
): Promise<void> {
  const { watermark } = await readSweepState(db)
  const pages = readPages<KeyRow>(keysPerPage, (after, limit) =>
    read(
      `SELECT accepted.tenant_id, idempotency_key, resource, resource_id, due_at,
              EXISTS (SELECT FROM transfers
                       WHERE transfers.tenant_id = accepted.tenant_id
                         AND transfers.id = CASE resource WHEN 'batch' THEN (
                               SELECT transfer_id FROM batch_items
                                WHERE batch_items.tenant_id = accepted.tenant_id
                                  AND batch_items.batch_id = resource_id AND position = 0)
                             ELSE resource_id END)
              OR EXISTS (SELECT FROM deferred
                          WHERE deferred.tenant_id = accepted.tenant_id
                            AND deferred.transfer_id = resource_id) AS is_done
         FROM (SELECT * FROM idempotency_keys
                WHERE due_at >= $1 AND due_at < $4 AND (due_at, resource_id) > ($1, $2::uuid)
                ORDER BY due_at, resource_id LIMIT $3) AS accepted
        ORDER BY due_at, resource_id`,
      [after?.due_at ?? new Date(0), after?.resource_id ?? firstUuid, limit, watermark],
    ),
  )
  for await (const rows of pages) {
    findings.checked('due_is_settled', rows.length)
    for (const { tenant_id, idempotency_key, resource, resource_id, due_at, is_done } of rows) {
      if (is_done) continue
      findings.fault('due_is_settled', {
        table: 'idempotency_keys',
        ids: { tenant_id, idempotency_key },
        expected: `${resource} ${resource_id}, due at ${due_at.toISOString()}, settled or deferred`,
        found: 'neither',
      })
    }
    onProgress(rows.length)
  }
}
