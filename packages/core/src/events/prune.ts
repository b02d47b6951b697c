import type { Client } from 'pg'

export type PrunedEvents = { events: number; deliveries: number; attempts: number }

/** 500 events a statement, with at most 25,000 deliveries: the feed waits for whoever writes. */
const rowsAtATime = 500

/**
 * Deletes events that are older than this, with their deliveries and the attempts of these. It goes by
 * position, oldest first, and stops at the first event that is younger. Safe to repeat; needs the
 * rights of the owner.
 */
export async function pruneEvents(
  client: Client,
  { retentionDays }: { retentionDays: number },
): Promise<PrunedEvents> {
  const pruned: PrunedEvents = { events: 0, deliveries: 0, attempts: 0 }
  for (;;) {
    const { rows } = await client.query<PrunedEvents>(
      `WITH old AS (
         SELECT tenant_id, position FROM (
           SELECT tenant_id, position, created_at FROM events ORDER BY position LIMIT $2) AS oldest
          WHERE created_at < now() - $1 * interval '1 day'
       ), gone AS (
         DELETE FROM webhook_deliveries AS deliveries USING old
          WHERE deliveries.tenant_id = old.tenant_id
            AND deliveries.event_position = old.position
         RETURNING deliveries.tenant_id, deliveries.id
       ), forgotten AS (
         DELETE FROM webhook_attempts AS attempts USING gone
          WHERE attempts.tenant_id = gone.tenant_id AND attempts.delivery_id = gone.id
         RETURNING 1
       ), deleted AS (
         DELETE FROM events USING old
          WHERE events.tenant_id = old.tenant_id AND events.position = old.position
         RETURNING 1
       )
       SELECT (SELECT count(*)::int FROM deleted) AS events,
              (SELECT count(*)::int FROM gone) AS deliveries,
              (SELECT count(*)::int FROM forgotten) AS attempts`,
      [retentionDays, rowsAtATime],
    )
    const page = rows[0] ?? { events: 0, deliveries: 0, attempts: 0 }
    pruned.events += page.events
    pruned.deliveries += page.deliveries
    pruned.attempts += page.attempts
    if (page.events < rowsAtATime) return pruned
  }
}
