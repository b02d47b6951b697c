import { rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { postgresEnv, type PostgresCluster } from './postgres-cluster.ts'
import type { PostgresIdentity } from './postgres-identity.ts'
import type { PostgresSoftware } from './postgres-software.ts'
import { processArguments, processStart } from './process-identity.ts'
import { readIfThere } from './read-if-there.ts'
import { spawnSupervised, type SupervisedProcess } from './supervised-process.ts'

export type PostgresSettings = { readonly [name: string]: string | number | boolean }

export type ServerOptions = {
  dataDir: string
  cluster: PostgresCluster
  software: PostgresSoftware
  identity: PostgresIdentity | undefined
  port: number
  settings: PostgresSettings
  log: (line: string) => void
}

/** Starts the server and returns once it accepts connections. */
export async function startServer(options: ServerOptions): Promise<SupervisedProcess> {
  const deadline = performance.now() + formerSessionsTimeoutMs
  for (;;) {
    const attempt = await startOnce(options)
    if (attempt.server !== undefined) return attempt.server
    const waiting = attempt.log.includes('pre-existing shared memory block')
    if (!waiting || performance.now() > deadline) throw didNotStart(options, attempt)
    await sleep(formerSessionsPollMs)
  }
}

/**
 * Stops a server in order, and returns when it has gone. Its sessions are cut and their open
 * transactions rolled back, as after a crash; then, unlike after a crash, it writes a checkpoint.
 */
export async function stopServer(pid: number): Promise<void> {
  const started = processStart(pid)
  if (started === undefined) return
  for (const { signal, limitMs } of stopSteps) {
    sendSignal(pid, signal)
    if (await untilGone(pid, started, limitMs)) return
  }
  throw new EmbeddedPostgresError(
    'server_did_not_stop',
    `The Postgres server (process ${pid}) does not stop, not even when it is killed. ` +
      'Its disk may hang: look at the system log.',
  )
}

/**
 * Stops the server that an earlier, killed process may have left on this folder. Returns its number.
 * Must be called with the claim on the folder: then whatever runs there has lost its owner.
 */
export async function stopOrphan(dataDir: string, pgdata: string): Promise<number | undefined> {
  const lockFile = join(pgdata, 'postmaster.pid')
  const pid = Math.abs(Number.parseInt(readIfThere(lockFile) ?? '', 10))
  if (Number.isNaN(pid)) return undefined
  const [program, ...args] = processArguments(pid)
  if (basename(program ?? '') !== 'postgres') {
    // The server is dead and its number unused or another program's, which Postgres might mistake for it.
    rmSync(lockFile, { force: true })
    return undefined
  }
  // Someone's own server is not ours to stop: Postgres itself refuses to start beside it.
  if (!args.join(' ').includes(markOf(dataDir))) return undefined
  await stopServer(pid)
  return pid
}

/**
 * When a server was killed alone, its sessions end by themselves once they finish what they are
 * doing, and until then Postgres refuses a new server. 15 s is the limit of our longest statement.
 */
const formerSessionsTimeoutMs = 15_000
const formerSessionsPollMs = 200

/** 60 s, like pg_ctl: replaying the log after a crash takes its time. */
const readyTimeoutMs = 60_000
/** 10 ms: a start takes 50 ms. */
const pollEveryMs = 10
const linesInAnError = 20

/**
 * SIGINT is the fast shutdown: 30 s are for its checkpoint. SIGQUIT skips that and leaves the rest to
 * crash recovery; Postgres itself kills what then lingers for 5 s. The signals are told in its manual.
 */
const stopSteps = [
  { signal: 'SIGINT', limitMs: 30_000 },
  { signal: 'SIGQUIT', limitMs: 8_000 },
  { signal: 'SIGKILL', limitMs: 2_000 },
] as const

type Attempt =
  | { server: SupervisedProcess }
  | { server?: undefined; outcome: 'ended' | 'late'; log: string }

async function startOnce(options: ServerOptions): Promise<Attempt> {
  const lastLines: string[] = []
  const server = await spawnSupervised({
    command: [options.software.postgres, ...serverArguments(options)],
    cwd: options.cluster.pgdata,
    env: postgresEnv,
    ...(options.identity === undefined ? {} : { identity: options.identity }),
    signalOnOurDeath: 'INT',
    onLine(line) {
      lastLines.push(line)
      if (lastLines.length > linesInAnError) lastLines.shift()
      options.log(line)
    },
  })
  const outcome = await untilReady(options.cluster.pgdata, server)
  if (outcome === 'ready') return { server }
  if (outcome === 'late') await stopServer(server.pid)
  await server.exited
  return { outcome, log: lastLines.join('\n') }
}

function serverArguments(options: ServerOptions): string[] {
  const settings: PostgresSettings = {
    timezone: 'UTC',
    log_timezone: 'UTC',
    // Details and statements repeat what clients sent, and that belongs in no log.
    log_error_verbosity: 'terse',
    log_min_error_statement: 'panic',
    ...options.settings,
    // These come last: nobody outside this machine may connect.
    port: options.port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
  }
  return [
    '-D',
    options.cluster.pgdataForServer,
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${settingText(value)}`]),
    '-c',
    markOf(options.dataDir),
  ]
}

function settingText(value: string | number | boolean): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value)
}

/** Stands in the server's arguments, where a later start and `ps` can see which folder it serves. */
function markOf(dataDir: string): string {
  return `payonce.data_dir=${dataDir}`
}

/** The postmaster writes its state into its lock file; this is how pg_ctl waits too. */
async function untilReady(
  pgdata: string,
  server: SupervisedProcess,
): Promise<'ready' | 'ended' | 'late'> {
  const deadline = performance.now() + readyTimeoutMs
  while (performance.now() < deadline) {
    const lines = readIfThere(join(pgdata, 'postmaster.pid'))?.split('\n') ?? []
    const state = lines[stateLine]?.trim()
    // A standby is ready when it can be read from.
    const isUp = state === 'ready' || state === 'standby'
    if (Number(lines[pidLine]) === server.pid && isUp) return 'ready'
    if (!server.isRunning()) return 'ended'
    await sleep(pollEveryMs)
  }
  return 'late'
}

/** Lines of postmaster.pid, from 0 (miscadmin.h: LOCK_FILE_LINE_PID, LOCK_FILE_LINE_PM_STATUS). */
const pidLine = 0
const stateLine = 7

async function untilGone(pid: number, started: string, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs
  while (processStart(pid) === started) {
    if (performance.now() > deadline) return false
    await sleep(pollEveryMs)
  }
  return true
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    const gone = error instanceof Error && 'code' in error && error.code === 'ESRCH'
    if (!gone) throw error
  }
}

function didNotStart(
  options: ServerOptions,
  { outcome, log }: { outcome: 'ended' | 'late'; log: string },
): EmbeddedPostgresError {
  if (log.includes('could not bind IPv4 address')) return portInUse(options.port)
  if (log.includes('lock file "postmaster.pid" already exists')) {
    return new EmbeddedPostgresError(
      'data_dir_in_use',
      `Another Postgres server uses ${options.cluster.pgdata}. ` +
        `Stop it, or choose another data folder. Its lock says:\n${log}`,
    )
  }
  const how =
    outcome === 'late' ? `was not ready after ${readyTimeoutMs / 1000} s` : 'ended while starting'
  return new EmbeddedPostgresError(
    'server_did_not_start',
    `The embedded Postgres ${how}. Its data folder is ${options.dataDir}; its last lines were:\n${log}`,
  )
}

export function portInUse(port: number): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    'port_in_use',
    `Port ${port} on 127.0.0.1, meant for the embedded Postgres, cannot be used: most likely another ` +
      'program listens there. Stop that program, or choose another port.',
  )
}
