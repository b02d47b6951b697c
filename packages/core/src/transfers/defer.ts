import type { Queryable } from '../db/client.ts'
import type { TransferRef } from '../ids.ts'

/** Why a command that was tried is to be tried later. */
export type DeferredReason = 'poison' | 'unknown_command'

/**
 * Notes that a command is to be tried later. The gaps grow from 5 s to an hour, so that a command
 * that never succeeds costs its neighbours nothing, and one that was unlucky is soon done.
 * Does nothing where the command has been settled in the meantime.
 */
export async function defer(
  db: Queryable,
  { tenantId, transferId }: TransferRef,
  reason: DeferredReason,
  code: string,
): Promise<void> {
  await db.query(
    `INSERT INTO deferred (tenant_id, transfer_id, reason, attempts, last_code, next_due_at)
     SELECT $1, $2, $3, 1, $4, clock_timestamp() + interval '5 s'
      WHERE NOT EXISTS (SELECT FROM transfers WHERE tenant_id = $1 AND id = $2)
     ON CONFLICT ON CONSTRAINT deferred_primary DO UPDATE
        SET reason = excluded.reason, last_code = excluded.last_code,
            attempts = deferred.attempts + 1,
            next_due_at = clock_timestamp()
              + least(interval '1 hour', interval '5 s' * 2 ^ least(deferred.attempts, 20))`,
    [tenantId, transferId, reason, code],
  )
}

/** Puts a command aside that throws by itself. The code names the error, never client data. */
export async function park(db: Queryable, ref: TransferRef, error: unknown): Promise<void> {
  await defer(db, ref, 'poison', codeOf(error))
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' ? code : error.name
}
