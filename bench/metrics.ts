/** What can be measured, as the report names it. A scenario gives the ones that it has. */
export const metrics = {
  acceptedPerSecond: { label: 'accepted per second', digits: 0 },
  settledPerSecond: { label: 'settled per second', digits: 0 },
  drainMs: { label: 'settled after the last answer, ms', digits: 0 },
  readyMs: { label: 'ready after, ms', digits: 0 },
  p50Ms: { label: 'answer p50, ms', digits: 1 },
  p95Ms: { label: 'answer p95, ms', digits: 1 },
  p99Ms: { label: 'answer p99, ms', digits: 1 },
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
