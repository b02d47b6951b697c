import { accessSync, constants, mkdirSync, realpathSync } from 'node:fs'
import { claimDataDir } from './data-dir-claim.ts'
import { ownPostgres, EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { freePort, isPortFree } from './loopback-port.ts'
import { clusterDirOf, clusterOwner, openCluster } from './postgres-cluster.ts'
import { postgresIdentity } from './postgres-identity.ts'
import {
  portInUse,
  startServer,
  stopOrphan,
  stopServer,
  type PostgresSettings,
  type ServerOptions,
} from './postgres-server.ts'
import { findPostgresSoftware } from './postgres-software.ts'
import type { Exit, SupervisedProcess } from './supervised-process.ts'

export { EmbeddedPostgresError } from './embedded-postgres-error.ts'

/**
 * Starts a Postgres of our own on a data folder, which is made when missing and kept afterwards.
 * It listens on 127.0.0.1 alone and asks for a password that only the folder's owner can read.
 *
 * It ends with this process, even by kill -9, but never by Ctrl-C in the terminal: `stop` decides
 * the order. A server that was orphaned all the same is stopped first, and a crash recovered from.
 * Throws `EmbeddedPostgresError` with advice when the folder or the port is in use.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  refuseWindows()
  const dataDir = usableFolder(options.dataDir)
  const release = claimDataDir(dataDir)
  try {
    const server = await startOnClaimedFolder({ ...options, dataDir })
    // The server may outlive a failed `stop`, and so must the claim; it may also end by itself.
    void server.exited.then(release)
    return server
  } catch (error) {
    release()
    throw error
  }
}

export type EmbeddedPostgresOptions = {
  dataDir: string
  /** 0 stands for any free port. */
  port: number
  /** Settings of the server, as in postgresql.conf. Where it listens cannot be changed. */
  settings?: PostgresSettings
  /** Called with every line that Postgres or its set-up has to say. */
  log: (line: string) => void
}

export type EmbeddedPostgres = {
  /** A superuser's connection string, with the password. */
  url: string
  port: number
  /** The postmaster's process number. */
  pid: number
  /** Ends the server in order: sessions are cut, then a checkpoint. A second call waits for the first. */
  stop(): Promise<void>
  /** Resolves when the server has ended, whoever ended it. */
  exited: Promise<Exit>
}

/** Asking for a free port and listening on it are two steps, between which another program may take it. */
const triesForAnyPort = 5

async function startOnClaimedFolder(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { dataDir, log } = options
  const clusterDir = clusterDirOf(dataDir)
  const orphan = await stopOrphan(dataDir, `${clusterDir}/data`)
  if (orphan !== undefined) log(`stopped process ${orphan}, a server that had lost its owner`)
  if (options.port !== 0 && !(await isPortFree(options.port))) throw portInUse(options.port)
  const identity = postgresIdentity(clusterDir)
  const software = findPostgresSoftware({ identity, log })
  const cluster = await openCluster({ dataDir, software, identity })
  const { server, port } = await startOnSomePort(options.port, {
    dataDir,
    cluster,
    software,
    identity,
    settings: options.settings ?? {},
    log,
  })
  let stopping: Promise<void> | undefined
  return {
    url: `postgres://${clusterOwner}:${cluster.password}@127.0.0.1:${port}/${clusterOwner}`,
    port,
    pid: server.pid,
    stop: () => (stopping ??= stopAndWait(server)),
    exited: server.exited,
  }
}

async function startOnSomePort(
  wanted: number,
  options: Omit<ServerOptions, 'port'>,
): Promise<{ server: SupervisedProcess; port: number }> {
  for (let tries = 1; ; tries++) {
    const port = wanted === 0 ? await freePort() : wanted
    try {
      return { port, server: await startServer({ ...options, port }) }
    } catch (error) {
      const snatched = error instanceof EmbeddedPostgresError && error.code === 'port_in_use'
      if (!snatched || wanted !== 0 || tries === triesForAnyPort) throw error
    }
  }
}

async function stopAndWait(server: SupervisedProcess): Promise<void> {
  await stopServer(server.pid)
  await server.exited
}

function refuseWindows(): void {
  if (process.platform !== 'win32') return
  throw new EmbeddedPostgresError(
    'platform_not_supported',
    'The embedded Postgres does not run on Windows. Use the Windows Subsystem for Linux, ' +
      `or ${ownPostgres}`,
  )
}

/** The folder under its one true name, so that two spellings of it are one claim. */
function usableFolder(dataDir: string): string {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
    return realpathSync(dataDir)
  } catch (cause) {
    throw new EmbeddedPostgresError(
      'data_dir_not_usable',
      `The data folder ${dataDir} cannot be made or written to (${String(cause)}). ` +
        'Choose another one, or change its owner or mode.',
      { cause },
    )
  }
}
