import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { processStart } from '@payonce/local/process-identity'

/** A process that was seen, under a name that no later one can have. */
export type SeenProcess = { pid: number; started: string }

/** A process and all below it, as they are now. */
export function seeTree(root: number): SeenProcess[] {
  const parents = readParents()
  const pids = [root]
  for (const pid of pids) {
    for (const [child, parent] of parents) if (parent === pid) pids.push(child)
  }
  return pids.flatMap((pid) => {
    const started = processStart(pid)
    return started === undefined ? [] : [{ pid, started }]
  })
}

/** Those of them that still live. */
export function stillAlive(processes: readonly SeenProcess[]): number[] {
  return processes.filter(({ pid, started }) => processStart(pid) === started).map(({ pid }) => pid)
}

export function parentOf(pid: number): number {
  const parent = readParents().get(pid)
  if (parent === undefined) throw new Error(`there is no process ${pid}`)
  return parent
}

/** Every process with its parent. */
function readParents(): Map<number, number> {
  return new Map(process.platform === 'linux' ? parentsFromProc() : parentsFromPs())
}

function parentsFromProc(): [number, number][] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        // The parent is the second field behind the name, which may hold anything (proc(5)).
        const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]
        return [[Number(name), Number(parent)] as [number, number]]
      } catch {
        // It has ended since the folder was listed.
        return []
      }
    })
}

function parentsFromPs(): [number, number][] {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number) as [number, number])
}
