import type { Queryable } from './client.ts'

/** Postgres is set up in a way that can lose or tear what it said it had written. */
export class UnsafeDatabaseError extends Error {
  override name = 'UnsafeDatabaseError'
}

/** 15: the oldest version that the product promises to run on. */
const oldestVersion = 150_000

type Settings = {
  version: number
  synchronous_commit: string
  fsync: string
  full_page_writes: string
}

/**
 * Refuses a database that may lose what it committed: a `202` would be worth nothing there.
 * Throws `UnsafeDatabaseError`, which names every setting at fault and what to do.
 */
export async function requireDurability(db: Queryable): Promise<void> {
  const { rows } = await db.query<Settings>(
    `SELECT current_setting('server_version_num')::int AS version,
            current_setting('synchronous_commit') AS synchronous_commit,
            current_setting('fsync') AS fsync,
            current_setting('full_page_writes') AS full_page_writes`,
  )
  const settings = rows[0]
  if (settings === undefined) throw new Error('Postgres named no settings')
  const faults = findFaults(settings)
  if (faults.length > 0) throw new UnsafeDatabaseError(faults.join(' '))
}

function findFaults(settings: Settings): string[] {
  const faults: string[] = []
  if (settings.version < oldestVersion) {
    faults.push(`Postgres ${settings.version} is too old: use 15 or newer.`)
  }
  for (const name of ['synchronous_commit', 'fsync', 'full_page_writes'] as const) {
    if (settings[name] === 'off') {
      faults.push(`Postgres runs with ${name} = off and can lose payments: set ${name} = on.`)
    }
  }
  return faults
}
