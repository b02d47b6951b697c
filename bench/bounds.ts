import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSeconds, cpuSecondsOfFamily } from './usage.ts'
import type { BenchDatabase } from './database.ts'
import type { Measurement } from './metrics.ts'
import type { Observer, Subject } from './throughput.ts'

/** Sees how many cores each part keeps busy, and what connections to the database wait for. */
export function observeBounds(database: Pick<BenchDatabase, 'pool'>): Observer {
  return function beginToLook(subject) {
    const startedAtMs = performance.now()
    const before = readUse(subject)
    const waits = new WaitSampler(database)
    return async () => {
      const seconds = (performance.now() - startedAtMs) / 1_000
      const after = readUse(subject)
      const cores = (role: keyof Use) =>
        Math.max(...after[role].map((used, place) => used - (before[role][place] ?? 0))) / seconds
      return {
        apiCores: cores('api'),
        workerCores: cores('worker'),
        postgresCores: cores('postgres'),
        redisCores: cores('redis'),
        ...(await waits.stop()),
      }
    }
  }
}

/** 90 %: what a thread or a machine can be kept busy with while it waits for the others at times. */
const busyShare = 0.9

/** Says what keeps a rate from being higher, from where CPU time and waiting went. */
export function describeBound(measured: Measurement): string {
  const { machineShare = 0, lockWaits = 0, diskWaits = 0 } = measured
  const busy = parts
    .map((part) => ({ ...part, cores: measured[part.metric] ?? 0 }))
    .toSorted((a, b) => b.cores - a.cores)
  const use = busy.map(({ name, cores }) => `${name} ${cores.toFixed(2)}`).join(', ')
  if (machineShare >= 100 * busyShare) {
    return `bound by the cores of the machine, in use to ${machineShare.toFixed(0)} % (${use})`
  }
  const full = busy.find(({ isOneThread, cores }) => isOneThread && cores >= busyShare)
  if (full !== undefined) return `bound by one thread: ${full.name} (${use})`
  return `bound by waiting: for locks ${lockWaits.toFixed(2)} connections, for the disk ${diskWaits.toFixed(2)} (${use})`
}

const parts = [
  { name: 'API', metric: 'apiCores', isOneThread: true },
  { name: 'busiest worker', metric: 'workerCores', isOneThread: true },
  { name: 'Redis', metric: 'redisCores', isOneThread: true },
  { name: 'Postgres', metric: 'postgresCores', isOneThread: false },
] as const

/** CPU seconds of each process. */
type Use = Record<'api' | 'worker' | 'postgres' | 'redis', readonly number[]>

function readUse({ stack, service: { processes } }: Subject): Use {
  return {
    api: (processes.api ?? []).map(cpuSeconds),
    worker: (processes.worker ?? []).map(cpuSeconds),
    postgres: [cpuSecondsOfFamily(stack.postgres.pid)],
    redis: [cpuSeconds(stack.redis.pid)],
  }
}

/** 50 ms: 200 looks in ten seconds, each of which costs the database a tenth of a millisecond. */
const lookIntervalMs = 50

/** The mean number of connections that wait, from looking again and again. */
class WaitSampler {
  readonly #database: Pick<BenchDatabase, 'pool'>
  readonly #ended: Promise<void>
  readonly #sums = { looks: 0, lock: 0, disk: 0 }
  #isStopping = false

  constructor(database: Pick<BenchDatabase, 'pool'>) {
    this.#database = database
    this.#ended = this.#run()
  }

  async stop(): Promise<Measurement> {
    this.#isStopping = true
    await this.#ended
    const { looks, lock, disk } = this.#sums
    return { lockWaits: lock / looks, diskWaits: disk / looks }
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const { rows } = await this.#database.pool.query<{ lock: number; disk: number }>(readWaits)
      this.#sums.looks += 1
      this.#sums.lock += rows[0]?.lock ?? 0
      this.#sums.disk += rows[0]?.disk ?? 0
      await sleep(lookIntervalMs)
    }
  }
}

/** Who waits for another's commit to reach the disk waits for the disk as well (LWLock WALWrite). */
const readWaits = `
  SELECT count(*) FILTER (WHERE wait_event_type = 'Lock')::float8 AS lock,
         count(*) FILTER (WHERE wait_event_type IN ('IO', 'LWLock')
                            AND lower(wait_event) IN ('walsync', 'walwrite'))::float8 AS disk
    FROM pg_stat_activity
   WHERE datname = current_database() AND state <> 'idle'`
