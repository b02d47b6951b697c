import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { spawnSupervised, type SupervisedProcess } from '@payonce/local/supervised-process'
import { ProcessOutput } from '../test/support/process-output.ts'

export type Program = SupervisedProcess & {
  /** What it has written so far. */
  output(): string
  /** Asks it to end in order (SIGTERM) and kills it when it does not. */
  stop(): Promise<void>
}

export type ProgramOptions = {
  /** Arguments of node: flags, then the file. */
  command: readonly string[]
  /** The checkout that it belongs to. */
  checkout: string
  env: { [name: string]: string }
}

/** Starts a program of a checkout. It ends with this process, however that ends. */
export async function startProgram({ command, checkout, env }: ProgramOptions): Promise<Program> {
  const output = new ProcessOutput()
  const child = await spawnSupervised({
    command: [process.execPath, ...command],
    cwd: checkout,
    env: { PATH: process.env.PATH ?? '', ...env },
    signalOnOurDeath: 'KILL',
    onLine: (line) => output.add(line),
  })
  return {
    ...child,
    output: () => output.text(),
    stop: () => stop(child),
  }
}

/** What node is given by `npm run NAME`: we measure what a user starts. */
export function commandOfScript(name: string, checkout: string): string[] {
  const { scripts } = JSON.parse(readFileSync(`${checkout}/package.json`, 'utf8')) as {
    scripts: Record<string, string>
  }
  const [shellWord, program, ...command] = (scripts[name] ?? '').split(' ')
  if (shellWord !== 'exec' || program !== 'node') throw new Error(`npm run ${name} starts no node`)
  return command
}

/** Waits until a server answers 200. Throws when it ends first or takes too long. */
export async function untilReady(url: string, program: Program): Promise<void> {
  const deadline = performance.now() + readyTimeoutMs
  while (program.isRunning() && performance.now() < deadline) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    await answer?.arrayBuffer()
    if (answer?.ok) return
    await sleep(readyPollMs)
  }
  throw new Error(`${url} was not ready in time. Its process wrote:\n${program.output()}`)
}

export const repositoryRoot = fileURLToPath(new URL('..', import.meta.url))

/** 30 s: a start takes one second, more on two busy cores. */
const readyTimeoutMs = 30_000
/** 20 ms: fine enough for a start that takes a second, and it costs a per cent of a core. */
const readyPollMs = 20
/** Our programs promise to end within 10 s of SIGTERM; the rest is for a busy machine. */
const stopTimeoutMs = 15_000

async function stop(child: SupervisedProcess): Promise<void> {
  if (child.isRunning()) process.kill(child.pid, 'SIGTERM')
  await Promise.race([child.exited, sleep(stopTimeoutMs, undefined, { ref: false })])
  if (child.isRunning()) process.kill(child.pid, 'SIGKILL')
  await child.exited
}
