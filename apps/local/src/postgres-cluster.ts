import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { ownPostgres, EmbeddedPostgresError } from './embedded-postgres-error.ts'
import type { PostgresIdentity } from './postgres-identity.ts'
import type { PostgresSoftware } from './postgres-software.ts'
import { readIfThere } from './read-if-there.ts'

/** A cluster on disk: what Postgres calls its data directory, and the password of its only role. */
export type PostgresCluster = {
  /** Where the files are. The server's working directory. */
  pgdata: string
  /** What the server is to be told as `-D`: see `pathForServer`. */
  pgdataForServer: string
  password: string
}

/** The role and the database that every new cluster has. */
export const clusterOwner = 'payonce'

/** Where below a data folder the cluster lies. */
export function clusterDirOf(dataDir: string): string {
  return join(dataDir, 'postgres')
}

/**
 * Opens the cluster of a data folder, and makes it first where there is none. A cluster appears
 * under its name only when it is complete: a start that was interrupted leaves nothing in the way.
 */
export async function openCluster(options: {
  dataDir: string
  software: PostgresSoftware
  identity: PostgresIdentity | undefined
}): Promise<PostgresCluster> {
  const { dataDir, software, identity } = options
  const clusterDir = clusterDirOf(dataDir)
  removeDrafts(dataDir)
  refuseOtherOwner(clusterDir)
  if (!existsSync(join(clusterDir, 'data', 'PG_VERSION'))) {
    refuseOtherContent(clusterDir)
    await createCluster({ dataDir, clusterDir, software, identity })
  }
  const pgdata = join(clusterDir, 'data')
  refuseOtherVersion(pgdata, software)
  makePrivate(clusterDir, identity)
  return {
    pgdata,
    pgdataForServer: pathForServer(pgdata, identity),
    password: readPassword(clusterDir),
  }
}

/** The environment of every Postgres program: none of our PG* variables, time zones or languages. */
export const postgresEnv = { LC_ALL: 'C', PATH: '/usr/local/bin:/usr/bin:/bin' }

/** 60 s: it takes 0.5 s on an idle machine, but a first start on a slow disk should not fail. */
const initTimeoutMs = 60_000

const draftPrefix = 'postgres.new-'

async function createCluster(options: {
  dataDir: string
  clusterDir: string
  software: PostgresSoftware
  identity: PostgresIdentity | undefined
}): Promise<void> {
  const { dataDir, clusterDir, software, identity } = options
  const draft = mkdtempSync(join(dataDir, draftPrefix))
  const pgdata = join(draft, 'data')
  mkdirSync(pgdata, { mode: 0o700 })
  writeFileSync(join(draft, 'password'), `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 })
  if (identity !== undefined) giveTo(draft, identity)
  const forServer = pathForServer(pgdata, identity)
  const run = (command: [string, ...string[]], input?: string) =>
    runToEnd({ command, cwd: pgdata, identity, ...(input === undefined ? {} : { input }) })
  await run([
    software.initdb,
    `--pgdata=${forServer}`,
    `--username=${clusterOwner}`,
    // Relative to the working directory, which Postgres can always reach.
    '--pwfile=../password',
    '--auth=scram-sha-256',
    '--locale=C',
    '--encoding=UTF8',
  ])
  // The single-user mode needs no port, no password and no client.
  await run(
    [software.postgres, '--single', '-D', forServer, 'postgres'],
    `CREATE DATABASE ${clusterOwner}\n`,
  )
  renameSync(draft, clusterDir)
  flushFolder(dataDir)
}

/**
 * On Linux root's server is told to work in its working directory. The kernel resolves
 * /proc/self/cwd without walking down from the top, so the cluster may lie under a folder that only
 * root can enter, such as a clone in root's home. We set the working directory while still root.
 */
function pathForServer(pgdata: string, identity: PostgresIdentity | undefined): string {
  return identity !== undefined && process.platform === 'linux' ? '/proc/self/cwd' : pgdata
}

/** A draft belongs to a start that was interrupted: whoever makes one holds the claim on the folder. */
function removeDrafts(dataDir: string): void {
  for (const name of readdirSync(dataDir)) {
    if (name.startsWith(draftPrefix)) rmSync(join(dataDir, name), { recursive: true, force: true })
  }
}

function refuseOtherOwner(clusterDir: string): void {
  const ourUid = process.getuid?.()
  const owner = statSync(clusterDir, { throwIfNoEntry: false })?.uid ?? ourUid
  if (ourUid === 0 || owner === ourUid) return
  throw new EmbeddedPostgresError(
    'data_dir_not_usable',
    `${clusterDir} belongs to user ${owner}, and you are user ${ourUid}. ` +
      'Run this as that user or as root, or choose another data folder.',
  )
}

/** Without its PG_VERSION a folder is no cluster; what else it holds is not ours to overwrite. */
function refuseOtherContent(clusterDir: string): void {
  if (!existsSync(clusterDir) || readdirSync(clusterDir).length === 0) return
  throw new EmbeddedPostgresError(
    'data_dir_not_usable',
    `${clusterDir} holds files, but no complete database cluster. ` +
      'Restore it from a backup, move it away to begin with an empty one, or choose another data folder.',
  )
}

function refuseOtherVersion(pgdata: string, software: PostgresSoftware): void {
  const found = readFileSync(join(pgdata, 'PG_VERSION'), 'utf8').trim()
  if (found === software.majorVersion) return
  throw new EmbeddedPostgresError(
    'data_dir_of_other_version',
    `${pgdata} was made by Postgres ${found}, and this release brings Postgres ${software.majorVersion}. ` +
      'Dump it with the release that made it and restore the dump here, or choose another data folder.',
  )
}

/** A restored copy often belongs to root, or is open to others; Postgres refuses to start on either. */
function makePrivate(clusterDir: string, identity: PostgresIdentity | undefined): void {
  const pgdata = join(clusterDir, 'data')
  if (identity !== undefined && statSync(pgdata).uid !== identity.uid) giveTo(clusterDir, identity)
  chmodSync(clusterDir, 0o700)
  chmodSync(pgdata, 0o700)
}

function giveTo(folder: string, identity: PostgresIdentity): void {
  chownSync(folder, identity.uid, identity.gid)
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) giveTo(path, identity)
    else lchownSync(path, identity.uid, identity.gid)
  }
}

function readPassword(clusterDir: string): string {
  const path = join(clusterDir, 'password')
  const password = readIfThere(path)?.trim()
  if (password) return password
  throw new EmbeddedPostgresError(
    'data_dir_not_usable',
    `${path} is missing or cannot be read: it holds the database's password. Restore it from a backup.`,
  )
}

/** A power cut must not undo the renaming that gave the cluster its name. */
function flushFolder(folder: string): void {
  const descriptor = openSync(folder, 'r')
  fsyncSync(descriptor)
  closeSync(descriptor)
}

function runToEnd(options: {
  command: [program: string, ...args: string[]]
  cwd: string
  identity: PostgresIdentity | undefined
  input?: string
}): Promise<void> {
  const [program, ...args] = options.command
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: postgresEnv,
      ...options.identity,
      timeout: initTimeoutMs,
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input ?? '')
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(couldNotCreate(program, signal ?? `exit code ${code}`, output))
    })
  })
}

function couldNotCreate(program: string, how: string, output: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'server_did_not_start',
    `${program} failed (${how}) while it made a new database cluster:\n${output.trim()}\n` +
      `Put that right, or use ${ownPostgres}`,
  )
}
