import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

export type Metrics = ReturnType<typeof createMetrics>

/**
 * What an operator watches. Counters are of this process; the state of the whole system comes from
 * what the last sweep noted, so that no scrape counts over tables.
 */
export function createMetrics() {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const pools = new Map<string, ConnectionCounts>()
  return {
    registry,
    /** The pools whose connections are shown, by their names: see `watchPools`. */
    pools,
    connections: createConnectionGauge(registers, pools),
    accepted: new Counter({
      name: 'payonce_transfers_accepted_total',
      help: 'Transfers accepted by this process; replays are not counted',
      registers,
    }),
    replayed: new Counter({
      name: 'payonce_requests_replayed_total',
      help: 'Requests answered again under a key that was known',
      registers,
    }),
    settled: new Counter({
      name: 'payonce_transfers_settled_total',
      help: 'Transfers settled by this process',
      labelNames: ['status'] as const,
      registers,
    }),
    acceptanceBatch: new Histogram({
      name: 'payonce_acceptance_batch_size',
      help: 'Requests that shared one acceptance commit',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    }),
    acceptanceDuration: new Histogram({
      name: 'payonce_acceptance_duration_seconds',
      help: 'Duration of one acceptance commit',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2],
      registers,
    }),
    settlementBatch: new Histogram({
      name: 'payonce_settlement_batch_size',
      help: 'Transfers that shared one ledger transaction',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    }),
    settlementDuration: new Histogram({
      name: 'payonce_settlement_duration_seconds',
      help: 'Duration of one ledger transaction',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
      registers,
    }),
    parked: new Counter({
      name: 'payonce_transfers_parked_total',
      help: 'Times that a command threw by itself and was put aside: a bug each time',
      registers,
    }),
    ringsLeft: new Counter({
      name: 'payonce_rings_left_total',
      help: 'Accepted commands whose job could not be added at once and was left to the sweep',
      registers,
    }),
    sweepRescues: new Counter({
      name: 'payonce_sweep_rescues_total',
      help: 'Due commands that the sweep rang again',
      registers,
    }),
    sweepDuration: new Histogram({
      name: 'payonce_sweep_duration_seconds',
      help: 'Duration of one sweep',
      buckets: [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10],
      registers,
    }),
    horizonStalled: new Gauge({
      name: 'payonce_events_horizon_stalled_seconds',
      help: 'How long an open transaction has kept new events from being published; 0 where none does',
      registers,
    }),
    eventsWaiting: new Gauge({
      name: 'payonce_events_waiting',
      help: 'Events not yet published (up to), and published ones without their deliveries (up to)',
      labelNames: ['for'] as const,
      registers,
    }),
    deliveriesMade: new Counter({
      name: 'payonce_webhook_deliveries_total',
      help: 'Deliveries made by this process: one per event and endpoint',
      registers,
    }),
    webhookAttempts: new Histogram({
      name: 'payonce_webhook_attempt_duration_seconds',
      help: 'Duration of attempts to deliver, by what became of the delivery',
      labelNames: ['status'] as const,
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
      registers,
    }),
    endpointsDisabled: new Counter({
      name: 'payonce_webhook_endpoints_disabled_total',
      help: 'Endpoints that were disabled because they failed for long, or said that they are gone',
      labelNames: ['reason'] as const,
      registers,
    }),
    httpDuration: new Histogram({
      name: 'payonce_http_request_duration_seconds',
      help: 'Duration of requests, from their head to the end of their answer',
      labelNames: ['method', 'route', 'status'] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30],
      registers,
    }),
  }
}

/** What a pool of connections tells of itself. */
export type ConnectionCounts = { totalCount: number; idleCount: number; waitingCount: number }

/** Shows how many connections of a pool are in use, idle, or waited for. Several may call it. */
export function watchPools(
  metrics: Metrics,
  pools: Readonly<Record<string, ConnectionCounts>>,
): void {
  for (const [name, pool] of Object.entries(pools)) metrics.pools.set(name, pool)
}

function createConnectionGauge(
  registers: Registry[],
  pools: ReadonlyMap<string, ConnectionCounts>,
): Gauge<'pool' | 'state'> {
  return new Gauge({
    name: 'payonce_pool_connections',
    help: 'Connections of a pool: in use, idle, and requests waiting for one',
    labelNames: ['pool', 'state'] as const,
    registers,
    collect() {
      for (const [name, pool] of pools) {
        this.set({ pool: name, state: 'used' }, pool.totalCount - pool.idleCount)
        this.set({ pool: name, state: 'idle' }, pool.idleCount)
        this.set({ pool: name, state: 'waiting' }, pool.waitingCount)
      }
    },
  })
}

/** A gauge whose value is asked for at each scrape; while it cannot be told it is left out. */
export function watchValue(
  { registry }: Metrics,
  options: { name: string; help: string; read(): number | undefined | Promise<number | undefined> },
): void {
  const gauge = new Gauge({
    name: options.name,
    help: options.help,
    registers: [],
    async collect() {
      const value = await Promise.resolve(options.read()).catch(() => undefined)
      if (value === undefined) this.reset()
      else this.set(value)
    },
  })
  registry.registerMetric(gauge)
}
