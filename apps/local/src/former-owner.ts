import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ownerOfDataDir } from './data-dir-claim.ts'

/** Another process serves this data folder. The message says which, and what to do. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError'
}

/**
 * Waits a moment for the process that uses this data folder, which may be stopping just now. Throws
 * `AlreadyRunningError` where it stays. Asked before the port is looked at: someone who starts twice
 * by mistake finds both in use, and this is the reason.
 */
export async function awaitFormerOwner(dataDir: string): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const pid = ownerOfDataDir(dataDir)
    if (pid === undefined) return
    if (performance.now() > deadline) throw alreadyRunning(dataDir, pid)
    await sleep(pollEveryMs)
  }
}

/** 3 s: a stop takes 0.2 s, and after a kill -9 of npm it begins within half a second. */
const patienceMs = 3_000
const pollEveryMs = 50

function alreadyRunning(dataDir: string, pid: number): AlreadyRunningError {
  return new AlreadyRunningError(
    `already running on the data in ${resolve(dataDir)} (process ${pid}). ` +
      `Stop that one (Ctrl-C in its terminal, or: kill ${pid}), ` +
      'or start another beside it: DATA_DIR=./.payonce-2 PORT=3001 npm start',
  )
}
