import { once } from 'node:events'
import { Server as Listener } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClock } from '@payonce/core/clock'
import { readApiConfig, type ApiConfig } from '@payonce/core/config'
import { createPool } from '@payonce/core/db/client'
import { requireDurability } from '@payonce/core/db/durability'
import { createReplayCounter } from '@payonce/core/idempotency/replay-counter'
import { createIdGenerator } from '@payonce/core/ids'
import { createAccountFactsReader } from '@payonce/core/ledger/account-facts'
import { requireLedgerSecret } from '@payonce/core/ledger/seal'
import { createLog, type Log } from '@payonce/core/log'
import { createMetrics, watchPools, watchValue, type Metrics } from '@payonce/core/metrics'
import { createBacklog } from '@payonce/core/queue/backlog'
import { createDispatcher } from '@payonce/core/queue/dispatch'
import { runUntilSignal } from '@payonce/core/process'
import { inspectQueue } from '@payonce/core/queue/inspect'
import { createSettlementQueue } from '@payonce/core/queue/queues'
import { ACCEPTANCE_CONNECTIONS, createAccepter } from '@payonce/core/transfers/accept'
import { acceptBatch } from '@payonce/core/transfers/batch'
import { readHorizon, readSweepState } from '@payonce/core/transfers/unsettled'
import { createWatcher } from '@payonce/core/transfers/watch'
import { createDefaultSecretCheck } from '@payonce/core/webhooks/secret'
import { createApp } from './app.ts'
import { createHttpServer } from './http-server.ts'
import type { Server } from 'node:http'

export type StartedApi = {
  /** Where it listens: with the port that was chosen where 0 was asked for. */
  url: string
  /** Answers those who wait, ends what is in hand, and closes everything. Safe to call twice. */
  close(): Promise<void>
}

/** At most so many rings on their way to the queue; the sweep rings the rest. */
const maxRingsInFlight = 10_000
/** 20,000 waiting clients take about 40 MB of sockets and promises. */
const maxWaiting = 20_000
/** 5 s: an acceptance that has no answer by then is given up, and the client told to come back. */
const acceptanceQueryTimeoutMs = 5_000
/** 7 s for requests in hand, so that the whole stop takes less than the usual 10 s. */
const drainTimeoutMs = 7_000
const idleCheckMs = 50
/** 1 s: a connection that is not used for so long is hardly used in the moment in which it is closed. */
const usualNoticeMs = 1_000

/**
 * Starts the API: refuses an unsafe database or queue, then listens. Throws where it cannot start,
 * with a message that says what to do.
 */
export async function startApi(
  config: ApiConfig,
  {
    noticeMs = 0,
    ...shared
  }: {
    log?: Log
    metrics?: Metrics
    /** How long `close` goes on answering, and asks each client to leave with its answer. */
    noticeMs?: number
  } = {},
): Promise<StartedApi> {
  const log = shared.log ?? createLog({ name: 'payonce-api', level: config.LOG_LEVEL })
  const metrics = shared.metrics ?? createMetrics()
  const onError = (error: unknown) => log.warn({ error }, 'a connection failed')
  const clock = createClock()
  const newId = createIdGenerator(clock.nowMs)
  const databaseUrl = config.DATABASE_URL
  const pool = createPool({
    databaseUrl,
    name: 'api',
    maxConnections: config.API_CONNECTIONS,
    onError,
  })
  const acceptancePool = createPool({
    databaseUrl,
    name: 'accept',
    maxConnections: ACCEPTANCE_CONNECTIONS,
    queryTimeoutMs: acceptanceQueryTimeoutMs,
    onError,
  })
  await requireDurability(pool)
  await requireLedgerSecret(pool, config.LEDGER_SECRET)
  // Before the first answer: this machine's own clock may be wrong by hours.
  clock.observe((await readHorizon(pool)).now)
  const queue = createSettlementQueue({
    databaseUrl,
    redisUrl: config.REDIS_URL,
    namespace: config.QUEUE_NAMESPACE,
    onError,
  })
  await inspectQueue(queue, log)
  const dispatcher = createDispatcher({
    queue,
    maxInFlight: maxRingsInFlight,
    onLeft: (count, error) => {
      metrics.ringsLeft.inc(count)
      log.warn({ count, error }, 'jobs could not be added and are left to the sweep')
    },
  })
  const accepter = createAccepter({
    pool: acceptancePool,
    dispatcher,
    clock,
    onFlush: ({ requests, accepted, durationMs }) => {
      metrics.accepted.inc(accepted)
      metrics.acceptanceBatch.observe(requests)
      metrics.acceptanceDuration.observe(durationMs / 1_000)
    },
  })
  const replayCounter = createReplayCounter({ pool: acceptancePool, onError })
  const watcher = createWatcher({ db: pool, maxWaiting, onError })
  watchPools(metrics, { api: pool, accept: acceptancePool })
  watchSystem()

  const publicUrl = (config.PUBLIC_URL ?? `http://${linkHost(config.HOST)}:${config.PORT}`).replace(
    /\/+$/,
    '',
  )
  let stopping = false
  const app = createApp({
    log,
    metrics,
    newId,
    pool,
    accountFacts: createAccountFactsReader(pool),
    accepter,
    acceptBatch: (request) => acceptBatch({ pool: acceptancePool, dispatcher, clock }, request),
    replayCounter,
    backlog: createBacklog({
      queue,
      limit: config.BACKLOG_LIMIT,
      onTurn: ({ isFull, count }) =>
        log.warn({ count }, isFull ? 'backlog is full: refusing' : 'backlog is no longer full'),
    }),
    clock,
    watcher,
    queue,
    publicUrl,
    corsOrigins: config.CORS_ORIGINS,
    metricsToken: config.METRICS_TOKEN,
    ledgerSecret: config.LEDGER_SECRET,
    allowedNetworks: config.WEBHOOK_ALLOWED_NETWORKS,
    hasDefaultSecret: createDefaultSecretCheck(pool),
    isStopping: () => stopping,
  })
  const server = createHttpServer({ app, host: config.HOST, publicUrl, newId, log })
  server.listen(config.PORT, config.HOST)
  await Promise.race([once(server, 'listening'), failure(server)])
  const url = `http://${linkHost(config.HOST)}:${portOf(server)}`
  log.info({ url, queue: queue.backend }, 'api is listening')

  /** The state of the whole system, from what the last sweep noted: no scrape counts over tables. */
  function watchSystem(): void {
    const sweep = () => readSweepState(pool)
    watchValue(metrics, {
      name: 'payonce_oldest_unsettled_seconds',
      help: 'Age of the oldest command that is due and not settled, at the last sweep',
      read: async () => ageInSeconds((await sweep()).oldestUnsettledAt) ?? 0,
    })
    watchValue(metrics, {
      name: 'payonce_deferred_transfers',
      help: 'Commands that were tried and are to be tried later, at the last sweep',
      read: async () => (await sweep()).deferredCount,
    })
    watchValue(metrics, {
      name: 'payonce_last_sweep_seconds',
      help: 'Time since the last sweep: it grows where no worker runs',
      read: async () => ageInSeconds((await sweep()).sweptAt),
    })
    watchValue(metrics, {
      name: 'payonce_sweep_audit_finds',
      help: 'Unsettled commands found behind the watermark: a bug each time',
      read: async () => (await sweep()).auditFinds,
    })
    watchValue(metrics, {
      name: 'payonce_queue_jobs',
      help: 'Jobs that wait or run',
      read: () => queue.count(),
    })
    watchValue(metrics, {
      name: 'payonce_waiting_clients',
      help: 'Clients of this process that wait for a settlement',
      read: () => watcher.waiting,
    })
  }

  async function stop(): Promise<void> {
    stopping = true
    watcher.stop()
    const closed = once(server, 'close')
    // Nobody new comes in, while `server.close` would also close what is idle for a moment: whoever
    // sends something just then has a failed request. What is in use is given back with its next answer.
    Listener.prototype.close.call(server)
    if (noticeMs > 0) await sleep(noticeMs)
    server.close()
    const cutOff = setTimeout(() => server.closeAllConnections(), drainTimeoutMs)
    // A connection whose stream has just ended is idle from now on, and nobody has told its client.
    const closeIdle = setInterval(() => server.closeIdleConnections(), idleCheckMs)
    await closed
    clearTimeout(cutOff)
    clearInterval(closeIdle)
    await accepter.drained()
    await replayCounter.stop()
    await queue.close().catch(onError)
    await Promise.all([pool.end(), acceptancePool.end()])
    log.info('api has stopped')
  }

  let closing: Promise<void> | undefined
  return { url, close: () => (closing ??= stop()) }
}

async function failure(server: Server): Promise<never> {
  const [error] = (await once(server, 'error')) as [Error]
  throw error
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** An address that listens everywhere is no address to go to. */
function linkHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost'
  return host.includes(':') ? `[${host}]` : host
}

function ageInSeconds(time: Date | null): number | undefined {
  return time === null ? undefined : Math.max(0, (Date.now() - time.getTime()) / 1_000)
}

if (process.argv[1] === import.meta.filename) {
  await runUntilSignal('payonce-api', () => startApi(readApiConfig(), { noticeMs: usualNoticeMs }))
}
