import { spawnSync } from 'node:child_process'
import { readIfThere } from './read-if-there.ts'

/**
 * The moment a process started, as text that no other process with its number can have.
 * Undefined when no such process lives; one that has ended and only waits to be reaped counts as none.
 */
export function processStart(pid: number): string | undefined {
  return hasProc ? startFromProc(pid) : startFromPs(pid)
}

/** The arguments of a process, the program first; empty when there is no such process. */
export function processArguments(pid: number): string[] {
  if (hasProc) return (readIfThere(`/proc/${pid}/cmdline`) ?? '').split('\0').slice(0, -1)
  // `ps` joins the arguments, so that those with spaces arrive in pieces: callers compare text.
  return askPs(pid, 'command=')
    .split(' ')
    .filter((part) => part !== '')
}

const hasProc = process.platform === 'linux'

/** The fields of /proc/PID/stat behind the name, which may itself hold spaces and parentheses (proc(5)). */
const stateField = 0
const startField = 19

function startFromProc(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const state = fields[stateField]
  if (state === 'Z' || state === 'X') return undefined
  // The start is counted from boot, so the boot belongs to the name.
  return `${readIfThere('/proc/sys/kernel/random/boot_id')?.trim()} ${fields[startField]}`
}

function startFromPs(pid: number): string | undefined {
  const [state, ...start] = askPs(pid, 'stat=,lstart=').split(/\s+/)
  if (!state || state.startsWith('Z')) return undefined
  return start.join(' ')
}

function askPs(pid: number, columns: string): string {
  const answer = spawnSync('ps', ['-ww', '-o', columns, '-p', String(pid)], { encoding: 'utf8' })
  return answer.status === 0 ? answer.stdout.trim() : ''
}
