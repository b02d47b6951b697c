import {
  apiFailpoints,
  deliveryFailpoints,
  settlementFailpoints,
  sweepFailpoints,
} from '../sources/failpoints.ts'
import { apiNames, targetOf, workerNames, type Fault, type Storm } from './fault.ts'
import type { ManagedProcess } from '../harness/managed-process.ts'

/** 30 s: under load every place is come by within moments, unless the machine is busy with others. */
const hitWithinMs = 30_000
/**
 * 45 s for what is done under a lease: of 8 s for a sweep, of 40 s for an endpoint. Whoever held it
 * may have been killed a moment ago.
 */
const hitUnderLeaseWithinMs = 45_000
/** Not always at the first time: what is in flight then differs. */
const mostHits = 12

const kinds = [
  { row: 'F1', targets: apiNames, points: apiFailpoints, recoveryMs: 10_000 },
  { row: 'F3', targets: workerNames, points: settlementFailpoints, recoveryMs: 25_000 },
]

/** F1, F3: a process dies at a named step of its work. */
const atFailpoints: readonly Fault[] = kinds.flatMap(({ row, targets, points, recoveryMs }) =>
  Object.entries<string>(points).map(([name, failpoint]): Fault => ({
    row,
    name,
    targets,
    durationMs: 1_000,
    recoveryMs,
    strike: async (storm, planned) => {
      const target = targetOf(storm, planned)
      const hit = storm.random.integer(1, mostHits)
      await killAt(storm, [target], { failpoint, hit })
    },
  })),
)

const anyones = [
  { row: 'F3', points: sweepFailpoints, recoveryMs: 25_000 },
  { row: 'F18', points: deliveryFailpoints, recoveryMs: 60_000 },
]

/** F3, F18: what one worker at a time does, as sweeping; whichever comes by dies. */
const ofAnyWorker: readonly Fault[] = anyones.flatMap(({ row, points, recoveryMs }) =>
  Object.entries<string>(points).map(([name, failpoint]): Fault => ({
    row,
    name,
    targets: ['workers'],
    durationMs: 1_500,
    recoveryMs,
    strike: (storm) =>
      killAt(storm, storm.workers, { failpoint, hit: 1, withinMs: hitUnderLeaseWithinMs }),
  })),
)

const atRandom: readonly Fault[] = [
  {
    row: 'F1',
    name: 'kill',
    targets: apiNames,
    durationMs: 500,
    recoveryMs: 10_000,
    strike: async (storm, planned) => kill(targetOf(storm, planned)),
  },
  {
    row: 'F3',
    name: 'kill',
    targets: workerNames,
    durationMs: 500,
    recoveryMs: 25_000,
    strike: async (storm, planned) => kill(targetOf(storm, planned)),
  },
  {
    row: 'F3',
    name: 'kill of all workers',
    targets: ['workers'],
    durationMs: 500,
    recoveryMs: 25_000,
    strike: async ({ workers }) => {
      await Promise.all(workers.map(kill))
    },
  },
]

const rounds = 5

/** F5: whoever takes the same jobs over dies as well, five times in a row. */
const again: Fault = {
  row: 'F5',
  name: 'five workers of one job',
  targets: ['workers'],
  durationMs: 20_000,
  recoveryMs: 60_000,
  strike: async (storm) => {
    for (let round = 1; round <= rounds; round++) {
      await Promise.all(storm.workers.map((worker) => worker.untilReady()))
      for (const worker of storm.workers) {
        worker.order({
          failpoint: { name: settlementFailpoints['after-locks'], hit: 1, action: 'kill' },
        })
      }
      await Promise.all(storm.workers.map((worker) => worker.untilEnded(hitWithinMs)))
      for (const worker of storm.workers) worker.withdraw()
    }
  },
}

export const kills: readonly Fault[] = [...atFailpoints, ...ofAnyWorker, ...atRandom, again]

async function kill(process: ManagedProcess): Promise<void> {
  process.kill()
  await process.untilEnded(hitWithinMs)
}

/** Arms the failpoint in these, and disarms the others once one of them has fallen there. */
async function killAt(
  storm: Storm,
  processes: readonly ManagedProcess[],
  { failpoint, hit, withinMs = hitWithinMs }: { failpoint: string; hit: number; withinMs?: number },
): Promise<void> {
  await Promise.all(processes.map((process) => process.untilReady()))
  for (const process of processes) {
    process.order({ failpoint: { name: failpoint, hit, action: 'kill' } })
  }
  const isHit = await Promise.race(processes.map((process) => process.untilEnded(withinMs)))
  for (const process of processes) process.withdraw()
  if (!isHit) storm.find(`nobody came by ${failpoint}: the fault did not happen`)
}
