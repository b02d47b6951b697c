import { setTimeout as sleep } from 'node:timers/promises'
import { settlementFailpoints } from '../sources/failpoints.ts'
import { apiNames, targetOf, workerNames, type Fault } from './fault.ts'
import type { ManagedProcess } from '../harness/managed-process.ts'

/** 20 s: a job's lock is over after 15 s, and then somebody else runs it. */
const pastTheLockMs = 20_000
const stopWithinMs = 10_000
const hour = 3_600_000

export const pauses: readonly Fault[] = [
  frozenAt('after-locks', settlementFailpoints['after-locks']),
  frozenAt('after the commit', settlementFailpoints['job-not-acknowledged']),
  {
    row: 'F4',
    name: 'frozen',
    targets: workerNames,
    durationMs: pastTheLockMs,
    recoveryMs: 30_000,
    strike: async (storm, planned) => {
      const worker = targetOf(storm, planned)
      worker.freeze()
      await sleep(planned.durationMs)
      worker.thaw()
    },
  },
  {
    row: 'F6',
    name: 'rolling restart',
    targets: ['all'],
    durationMs: 15_000,
    recoveryMs: 5_000,
    strike: async (storm) => {
      for (const process of [...storm.workers, ...storm.apis]) {
        await process.untilReady()
        const { exit, tookMs } = await process.restart(stopWithinMs)
        const took = `${Math.round(tookMs)} ms`
        if (exit?.code !== 0) {
          storm.find(`F6: ${process.name} ended with ${exit?.code ?? 'nothing'} after ${took}`)
        }
        storm.tell(`${process.name} ended within ${took} of SIGTERM`)
        await process.untilReady()
      }
    },
  },
  {
    row: 'F17',
    name: 'clock two hours ahead',
    targets: [...apiNames, ...workerNames],
    durationMs: 8_000,
    recoveryMs: 30_000,
    strike: (storm, planned) => shiftClock(storm, planned, [2 * hour]),
  },
  {
    row: 'F17',
    name: 'clock two hours behind',
    targets: [...apiNames, ...workerNames],
    durationMs: 8_000,
    recoveryMs: 30_000,
    strike: (storm, planned) => shiftClock(storm, planned, [-2 * hour]),
  },
  {
    row: 'F17',
    name: 'clock jumping',
    targets: [...apiNames, ...workerNames],
    durationMs: 8_000,
    recoveryMs: 30_000,
    strike: (storm, planned) =>
      shiftClock(storm, planned, [5 * hour, -hour, 100 * hour, 0, -48 * hour, 1, hour, -hour]),
  },
]

/** F4: a worker freezes at a step of its work, and thaws when others have run its jobs. */
function frozenAt(step: string, failpoint: string): Fault {
  return {
    row: 'F4',
    name: `frozen ${step}`,
    targets: workerNames,
    durationMs: pastTheLockMs,
    recoveryMs: 30_000,
    strike: async (storm, planned) => {
      const worker = targetOf(storm, planned)
      await worker.untilReady()
      worker.order({ failpoint: { name: failpoint, hit: 2, action: 'freeze' } })
      const isHit = await untilFrozen(worker)
      if (isHit) await sleep(planned.durationMs)
      else storm.find(`nobody came by ${failpoint}: the fault did not happen`)
      worker.withdraw()
      worker.thaw()
    },
  }
}

/** 30 s: under load every place is come by within moments, unless the machine is busy with others. */
const hitWithinMs = 30_000

async function untilFrozen(worker: ManagedProcess): Promise<boolean> {
  const deadline = performance.now() + hitWithinMs
  while (performance.now() < deadline) {
    if (worker.isFrozen) return true
    await sleep(25)
  }
  return false
}

/** Lets the clock of the target be wrong by each of these for a while, and then right again. */
async function shiftClock(
  ...[storm, planned, offsetsMs]: [...Parameters<Fault['strike']>, readonly number[]]
): Promise<void> {
  const process = targetOf(storm, planned)
  await process.untilReady()
  for (const clockOffsetMs of offsetsMs) {
    process.order({ clockOffsetMs })
    await sleep(planned.durationMs / offsetsMs.length)
  }
  process.withdraw()
}
