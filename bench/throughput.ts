import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { runLoad, type LoadOptions, type LoadResult } from './load.ts'
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
  countSettled(): Promise<number>
  /** Bytes of write-ahead log since the beginning of time. */
  readWalBytes(): Promise<number>
}

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
  const load = await runLoad(options, () => {
    for (const pid of Object.values(subject.service.processes).flat()) forgetPeakMemory(pid)
    begun = takeSnapshot(subject)
  })
  const lastAnswerAt = performance.now()
  const end = await takeSnapshot(subject)
  const start = await begun
  if (start === undefined) throw new Error('the load told no end of its warm-up')
  await untilSettled(subject, settledBefore + load.accepted)
  const drainMs = performance.now() - lastAnswerAt
  const { accepted, durationMs, p50Ms, p95Ms, p99Ms, cpuMs } = load.measured
  return {
    load,
    measurement: {
      acceptedPerSecond: (accepted / durationMs) * 1_000,
      drainMs,
      p50Ms,
      p95Ms,
      p99Ms,
      ...compare(start, end, cpuMs / 1_000),
      ...peakMemory(subject.service.processes),
    },
  }
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
  const used = Object.entries(end.cpu).map(
    ([metric, seconds]) => [metric, seconds - (start.cpu[metric as CpuMetric] ?? 0)] as const,
  )
  const ours = used.reduce((total, [, seconds]) => total + seconds, loadSeconds)
  const others =
    end.busySeconds - start.busySeconds - ours - (end.benchSeconds - start.benchSeconds)
  const costs = used.map(([metric, seconds]) => [metric, (seconds / settled) * 1_000])
  return {
    settledPerSecond: settled / elapsedSeconds,
    walBytesPerTransfer: (end.walBytes - start.walBytes) / settled,
    ...(Object.fromEntries(costs) as Measurement),
    loadCpuSeconds: (loadSeconds / settled) * 1_000,
    totalCpuSeconds: (ours / settled) * 1_000,
    othersShare: Math.max(0, (100 * others) / (elapsedSeconds * availableParallelism())),
  }
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

/** 20 ms: finer than the drain of a few batches, and cheap for the database. */
const settledPollMs = 20
/** A minute: what has not settled by then was lost, or never will be in time. */
const drainTimeoutMs = 60_000

async function untilSettled(subject: Subject, expected: number): Promise<void> {
  const deadline = performance.now() + drainTimeoutMs
  for (;;) {
    const settled = await subject.countSettled()
    if (settled >= expected) return
    if (performance.now() > deadline) {
      throw new Error(`${expected - settled} accepted transfers were not settled within a minute`)
    }
    await sleep(settledPollMs)
  }
}
