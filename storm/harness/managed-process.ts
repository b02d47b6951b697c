import { createWriteStream, readFileSync, writeFileSync, type WriteStream } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  spawnSupervised,
  type Exit,
  type SupervisedProcess,
} from '@payonce/local/supervised-process'
import { commandOfScript, repositoryRoot } from '../../bench/program.ts'
import { signalOfExit } from './signal-of-exit.ts'
import type { Orders } from './orders.ts'
import type { Recorder } from './recorder.ts'

export type ManagedProcessOptions = {
  name: string
  script: 'api' | 'worker'
  env: { [name: string]: string }
  /** Answers 200 when the process is ready. */
  readyUrl: string
  folder: { out: string; orders: string; sources: string }
  recorder: Recorder
  /** Whether it is no surprise that a process which was started then cannot start: a fault lasted. */
  mayFailToStart(startedAtMs: number): boolean
}

/** 0.5 s, as a supervisor takes to start a process again that has ended. */
const restartAfterMs = 500
/** What register.mjs writes before it kills the process. */
const fallsAtFailpoint = /"storm failpoint".*"kill"/
/** 30 s: a start takes one second, more on two busy cores. */
const readyTimeoutMs = 30_000

/** A process of the product, kept running as a supervisor does. It ends with this process. */
export class ManagedProcess {
  readonly name: string
  readonly #options: ManagedProcessOptions
  readonly #log: WriteStream
  #child: SupervisedProcess | undefined
  #isReady = false
  #isEndExpected = false
  #isKept = true
  #running: Promise<void> | undefined

  constructor(options: ManagedProcessOptions) {
    this.#options = options
    this.name = options.name
    this.#log = createWriteStream(join(options.folder.out, `${options.name}.log`))
    this.#give({})
  }

  /** Starts it and resolves once it is ready. From then on it is started again whenever it ends. */
  async start(): Promise<void> {
    this.#isKept = true
    this.#running ??= this.#keepRunning()
    await this.untilReady()
  }

  async untilReady(timeoutMs = readyTimeoutMs): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (!this.#isReady) {
      if (performance.now() > deadline) throw new Error(`${this.name} was not ready in time`)
      await sleep(25)
    }
  }

  get isReady(): boolean {
    return this.#isReady
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** kill -9, which it does not survive even when it is frozen. */
  kill(): void {
    this.#isEndExpected = true
    this.#signal('SIGKILL')
  }

  freeze(): void {
    this.#signal('SIGSTOP')
  }

  /** Whether it stands still, be it that it was frozen or that it fell at a failpoint. */
  get isFrozen(): boolean {
    const pid = this.#child?.pid
    // The name stands in parentheses and may hold anything; the state follows it.
    return pid !== undefined && /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  }

  thaw(): void {
    this.#signal('SIGCONT')
  }

  /** Tells it to fall at a failpoint, or to live by another clock. It forgets this when it ends. */
  order(orders: Orders): void {
    this.#give(orders)
    this.#signal('SIGUSR2')
  }

  /** Withdraws what was ordered. */
  withdraw(): void {
    this.#give({})
    if (this.#isReady) this.#signal('SIGUSR2')
  }

  /** Resolves when the process that runs now has ended, and false when it has not within the time. */
  async untilEnded(timeoutMs: number): Promise<boolean> {
    const child = this.#child
    if (child === undefined) return true
    const given = new AbortController()
    const late = sleep(timeoutMs, 'late' as const, { signal: given.signal }).catch(() => undefined)
    const ended = await Promise.race([child.exited, late])
    given.abort()
    return ended !== 'late'
  }

  /** Asks it to end (SIGTERM); resolves with how long that took, and how it ended. It starts again. */
  async restart(limitMs: number): Promise<{ exit: Exit | undefined; tookMs: number }> {
    const child = this.#child
    const startedAtMs = performance.now()
    this.#isEndExpected = true
    this.#signal('SIGTERM')
    const isEnded = await this.untilEnded(limitMs)
    const tookMs = performance.now() - startedAtMs
    if (!isEnded) this.kill()
    return { exit: isEnded ? await child?.exited : undefined, tookMs }
  }

  async stop(): Promise<void> {
    this.#isKept = false
    this.#isEndExpected = true
    this.#signal('SIGCONT')
    this.#signal('SIGTERM')
    if (!(await this.untilEnded(12_000))) this.#signal('SIGKILL')
    await this.#running
    this.#log.end()
  }

  async #keepRunning(): Promise<void> {
    while (this.#isKept) {
      await this.#runOnce()
      if (this.#isKept) await sleep(restartAfterMs)
    }
  }

  async #runOnce(): Promise<void> {
    const { env, script, folder, recorder, mayFailToStart, readyUrl } = this.#options
    this.#give({})
    this.#isEndExpected = false
    const startedAtMs = performance.now()
    const child = await spawnSupervised({
      command: [
        process.execPath,
        '--import',
        join(repositoryRoot, 'storm/sources/register.mjs'),
        ...commandOfScript(script, repositoryRoot),
      ],
      cwd: repositoryRoot,
      env: {
        PATH: process.env.PATH ?? '',
        STORM_SOURCES: folder.sources,
        STORM_ORDERS: this.#ordersFile(),
        ...env,
      },
      signalOnOurDeath: 'KILL',
      onLine: (line) => {
        this.#log.write(`${line}\n`)
        // It may fall there although the order has just been withdrawn.
        if (fallsAtFailpoint.test(line)) this.#isEndExpected = true
      },
    })
    this.#child = child
    void this.#watchReadiness(readyUrl, child)
    const { code } = await child.exited
    const couldNotStart = !this.#isReady && mayFailToStart(startedAtMs)
    this.#child = undefined
    this.#isReady = false
    const signal = signalOfExit(code)
    recorder.append({
      type: 'exited',
      process: this.name,
      code: signal === null ? code : null,
      signal,
      isExpected: this.#isEndExpected || couldNotStart,
    })
  }

  async #watchReadiness(url: string, child: SupervisedProcess): Promise<void> {
    while (child.isRunning()) {
      const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
      await answer?.arrayBuffer().catch(() => undefined)
      if (answer?.ok) {
        if (this.#child === child) this.#isReady = true
        return
      }
      await sleep(50)
    }
  }

  #ordersFile(): string {
    return join(this.#options.folder.orders, `${this.name}.json`)
  }

  #give(orders: Orders): void {
    writeFileSync(this.#ordersFile(), JSON.stringify(orders))
  }

  #signal(signal: NodeJS.Signals): void {
    const child = this.#child
    if (child === undefined || !child.isRunning()) return
    try {
      process.kill(child.pid, signal)
    } catch (error) {
      // It has ended a moment ago, and we have not heard of it yet.
      const isGone = error instanceof Error && 'code' in error && error.code === 'ESRCH'
      if (!isGone) throw error
    }
  }
}
