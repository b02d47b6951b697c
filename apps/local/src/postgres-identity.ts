import { lstatSync } from 'node:fs'

/** Whom Postgres runs as. Undefined: as ourselves. */
export type PostgresIdentity = { uid: number; gid: number }

/**
 * Postgres refuses to run as root. Root therefore runs it as the owner of the cluster's folder, so
 * that a cluster made by a plain user stays that user's, and a new one as `nobody`.
 */
export function postgresIdentity(clusterDir: string): PostgresIdentity | undefined {
  if (process.getuid?.() !== 0) return undefined
  const found = lstatSync(clusterDir, { throwIfNoEntry: false })
  return found === undefined || found.uid === 0 ? nobody : { uid: found.uid, gid: found.gid }
}

/** The same number everywhere; initdb also wants a name for it, and even small systems have one. */
const nobody: PostgresIdentity = { uid: 65534, gid: 65534 }
