import { constants } from 'node:os'

/**
 * Runs a service until the process is asked to stop (SIGTERM, SIGINT), then closes it and exits with
 * 0. Where it cannot start, and where it fails while it runs, prints one line that says why, and exits
 * with 1. A signal while it starts, and a second one while it closes, end the process at once.
 */
export async function runUntilSignal(name: string, start: () => Promise<Service>): Promise<void> {
  let isStarted = false
  // Listened for from the beginning: who sees that it runs may stop it in the same moment.
  const asked = new Promise<void>((resolve) => {
    onFirstSignal((signal) => {
      if (!isStarted) process.exit(exitCodeOf(signal))
      resolve()
    })
  })
  try {
    const service = await start()
    isStarted = true
    const failure = await Promise.race([
      asked,
      ...(service.failed === undefined ? [] : [service.failed]),
    ])
    if (failure !== undefined) throw failure
    await service.close()
    process.exit(0)
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    process.exit(1)
  }
}

export type Service = {
  close(): Promise<void>
  /** Resolves, with why, when it cannot go on and is to be started anew. */
  failed?: Promise<Error>
}

/**
 * Calls back on the first SIGTERM or SIGINT; a second one, of a person who will not wait, ends the
 * process at once. Returns what ends the listening.
 */
export function onFirstSignal(callback: (signal: StopSignal) => void): () => void {
  let firstAt: number | undefined
  function receive(signal: StopSignal): void {
    if (firstAt === undefined) {
      firstAt = performance.now()
      callback(signal)
    } else if (performance.now() - firstAt > echoMs) {
      process.exit(exitCodeOf(signal))
    }
  }
  for (const signal of stopSignals) process.on(signal, receive)
  return function stopListening() {
    for (const signal of stopSignals) process.off(signal, receive)
  }
}

/** As a shell reports a process that a signal ended: 128 and the signal's number. */
export function exitCodeOf(signal: StopSignal): number {
  return 128 + constants.signals[signal]
}

export type StopSignal = (typeof stopSignals)[number]

const stopSignals = ['SIGTERM', 'SIGINT'] as const

/**
 * Ctrl-C under `npm run` arrives twice, 1 ms apart: from the terminal, and once more from npm, which
 * passes on what it received itself. 500 ms: a busy machine may be slower than that.
 */
const echoMs = 500
