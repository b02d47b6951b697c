import { availableParallelism } from 'node:os'
import { runLoad, type LoadOptions, type LoadResult } from './load.ts'
import { untilSettled } from './settled.ts'
import {
  cpuSeconds,
  cpuSecondsOfFamily,
  forgetPeakMemory,
  machineBusySeconds,
  peakMemoryMb,
} from './usage.ts'
import type { Measurement } from './metrics.ts'
import type { Service } from './service.ts'
import type { Stack } from './stack.ts'

export type Role = 'api' | 'worker' | 'endpoint'

/** What the load is put on, and how to see from outside how far it has come. */
export type Subject = {
  stack: Stack
  service: Pick<Service, 'url'> & { processes: Readonly<Partial<Record<Role, readonly number[]>>> }
  /** Transfers whose money has moved, as a client could see it in the database. */
  countSettled: () => Promise<number>
  /** Bytes of write-ahead log since the beginning of time. */
  readWalBytes(): Promise<number>
  /** What else looks on while the load is measured. */
  observers?: readonly Observer[]
}

/** Begins to look on when it is called, and ends with what it saw when what it returns is called. */
export type Observer = (subject: Subject) => () => Promise<Measurement>

export type Throughput = { measurement: Measurement; load: LoadResult }

/**
 * Puts a load on a service and counts what is settled: from the end of the warm-up until the last
 * answer, and then until nothing accepted is left.
 */
export async function measureThroughput(
  subject: Subject,
  options: LoadOptions,
): Promise<Throughput> {
  const settledBefore = await subject.countSettled()
  let begun: Promise<Snapshot> | undefined
  let observations: (() => Promise<Measurement>)[] = []
  const load = await runLoad(options, () => {
    for (const pid of Object.values(subject.service.processes).flat()) forgetPeakMemory(pid)
    begun = takeSnapshot(subject)
    observations = (subject.observers ?? []).map((observe) => observe(subject))
  })
  const lastAnswerAt = performance.now()
  const end = await takeSnapshot(subject)
  const start = await begun
  if (start === undefined) throw new Error('the load told no end of its warm-up')
  const observed = await Promise.all(observations.map((end) => end()))
  await untilSettled(subject.countSettled, settledBefore + load.accepted)
  const drainMs = performance.now() - lastAnswerAt
  const { accepted, durationMs, p50Ms, p95Ms, p99Ms, p999Ms, cpuMs } = load.measured
  return {
    load,
    measurement: {
      acceptedPerSecond: (accepted / durationMs) * 1_000,
      drainMs,
      p50Ms,
      p95Ms,
      p99Ms,
      p999Ms,
      ...compare(start, end, cpuMs / 1_000),
      ...(isEachTransfer(options) ? {} : costsOfRequests(start, end, load)),
      ...(options.refusedStatus === undefined ? {} : refusals(load)),
      ...peakMemory(subject.service.processes),
      ...Object.assign({}, ...observed),
    },
  }
}

function isEachTransfer({ traffic, refusedStatus }: LoadOptions): boolean {
  return traffic.sentTimes === undefined && refusedStatus === undefined
}

/** Where some requests are no transfers, being sent again or refused: what each of them costs. */
function costsOfRequests(start: Snapshot, end: Snapshot, { measured }: LoadResult): Measurement {
  const { durationMs, cpuMs } = measured
  const answered = measured.answered + measured.refused
  const { api, all } = usedBetween(start, end)
  return {
    requestsPerSecond: (answered / durationMs) * 1_000,
    apiCpuPerRequest: (api / answered) * 1_000,
    totalCpuPerRequest: ((all + cpuMs / 1_000) / answered) * 1_000,
  }
}

function refusals({ measured: { refused, refusedP99Ms, durationMs } }: LoadResult): Measurement {
  const refusedPerSecond = (refused / durationMs) * 1_000
  return refused === 0 ? { refusedPerSecond } : { refusedPerSecond, refusedP99Ms }
}

type Snapshot = {
  atMs: number
  settled: number
  walBytes: number
  /** Of the whole machine, and of this process alone. */
  busySeconds: number
  benchSeconds: number
  cpu: { [metric in CpuMetric]?: number }
}

type CpuMetric = `${Role | 'postgres' | 'redis'}CpuSeconds`

async function takeSnapshot(subject: Subject): Promise<Snapshot> {
  const { stack, service } = subject
  const settled = await subject.countSettled()
  const atMs = performance.now()
  return {
    atMs,
    settled,
    busySeconds: machineBusySeconds(),
    benchSeconds: cpuSeconds(process.pid),
    cpu: {
      ...mapRoles(service.processes, (role, pids) => [
        `${role}CpuSeconds`,
        sum(pids.map(cpuSeconds)),
      ]),
      postgresCpuSeconds: cpuSecondsOfFamily(stack.postgres.pid),
      redisCpuSeconds: cpuSeconds(stack.redis.pid),
    },
    walBytes: await subject.readWalBytes(),
  }
}

/** Costs are per 1,000 settled transfers; `loadSeconds` is what the load generator used. */
function compare(start: Snapshot, end: Snapshot, loadSeconds: number): Measurement {
  const settled = end.settled - start.settled
  const elapsedSeconds = (end.atMs - start.atMs) / 1_000
  const used = usedBetween(start, end)
  const ours = used.all + loadSeconds
  const busy = end.busySeconds - start.busySeconds
  const others = busy - ours - (end.benchSeconds - start.benchSeconds)
  const costs = used.byRole.map(([metric, seconds]) => [metric, (seconds / settled) * 1_000])
  const ofAllCores = (seconds: number) =>
    (100 * seconds) / (elapsedSeconds * availableParallelism())
  return {
    settledPerSecond: settled / elapsedSeconds,
    walBytesPerTransfer: (end.walBytes - start.walBytes) / settled,
    ...(Object.fromEntries(costs) as Measurement),
    loadCpuSeconds: (loadSeconds / settled) * 1_000,
    totalCpuSeconds: (ours / settled) * 1_000,
    machineShare: ofAllCores(busy),
    othersShare: Math.max(0, ofAllCores(others)),
  }
}

/** CPU seconds of all that is measured, without the load. */
function usedBetween(start: Snapshot, end: Snapshot) {
  const byRole = Object.entries(end.cpu).map(
    ([metric, seconds]) => [metric, seconds - (start.cpu[metric as CpuMetric] ?? 0)] as const,
  )
  const api = byRole.find(([metric]) => metric === 'apiCpuSeconds')?.[1] ?? Number.NaN
  return { byRole, api, all: sum(byRole.map(([, seconds]) => seconds)) }
}

/** Of several processes of a role, that of the largest. */
function peakMemory(processes: Readonly<Partial<Record<Role, readonly number[]>>>): Measurement {
  return mapRoles(processes, (role, pids) => [`${role}PeakMb`, Math.max(...pids.map(peakMemoryMb))])
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function mapRoles<Name extends string>(
  processes: Readonly<Partial<Record<Role, readonly number[]>>>,
  map: (role: Role, pids: readonly number[]) => [name: Name, value: number],
): Partial<Record<Name, number>> {
  const pairs = Object.entries(processes).map(([role, pids]) => map(role as Role, pids))
  return Object.fromEntries(pairs) as Partial<Record<Name, number>>
}
