/** What can be measured, as the report names it. A scenario gives the ones that it has. */
export const metrics = {
  acceptedPerSecond: { label: 'accepted per second', digits: 0 },
  settledPerSecond: { label: 'settled per second', digits: 0 },
  slowestSecond: { label: 'settled in the slowest second', digits: 0 },
  medianSecond: { label: 'settled in the median second', digits: 0 },
  slowestShare: { label: 'slowest second, % of the median', digits: 0 },
  checkpoints: { label: 'checkpoints begun', digits: 0 },
  requestsPerSecond: { label: 'requests answered per second', digits: 0 },
  offeredPerSecond: { label: 'offered per second', digits: 0 },
  refusedPerSecond: { label: 'refused per second', digits: 0 },
  refusedP99Ms: { label: 'refusal p99, ms', digits: 1 },
  drainedPerSecond: { label: 'drained per second', digits: 0 },
  drainMs: { label: 'settled after the last answer, ms', digits: 0 },
  readyMs: { label: 'ready after, ms', digits: 0 },
  p50Ms: { label: 'answer p50, ms', digits: 1 },
  p95Ms: { label: 'answer p95, ms', digits: 1 },
  p99Ms: { label: 'answer p99, ms', digits: 1 },
  p999Ms: { label: 'answer p99.9, ms', digits: 1 },
  deliveredPerSecond: { label: 'webhooks delivered per second', digits: 0 },
  deliveredP50Ms: { label: 'delivered after the event, p50, ms', digits: 0 },
  deliveredP99Ms: { label: 'delivered after the event, p99, ms', digits: 0 },
  apiPeakMb: { label: 'API peak memory, MB', digits: 0 },
  workerPeakMb: { label: 'worker peak memory, MB', digits: 0 },
  endpointPeakMb: { label: 'endpoint peak memory, MB', digits: 0 },
  apiCpuSeconds: { label: 'API CPU s per 1,000', digits: 3 },
  workerCpuSeconds: { label: 'worker CPU s per 1,000', digits: 3 },
  endpointCpuSeconds: { label: 'endpoint CPU s per 1,000', digits: 3 },
  postgresCpuSeconds: { label: 'Postgres CPU s per 1,000', digits: 3 },
  redisCpuSeconds: { label: 'Redis CPU s per 1,000', digits: 3 },
  loadCpuSeconds: { label: 'load generator CPU s per 1,000', digits: 3 },
  totalCpuSeconds: { label: 'all of these together', digits: 3 },
  apiCpuPerRequest: { label: 'API CPU s per 1,000 requests', digits: 3 },
  totalCpuPerRequest: { label: 'all CPU s per 1,000 requests', digits: 3 },
  apiCores: { label: 'cores busy with the API', digits: 2 },
  workerCores: { label: 'cores busy with the busiest worker', digits: 2 },
  postgresCores: { label: 'cores busy with Postgres', digits: 2 },
  redisCores: { label: 'cores busy with Redis', digits: 2 },
  lockWaits: { label: 'connections waiting for a lock', digits: 2 },
  diskWaits: { label: 'connections waiting for the disk', digits: 2 },
  machineShare: { label: 'CPU in use, %', digits: 0 },
  othersShare: { label: 'CPU taken by other programs, %', digits: 0 },
  acceptanceBatch: { label: 'requests per acceptance commit', digits: 1 },
  settlementBatch: { label: 'transfers per ledger commit', digits: 1 },
  walBytesPerTransfer: { label: 'WAL bytes per transfer', digits: 0 },
  redisCommandsPerTransfer: { label: 'Redis commands per transfer', digits: 1 },
} as const satisfies Record<string, { label: string; digits: number }>

export type MetricName = keyof typeof metrics

/** One round of one contender. */
export type Measurement = Readonly<Partial<Record<MetricName, number>>>

export function isMetricName(name: string): name is MetricName {
  return Object.hasOwn(metrics, name)
}

/** Only these of what was measured, where the rest would distract. */
export function pickMetrics(measurement: Measurement, names: readonly MetricName[]): Measurement {
  return Object.fromEntries(names.map((name) => [name, measurement[name] ?? Number.NaN]))
}
