import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@payonce/local/loopback-port'
import {
  spawnSupervised,
  type Exit,
  type SupervisedProcess,
} from '@payonce/local/supervised-process'
import { afterAll } from 'vitest'
import { ProcessOutput } from './process-output.ts'

/** A real process of ours. It never outlives the test file that started it. */
export type RunningProcess = SupervisedProcess & {
  /** What it has written so far, standard output and standard error together. */
  output(): string
  /** Resolves with the first line that matches; throws when the process ends first or takes too long. */
  line(pattern: RegExp, timeoutMs?: number): Promise<string>
  /** Sends a signal at once; SIGSTOP freezes, SIGCONT thaws. */
  kill(signal: NodeJS.Signals): void
  /** Asks it to end in order (SIGTERM) and waits. Throws when it does not end within `limitMs`. */
  stop(limitMs?: number): Promise<Exit>
}

export type Environment = { [name: string]: string }

/** Starts an API, on a free port unless PORT is given, and waits until it says that it is ready. */
export async function startApi(env: Environment): Promise<RunningProcess & { url: string }> {
  const port = env.PORT ?? String(await freePort())
  const api = await startProgram('apps/api/src/main.ts', { env: { ...env, PORT: port } })
  const url = `http://127.0.0.1:${port}`
  await untilReady(`${url}/readyz`, api)
  return { ...api, url }
}

/** Starts a worker and waits for the line in which it says that it is ready. */
export async function startWorker(env: Environment): Promise<RunningProcess> {
  const worker = await startProgram('apps/worker/src/main.ts', { env })
  await worker.line(workerReadyLine)
  return worker
}

/** Starts any TypeScript program of this repository, by its path from the root, and does not wait. */
export function startProgram(
  path: string,
  options: ProcessOptions & { args?: readonly string[] } = {},
): Promise<RunningProcess> {
  const command = [process.execPath, '--import', 'tsx', path, ...(options.args ?? [])] as const
  return startCommand(command, options)
}

export type ProcessOptions = {
  /** The root of this repository, unless given. */
  cwd?: string
  env?: Environment
  identity?: { uid: number; gid: number }
}

/** Starts any program at all, and does not wait. */
export async function startCommand(
  command: readonly [program: string, ...args: string[]],
  options: ProcessOptions = {},
): Promise<RunningProcess> {
  const output = new ProcessOutput()
  const child = await spawnSupervised({
    command,
    cwd: options.cwd ?? repositoryRoot,
    // Only what a program cannot do without: a test must not depend on whose terminal it runs in.
    env: { PATH: process.env.PATH ?? '', ...options.env },
    ...(options.identity === undefined ? {} : { identity: options.identity }),
    signalOnOurDeath: 'KILL',
    onLine: (line) => output.add(line),
  })
  const running: RunningProcess = {
    ...child,
    output: () => output.text(),
    line: (pattern, timeoutMs = readyTimeoutMs) => output.untilLine(pattern, timeoutMs, child),
    kill: (signal) => sendSignal(child, signal),
    stop: (limitMs = stopTimeoutMs) => stopWithin(limitMs, running),
  }
  started.push(running)
  return running
}

export const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url))

/** 20 s: a start takes one second, more when two busy cores are shared. */
const readyTimeoutMs = 20_000
/** Our programs promise to end within 10 s of SIGTERM; the rest is for a busy machine. */
const stopTimeoutMs = 15_000

const workerReadyLine = /worker is running/

async function untilReady(url: string, running: RunningProcess): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs
  while (running.isRunning() && performance.now() < deadline) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    if (answer?.ok) return
    await sleep(50)
  }
  const why = running.isRunning() ? 'was not ready in time' : 'ended'
  throw new Error(`The process that should answer ${url} ${why}. It wrote:\n${running.output()}`)
}

function sendSignal(child: SupervisedProcess, signal: NodeJS.Signals): void {
  if (!child.isRunning()) return
  try {
    process.kill(child.pid, signal)
  } catch (error) {
    // It has ended a moment ago, and we have not heard of it yet.
    const gone = error instanceof Error && 'code' in error && error.code === 'ESRCH'
    if (!gone) throw error
  }
}

async function stopWithin(limitMs: number, running: RunningProcess): Promise<Exit> {
  running.kill('SIGTERM')
  const exit = await Promise.race([running.exited, sleep(limitMs, undefined, { ref: false })])
  if (exit !== undefined) return exit
  running.kill('SIGKILL')
  throw new Error(`Not ended ${limitMs} ms after SIGTERM. It wrote:\n${running.output()}`)
}

const started: RunningProcess[] = []

afterAll(async function killStartedProcesses() {
  for (const running of started.splice(0)) {
    running.kill('SIGKILL')
    await running.exited
  }
})
