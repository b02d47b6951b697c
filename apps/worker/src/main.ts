import { hostname } from 'node:os'
import { createClock } from '@payonce/core/clock'
import { readWorkerConfig, type WorkerConfig } from '@payonce/core/config'
import { createPool } from '@payonce/core/db/client'
import { requireDurability } from '@payonce/core/db/durability'
import { createIdGenerator } from '@payonce/core/ids'
import { requireLedgerSecret } from '@payonce/core/ledger/seal'
import { createLog, type Log } from '@payonce/core/log'
import { createMetrics, watchPools, type Metrics } from '@payonce/core/metrics'
import { runUntilSignal } from '@payonce/core/process'
import { inspectQueue } from '@payonce/core/queue/inspect'
import {
  createDeliveryQueue,
  createDeliveryWorker,
  createSettlementQueue,
  createSettlementWorker,
  type SettlementQueue,
} from '@payonce/core/queue/queues'
import { createSettler } from '@payonce/core/transfers/settle'
import { readSweepState } from '@payonce/core/transfers/unsettled'
import { createDeliverer } from '@payonce/core/webhooks/deliver'
import { createSender } from '@payonce/core/webhooks/send'
import { startProbeServer } from './probe-server.ts'
import { createSweeper } from './sweeps/unsettled.ts'
import { createWebhookSweeper } from './sweeps/webhooks.ts'
import { createWatchdog } from './watchdog.ts'

export type StartedWorker = {
  /** Ends the jobs in hand, gives back the sweep's lease and closes everything. Safe to call twice. */
  close(): Promise<void>
  /**
   * Resolves, with why, should the worker ever stop taking jobs that wait: whoever runs it ends it
   * then, and a supervisor starts it anew. What it has in hand is safe, as after a kill.
   */
  failed: Promise<Error>
}

/** 8 s for the jobs in hand, so that the whole stop takes less than the usual 10 s. */
const drainTimeoutMs = 8_000
/** 3 s for attempts in flight: what is cut off then is sent again, under the same id. */
const attemptsDrainTimeoutMs = 3_000
/** A quarter: a tenant whose endpoints are all slow leaves the rest of the lanes to the others. */
const shareOfOneTenant = 4
const dayMs = 24 * 3_600_000

/**
 * Starts a worker: it settles what is rung, and sweeps for what is not. Start as many as are wanted.
 * Throws where it cannot start, with a message that says what to do.
 */
export async function startWorker(
  config: WorkerConfig,
  shared: { log?: Log; metrics?: Metrics } = {},
): Promise<StartedWorker> {
  const log = shared.log ?? createLog({ name: 'payonce-worker', level: config.LOG_LEVEL })
  const metrics = shared.metrics ?? createMetrics()
  const onError = (error: unknown) => log.warn({ error }, 'a connection failed')
  const clock = createClock()
  const newId = createIdGenerator(clock.nowMs)
  const pool = createPool({
    databaseUrl: config.DATABASE_URL,
    name: 'worker',
    maxConnections: config.WORKER_CONNECTIONS,
    onError,
  })
  await requireDurability(pool)
  await requireLedgerSecret(pool, config.LEDGER_SECRET)
  const queueOptions = {
    databaseUrl: config.DATABASE_URL,
    redisUrl: config.REDIS_URL,
    namespace: config.QUEUE_NAMESPACE,
    onError,
  }
  const queue = createSettlementQueue(queueOptions)
  await inspectQueue(queue, log)
  const settler = createSettler({
    pool,
    newId,
    worker: `${hostname()}:${process.pid}`,
    ledgerSecret: config.LEDGER_SECRET,
    onFlush: ({ outcomes, commands, durationMs }) => {
      for (const { status } of outcomes) metrics.settled.inc({ status })
      metrics.settlementBatch.observe(commands)
      metrics.settlementDuration.observe(durationMs / 1_000)
    },
    onParked: (ref, error) => {
      metrics.parked.inc()
      log.error({ ...ref, error }, 'a transfer could not be settled and is tried again later')
    },
  })
  let fail: (reason: Error) => void = () => undefined
  const failed = new Promise<Error>((resolve) => (fail = resolve))
  const watchdog = watchdogOf('settlement', queue)
  const worker = createSettlementWorker(queueOptions, {
    concurrency: config.WORKER_CONCURRENCY,
    process: watchdog.watching(settler.settle),
  })
  const sweeper = createSweeper({ pool, queue, settler, holder: newId(), metrics, log })
  const webhooks = startWebhooks()
  watchPools(metrics, { worker: pool })
  const isReady = () =>
    readSweepState(pool).then(
      () => true,
      () => false,
    )
  const probes =
    config.WORKER_PORT === undefined
      ? undefined
      : await startProbeServer({
          host: config.WORKER_HOST,
          port: config.WORKER_PORT,
          metrics,
          isReady,
          log,
        })
  worker.start()
  watchdog.start()
  sweeper.start()
  webhooks.start()
  log.info({ queue: queue.backend, concurrency: config.WORKER_CONCURRENCY }, 'worker is running')

  function watchdogOf(name: string, queue: Pick<SettlementQueue, 'countWaiting'>) {
    return createWatchdog({
      queue,
      onStuck: (waiting) => {
        const message = `jobs wait in the queue ${name} and none is taken: the worker has to be started anew`
        log.fatal({ queue: name, waiting }, message)
        fail(new Error(message))
      },
    })
  }

  /** What is sent besides: it has its own connections, so that no receiver can slow down money. */
  function startWebhooks() {
    const deliveryPool = createPool({
      databaseUrl: config.DATABASE_URL,
      name: 'webhooks',
      maxConnections: config.WORKER_CONNECTIONS,
      onError,
    })
    const deliveryQueue = createDeliveryQueue(queueOptions)
    const sender = createSender({
      allowed: config.WEBHOOK_ALLOWED_NETWORKS,
      proxyUrl: config.WEBHOOK_PROXY_URL,
    })
    const deliverer = createDeliverer({
      pool: deliveryPool,
      sender,
      newId,
      lanesPerTenant: Math.max(1, Math.floor(config.WEBHOOK_CONCURRENCY / shareOfOneTenant)),
      disableAfterMs: config.WEBHOOK_DISABLE_AFTER_DAYS * dayMs,
      onAttempt: ({ result, status }) => {
        metrics.webhookAttempts.observe({ status }, result.durationMs / 1_000)
      },
      onDisabled: (ref, reason) => {
        metrics.endpointsDisabled.inc({ reason })
        log.warn({ ...ref, reason }, 'an endpoint was disabled')
      },
    })
    const deliveryWatchdog = watchdogOf('delivery', deliveryQueue)
    const deliveryWorker = createDeliveryWorker(queueOptions, {
      concurrency: config.WEBHOOK_CONCURRENCY,
      process: deliveryWatchdog.watching(async (ref) => {
        try {
          await deliverer.deliver(ref)
        } catch (error) {
          log.warn({ ...ref, error }, 'deliveries to an endpoint failed and are tried again')
          throw error
        }
      }),
    })
    const webhookSweeper = createWebhookSweeper({
      pool: deliveryPool,
      queue: deliveryQueue,
      newId,
      clock,
      holder: newId(),
      metrics,
      log,
    })
    watchPools(metrics, { webhooks: deliveryPool })
    return {
      start: () => {
        deliveryWorker.start()
        deliveryWatchdog.start()
        webhookSweeper.start()
      },
      stop: async () => {
        deliverer.stop()
        deliveryWatchdog.stop()
        await webhookSweeper.stop()
        // What is cut off ends its job as well, so that no job keeps the next worker from ringing.
        const cutOff = setTimeout(() => void sender.stop(), attemptsDrainTimeoutMs)
        await deliveryWorker.close(drainTimeoutMs)
        clearTimeout(cutOff)
        await sender.stop()
        await deliveryQueue.close().catch(onError)
        await deliveryPool.end()
      },
    }
  }

  async function stop(): Promise<void> {
    watchdog.stop()
    await Promise.all([worker.close(drainTimeoutMs), webhooks.stop()])
    await settler.drained()
    await sweeper.stop()
    probes?.closeAllConnections()
    probes?.close()
    await queue.close().catch(onError)
    await pool.end()
    log.info('worker has stopped')
  }

  let closing: Promise<void> | undefined
  return { close: () => (closing ??= stop()), failed }
}

if (process.argv[1] === import.meta.filename) {
  await runUntilSignal('payonce-worker', () => startWorker(readWorkerConfig()))
}
