/**
 * Shows how far the work is, without ever holding it up: on a terminal one line that is written
 * over and over, elsewhere (a log, a pipe) a line every few seconds.
 */
export function showProgress(stream: ProgressStream, describe: () => string): Progress {
  const isTerminal = stream.isTTY === true
  const write = () => {
    if (isTerminal) stream.write(`\r\u001B[K${describe().slice(0, (stream.columns ?? 80) - 1)}`)
    else stream.write(`${describe()}\n`)
  }
  const timer = setInterval(write, isTerminal ? TERMINAL_MS : LOG_MS)
  return {
    stop() {
      clearInterval(timer)
      if (isTerminal) stream.write('\r\u001B[K')
    },
  }
}

export type Progress = { stop(): void }

export type ProgressStream = {
  write(text: string): unknown
  isTTY?: boolean
  columns?: number
}

// Smooth to the eye, and nothing to the machine.
const TERMINAL_MS = 200
const LOG_MS = 5_000
