import { readFileSync, readdirSync, rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@payonce/local/embedded-postgres'
import { freePort } from '@payonce/local/loopback-port'
import { spawnSupervised, type SupervisedProcess } from '@payonce/local/supervised-process'
import { findRedisProgram, redisMissingLine } from '../../test/support/redis-program.ts'

/** A store that can be killed, frozen and started again on the same port. */
export type Store = {
  url: string
  /** As a crash of the machine's process does: nothing is tidied up. */
  crash(): Promise<void>
  start(): Promise<void>
  freeze(): void
  thaw(): void
  isAway(): boolean
  /** Whatever has been done to it, it runs afterwards. */
  heal(): Promise<void>
  stop(): Promise<void>
}

export type RedisStore = Store & {
  /** Throws away what it has on disk. Only while it does not run. */
  forget(): void
}

export async function startPostgres(
  folder: string,
  settings: Record<string, string>,
): Promise<Store> {
  const port = await freePort()
  const start = (): Promise<EmbeddedPostgres> =>
    startEmbeddedPostgres({
      dataDir: join(folder, 'postgres'),
      port,
      settings: { shared_buffers: `${sharedBuffersMb}MB`, max_wal_size: '2GB', ...settings },
      log: () => undefined,
    })
  let server = await start()
  return {
    url: server.url,
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
    stop: () => server.stop(),
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
    isAway: () => state !== 'running',
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
