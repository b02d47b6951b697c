import { spawn, type ChildProcess } from 'node:child_process'
import type { Readable } from 'node:stream'

/**
 * Starts a program that cannot outlive this process: a small shell stands between the two and sends
 * `signalOnOurDeath` when our end of a pipe closes, which the kernel does for us even after kill -9.
 * The program has a session of its own, so that Ctrl-C in the terminal does not reach it.
 */
export async function spawnSupervised(options: SupervisedOptions): Promise<SupervisedProcess> {
  const shell = spawn(
    '/bin/sh',
    ['-c', supervisor, 'sh', options.signalOnOurDeath, ...options.command],
    {
      cwd: options.cwd,
      env: options.env,
      ...options.identity,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    },
  )
  let running = true
  const exited = exitOf(shell).finally(() => (running = false))
  forwardLines(shell, options.onLine)
  const pid = await pidFrom(shell)
  return { pid, exited, isRunning: () => running }
}

export type SupervisedOptions = {
  command: readonly [program: string, ...args: string[]]
  cwd: string
  /** The whole environment of the program: nothing of ours is inherited. */
  env: { [name: string]: string }
  /** Whom the program runs as; this needs root. */
  identity?: { uid: number; gid: number }
  signalOnOurDeath: 'INT' | 'TERM' | 'KILL'
  /** Called with every line of standard output and standard error. */
  onLine(line: string): void
}

export type SupervisedProcess = {
  /** The program itself, not the shell above it. */
  pid: number
  /** Resolves when the program has ended, whoever ended it, and all its output has been read. */
  exited: Promise<Exit>
  /** False from the moment that `exited` resolves. */
  isRunning(): boolean
}

/** As a shell tells it: `code` is 128 + the signal's number when a signal ended the program. */
export type Exit = { code: number }

// The program does not get the pipe (3) or the channel that tells its number (4). `read` is part of
// the shell, so that ending the watcher leaves nothing behind; it must end before the number of the
// program can be another's. Signals meant for the program may reach
// the shell too; they only interrupt its waiting.
const supervisor = `
trap : INT TERM HUP
exec 4>&3 3<&0 </dev/null
signal=$1; shift
"$@" 3<&- 4>&- &
program=$!
echo "$program" >&4
exec 4>&-
{ read -r line <&3; kill -s "$signal" "$program"; } 2>/dev/null &
watcher=$!
exec 3<&-
wait "$program"; code=$?
while kill -s 0 "$program" 2>/dev/null; do wait "$program"; code=$?; done
kill -s KILL "$watcher" 2>/dev/null
exit "$code"
`

function exitOf(shell: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    // A shell that was itself killed has no code of its own; 137 is what it would say of a killed program.
    shell.once('close', (code) => resolve({ code: code ?? 137 }))
    shell.once('error', () => resolve({ code: 127 }))
  })
}

function pidFrom(shell: ChildProcess): Promise<number> {
  const channel = shell.stdio[3] as Readable
  return new Promise((resolve, reject) => {
    shell.once('error', reject)
    // Writing to the closed pipe of a shell that died is an error of the stream, not of ours.
    shell.stdin?.on('error', () => undefined)
    let text = ''
    channel.setEncoding('utf8')
    channel.on('data', (chunk: string) => (text += chunk))
    channel.once('end', () => {
      const pid = Number.parseInt(text, 10)
      if (Number.isNaN(pid))
        reject(new Error('the supervising shell ended before it started the program'))
      else resolve(pid)
    })
  })
}

function forwardLines(shell: ChildProcess, onLine: (line: string) => void): void {
  for (const stream of [shell.stdout, shell.stderr]) {
    let rest = ''
    stream?.setEncoding('utf8')
    stream?.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      lines.forEach((line) => onLine(line))
    })
    stream?.once('end', () => {
      if (rest !== '') onLine(rest)
    })
  }
}
