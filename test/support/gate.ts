import type { Pool } from '@payonce/core/db/client'
import { until } from './until.ts'

/** A place inside a transaction of somebody else, where it waits until the test lets it go on. */
export type Gate = {
  /** Resolves when a transaction stands before the gate. */
  untilReached(): Promise<void>
  /** Lets everybody pass, now and later. */
  open(): Promise<void>
}

/**
 * Stops every transaction that inserts into a table: at the end of that statement, with its rows
 * written and locked, or inside of COMMIT, after which nothing is left to do but to make it durable.
 * A process that is killed there is exactly where a crash hurts most: its transaction goes on
 * without it, and is rolled back or committed by Postgres.
 */
export async function closeGate(
  db: Pool,
  { table, at }: { table: 'idempotency_keys' | 'transfers'; at: 'insert' | 'commit' },
): Promise<Gate> {
  // Each statement of a volatile function has a snapshot of its own, so it sees the gate vanish.
  await db.query(
    `CREATE TABLE closed_gate ();
     CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN
       WHILE (SELECT count(*) FROM pg_class WHERE relname = 'closed_gate') > 0 LOOP
         PERFORM pg_sleep(0.01);
       END LOOP;
       RETURN NULL;
     END $$;
     CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON ${table}
       DEFERRABLE INITIALLY ${at === 'commit' ? 'DEFERRED' : 'IMMEDIATE'}
       FOR EACH ROW EXECUTE FUNCTION wait_at_gate()`,
  )
  return {
    untilReached: async () => {
      await until('a transaction stands before the gate', async () => {
        const { rowCount } = await db.query(
          `SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'`,
        )
        return rowCount !== null && rowCount > 0
      })
    },
    open: async () => {
      await db.query('DROP TABLE closed_gate')
    },
  }
}
