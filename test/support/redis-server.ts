import { tmpdir } from 'node:os'
import { freePort } from '@payonce/local/loopback-port'
import { spawnSupervised, type SupervisedProcess } from '@payonce/local/supervised-process'
import { ProcessOutput } from './process-output.ts'
import { findRedisProgram, redisMissingLine } from './redis-program.ts'

export type RedisServer = SupervisedProcess & { url: string; port: number }

/** Settings of Redis besides the usual ones, as in its configuration file. */
export type RedisSettings = Readonly<Record<string, string | number>>

/**
 * Starts a Redis on a loopback port, any free one unless told. It keeps nothing on disk, evicts
 * nothing, and ends with this process.
 */
export async function startRedisServer(
  port?: number,
  settings: RedisSettings = {},
): Promise<RedisServer> {
  for (let tries = 1; ; tries++) {
    const server = await startOnce(port ?? (await freePort()), settings)
    if ('url' in server) return server
    // Another program may take a free port before Redis does.
    if (port !== undefined || tries === 5) throw new Error(`redis-server ended:\n${server.log}`)
  }
}

async function startOnce(
  port: number,
  settings: RedisSettings,
): Promise<RedisServer | { log: string }> {
  const program = findRedisProgram()
  if (program === undefined) throw new Error(redisMissingLine)
  const output = new ProcessOutput()
  const server = await spawnSupervised({
    command: [program, ...redisArguments(port, settings)],
    cwd: tmpdir(),
    env: { PATH: process.env.PATH ?? '' },
    signalOnOurDeath: 'KILL',
    onLine: (line) => output.add(line),
  })
  const isReady = await output
    .untilLine(/Ready to accept connections/, readyTimeoutMs, server)
    .then(
      () => true,
      () => false,
    )
  if (isReady) return { ...server, port, url: `redis://127.0.0.1:${port}` }
  if (server.isRunning()) process.kill(server.pid, 'SIGKILL')
  return { log: output.text() }
}

/** 10 s: it takes 20 ms on an idle machine. */
const readyTimeoutMs = 10_000

function redisArguments(port: number, additional: RedisSettings): string[] {
  const settings = {
    port,
    bind: '127.0.0.1',
    save: '',
    appendonly: 'no',
    'maxmemory-policy': 'noeviction',
    // One numbered database for each test file, and more files than anyone will write.
    databases: 1024,
    ...additional,
  }
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
}
