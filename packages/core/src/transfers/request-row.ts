import { columnOf } from '../db/parameters.ts'
import { encodeCommand } from './command.ts'
import type { Tx } from '../db/client.ts'
import type { TransferCommand } from './transfer.ts'

/** A request as it is stored when it is accepted: a key, and what it stands for. */
export type RequestRow = {
  tenantId: string
  id: string
  idempotencyKey: string
  fingerprint: Buffer
  resource: 'transfer' | 'batch'
  /** What is to be settled; undefined for a batch, whose items have their own rows. */
  command?: TransferCommand
  /** Whether it is settled by itself, at `executeAt` or at once, and not with something else. */
  isDue: boolean
  executeAt: Date | null
}

/**
 * Inserts the requests whose keys are new, and returns their ids with the time of acceptance. Rows
 * go in by the order of their keys: two flushes that share keys in different orders would deadlock.
 * The time is the transaction's start, which the sweep's watermark waits for (see unsettled.ts).
 */
export async function insertRequests(
  tx: Tx,
  requests: readonly RequestRow[],
): Promise<Map<string, Date>> {
  const { rows } = await tx.query<{ id: string; accepted_at: Date }>(
    `WITH request AS (
       SELECT *, date_trunc('milliseconds', now()) AS accepted_at
         FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[], $5::text[], $6::text[],
                     $7::boolean[], $8::timestamptz[])
           AS request (tenant_id, idempotency_key, fingerprint, id, resource, command, is_due,
                       execute_at)
     ), fresh AS (
       INSERT INTO idempotency_keys (tenant_id, idempotency_key, fingerprint, resource, resource_id,
                                     accepted_at, due_at)
       SELECT tenant_id, idempotency_key, fingerprint, resource, id, accepted_at,
              CASE WHEN is_due THEN greatest(accepted_at, execute_at) END
         FROM request
        ORDER BY tenant_id, idempotency_key COLLATE "C"
       ON CONFLICT ON CONSTRAINT idempotency_keys_primary DO NOTHING
       RETURNING tenant_id, resource_id AS id, idempotency_key, accepted_at, due_at
     ), stored AS (
       INSERT INTO commands (tenant_id, id, idempotency_key, accepted_at, due_at, command)
       SELECT fresh.tenant_id, fresh.id, fresh.idempotency_key, fresh.accepted_at, fresh.due_at,
              request.command::json
         FROM fresh JOIN request ON request.id = fresh.id
        WHERE request.command IS NOT NULL
     )
     SELECT id, accepted_at FROM fresh`,
    [
      requests.map(({ tenantId }) => tenantId),
      requests.map(({ idempotencyKey }) => idempotencyKey),
      requests.map(({ fingerprint }) => fingerprint),
      requests.map(({ id }) => id),
      requests.map(({ resource }) => resource),
      requests.map(({ command }) => (command === undefined ? null : encodeCommand(command))),
      requests.map(({ isDue }) => isDue),
      columnOf(requests, ({ executeAt }) => executeAt),
    ],
  )
  return new Map(rows.map((row) => [row.id, row.accepted_at]))
}
