import { execFile } from 'node:child_process'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@payonce/local/embedded-postgres'
import { freePort } from '@payonce/local/loopback-port'
import { clusterDirOf, openCluster, postgresEnv } from '@payonce/local/postgres-cluster'
import { postgresIdentity } from '@payonce/local/postgres-identity'
import { findPostgresSoftware } from '@payonce/local/postgres-software'
import { spawnSupervised, type SupervisedProcess } from '@payonce/local/supervised-process'
import { findRedisProgram, redisMissingLine } from '../../test/support/redis-program.ts'
import { makeSmallDisk } from './small-disk.ts'

/** A store that can be killed, frozen and started again on the same port. */
export type Store = {
  url: string
  /** As a crash of the machine's process does: nothing is tidied up. */
  crash(): Promise<void>
  start(): Promise<void>
  freeze(): void
  thaw(): void
  /** Whatever has been done to it, it runs afterwards. */
  heal(): Promise<void>
  stop(): Promise<void>
}

export type PostgresStore = Store & {
  /**
   * Gives the primary up for lost and makes the standby the new one, for good. Returns its URL.
   * Throws where there is no standby.
   */
  failOver(): Promise<string>
  /** Takes what is left of its disk. Throws where it has no small one of its own. */
  fillDisk(): Promise<void>
  /** Gives the disk back, and starts the server again where it has ended for want of it. */
  freeDisk(): Promise<void>
}

export type RedisStore = Store & {
  /** Throws away what it has on disk. Only while it does not run. */
  forget(): void
}

/** MB: room for the tables of a storm of minutes. */
const smallDiskMb = 1_024

export type PostgresStoreOptions = {
  settings: Record<string, string>
  /** Every durable commit waits until a standby has it on its disk as well. */
  hasStandby: boolean
  /** It can run out of space. Needs root and the right to mount. */
  hasSmallDisk: boolean
  /** Called with every line that the servers have to say. */
  log: (line: string) => void
}

export async function startPostgres(
  folder: string,
  options: PostgresStoreOptions,
): Promise<PostgresStore> {
  const { settings, hasStandby, hasSmallDisk, log } = options
  const port = await freePort()
  const disk = hasSmallDisk ? makeSmallDisk(join(folder, 'disk'), smallDiskMb) : undefined
  const dataDir = join(disk?.folder ?? folder, 'postgres')
  const usual = {
    shared_buffers: `${sharedBuffersMb}MB`,
    max_wal_size: disk === undefined ? '2GB' : `${smallDiskMb / 4}MB`,
    ...settings,
  }
  let start = (more: Record<string, string> = {}): Promise<PostgresServer> =>
    startEmbeddedPostgres({ dataDir, port, settings: { ...usual, ...more }, log })
  let server = await start()
  let url = server.url
  let standby: Standby | undefined
  if (hasStandby) {
    await server.stop()
    const copy = join(folder, 'standby')
    await promisify(execFile)('cp', ['-a', dataDir, copy])
    server = await start({ synchronous_standby_names: standbyName })
    standby = await startStandby(copy, { primaryUrl: url, settings: usual, log })
  }
  return {
    url,
    ...standing({
      // SIGQUIT is Postgres' immediate shutdown: all processes end at once, without a checkpoint.
      kill: async () => {
        process.kill(server.pid, 'SIGQUIT')
        await server.exited
      },
      start: async () => {
        server = await start()
      },
      family: () => familyOf(server.pid),
    }),
    failOver: async () => {
      if (standby === undefined) throw new Error('there is no standby')
      const promoted = standby
      standby = undefined
      process.kill(server.pid, 'SIGQUIT')
      await server.exited
      await promoted.promote()
      server = promoted
      url = promoted.url
      start = promoted.restart
      return url
    },
    fillDisk: async () => {
      if (disk === undefined) throw new Error('the disk is not a small one')
      await disk.fill()
    },
    freeDisk: async () => {
      disk?.free()
      const isOver = await Promise.race([
        server.exited.then(() => true),
        untilAnswers(url).then(() => false),
      ])
      if (isOver) server = await start()
    },
    stop: async () => {
      await server.stop()
      await standby?.stop()
    },
  }
}

type PostgresServer = Pick<EmbeddedPostgres, 'url' | 'pid' | 'exited' | 'stop'>

type Standby = PostgresServer & {
  promote(): Promise<void>
  restart(): Promise<PostgresServer>
}

const standbyName = 'standby'

/** Starts a server on a copy of the primary's stopped folder; it follows the primary from there. */
async function startStandby(
  dataDir: string,
  options: { primaryUrl: string; settings: Record<string, string>; log: (line: string) => void },
): Promise<Standby> {
  const { primaryUrl, settings, log } = options
  const primary = new URL(primaryUrl)
  const identity = postgresIdentity(clusterDirOf(dataDir))
  const software = findPostgresSoftware({ identity, log })
  const { pgdata, pgdataForServer } = await openCluster({ dataDir, software, identity })
  const port = await freePort()
  const url = Object.assign(new URL(primaryUrl), { port: String(port) }).href
  const connection = [
    `host=${primary.hostname}`,
    `port=${primary.port}`,
    `user=${primary.username}`,
    `password=${primary.password}`,
    `application_name=${standbyName}`,
  ]
  writeFileSync(join(pgdata, 'standby.signal'), '')
  const own = {
    ...settings,
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    primary_conninfo: connection.join(' '),
  }

  async function run(): Promise<PostgresServer> {
    const lines: string[] = []
    const { pid, exited } = await spawnSupervised({
      command: [
        software.postgres,
        '-D',
        pgdataForServer,
        ...Object.entries(own).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ],
      cwd: pgdata,
      env: postgresEnv,
      ...(identity === undefined ? {} : { identity }),
      signalOnOurDeath: 'INT',
      onLine: (line) => {
        if (lines.length < 100) lines.push(line)
        log(line)
      },
    })
    await untilAnswers(url).catch((cause: unknown) => {
      throw new Error(`the standby does not answer:\n${lines.join('\n')}`, { cause })
    })
    const stop = async () => {
      signal(pid, 'SIGINT')
      await exited
    }
    return { url, pid, exited, stop }
  }

  return {
    ...(await run()),
    promote: () => askOnce(url, 'SELECT pg_promote()'),
    restart: run,
  }
}

async function untilAnswers(url: string): Promise<void> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const failure = await askOnce(url, 'SELECT').then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failure === undefined) return
    if (performance.now() > deadline) throw failure
    await sleep(50)
  }
}

async function askOnce(url: string, statement: string): Promise<void> {
  const client = new Client(url)
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query(statement)
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** An eighth of the memory and no more than the tables of a storm can use. */
const sharedBuffersMb = Math.min(256, Math.floor(totalmem() / 2 ** 23))

/** A Redis with an append-only file, as for production. */
export async function startRedis(folder: string): Promise<RedisStore> {
  const port = await freePort()
  const dir = join(folder, 'redis')
  await mkdir(dir, { recursive: true })
  let server = await startRedisServer(port, dir)
  const kill = async () => {
    signal(server.pid, 'SIGKILL')
    await server.exited
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    ...standing({
      kill,
      start: async () => {
        server = await startRedisServer(port, dir)
      },
      family: () => [server.pid],
    }),
    forget: () => {
      for (const name of readdirSync(dir)) rmSync(join(dir, name), { recursive: true })
    },
    stop: kill,
  }
}

/** What can be done to the processes of a store, and how it stands with them. */
function standing(store: {
  kill(): Promise<void>
  start(): Promise<void>
  family(): readonly number[]
}): Omit<Store, 'url' | 'stop'> {
  let state: 'running' | 'frozen' | 'down' = 'running'

  async function crash(): Promise<void> {
    state = 'down'
    await store.kill()
  }

  async function start(): Promise<void> {
    await store.start()
    state = 'running'
  }

  function freeze(): void {
    state = 'frozen'
    for (const pid of store.family()) signal(pid, 'SIGSTOP')
  }

  function thaw(): void {
    for (const pid of store.family()) signal(pid, 'SIGCONT')
    state = 'running'
  }

  return {
    crash,
    start,
    freeze,
    thaw,
    heal: async () => {
      if (state === 'frozen') thaw()
      if (state === 'down') await start()
    },
  }
}

async function startRedisServer(port: number, dir: string): Promise<SupervisedProcess> {
  const program = findRedisProgram()
  if (program === undefined) throw new Error(redisMissingLine)
  const settings = {
    port,
    dir,
    bind: '127.0.0.1',
    save: '',
    appendonly: 'yes',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
  }
  const lines: string[] = []
  let sayReady: () => void = () => undefined
  const ready = new Promise<void>((resolve) => (sayReady = resolve))
  const server = await spawnSupervised({
    command: [
      program,
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    ],
    cwd: dir,
    env: { PATH: process.env.PATH ?? '' },
    signalOnOurDeath: 'KILL',
    onLine: (line) => {
      if (lines.length < 100) lines.push(line)
      if (line.includes('Ready to accept connections')) sayReady()
    },
  })
  await Promise.race([
    ready,
    server.exited.then(() => {
      throw new Error(`redis-server ended:\n${lines.join('\n')}`)
    }),
  ])
  return server
}

/** A process and its children: a Postgres server is a family of one generation. */
function familyOf(pid: number): number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => parentOf(child) === pid)
  return [pid, ...children]
}

function parentOf(pid: number): number | undefined {
  try {
    // The name stands in parentheses and may hold anything; the state and the parent follow it.
    const [, parent] = (readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1) ?? '').split(
      ' ',
    )
    return Number(parent)
  } catch {
    return undefined
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    const isGone = error instanceof Error && 'code' in error && error.code === 'ESRCH'
    if (!isGone) throw error
  }
}
