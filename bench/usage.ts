import { readFileSync, readdirSync, writeFileSync } from 'node:fs'

/** Linux counts CPU time in hundredths of a second (USER_HZ), whatever the kernel's own clock. */
const ticksPerSecond = 100

/** The CPU seconds that a process has used, with those of the children that it has waited for. */
export function cpuSeconds(pid: number): number {
  const { userTicks, systemTicks, childTicks } = readStat(pid)
  return (userTicks + systemTicks + childTicks) / ticksPerSecond
}

/** As `cpuSeconds`, with the children that still run: a Postgres is a family of processes. */
export function cpuSecondsOfFamily(pid: number): number {
  return childrenOf(pid).reduce((sum, child) => sum + cpuSeconds(child), cpuSeconds(pid))
}

/** The most memory that a process has held since the last `forgetPeakMemory`, in megabytes. */
export function peakMemoryMb(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
  if (match === null) throw new Error(`process ${pid} tells no peak memory`)
  return Number(match[1]) / 1_024
}

/** Lets the peak begin anew (proc(5), clear_refs). */
export function forgetPeakMemory(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** The CPU seconds that all cores together have worked, whoever for; with what a host took away. */
export function machineBusySeconds(): number {
  const [, ...ticks] = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.split(/ +/) ?? []
  // user, nice, system, idle, iowait, irq, softirq, steal (proc(5)).
  const [user, nice, system, , , irq, softirq, steal] = ticks.map(Number)
  const busy = [user, nice, system, irq, softirq, steal].reduce<number>(
    (sum, value) => sum + (value ?? 0),
    0,
  )
  return busy / ticksPerSecond
}

type Stat = { parent: number; userTicks: number; systemTicks: number; childTicks: number }

/** The fields of /proc/PID/stat behind the program's name, which may itself hold blanks (proc(5)). */
function readStat(pid: number): Stat {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number) => Number(fields[number - firstField])
  return {
    parent: field(4),
    userTicks: field(14),
    systemTicks: field(15),
    childTicks: field(16) + field(17),
  }
}

const firstField = 3

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => parentOf(candidate) === pid)
}

function parentOf(pid: number): number | undefined {
  try {
    return readStat(pid).parent
  } catch {
    // It ended while we were looking around.
    return undefined
  }
}
