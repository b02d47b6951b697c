import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Queue,
  Worker,
  createPostgresBackend,
  runMigrations,
  withBackend,
  type JobsOptions,
} from 'bullmq'
import { Client, type ClientConfig } from 'pg'
import { connectConsumer, connectProducer, inspectRedis } from './redis.ts'
import { createWhenReady } from './when-ready.ts'
import { failurePolicies } from '../failure-policies.ts'
import { jobIdOf } from '../idempotency/job-id.ts'
import type { EndpointRef, JobRef } from '../ids.ts'

/**
 * The two backends of the queue behind one interface. Nothing outside this folder knows which one
 * is in use: with a Redis URL it is Redis, else BullMQ's own backend on Postgres.
 */
export type QueueOptions = {
  databaseUrl: string
  redisUrl?: string | undefined
  /** Stands before the names of all that the queue keeps in Redis, or names its schema. */
  namespace: string
  onError(error: Error): void
}

/** A command or batch to be rung: what its job carries, and the key that its id is made from. */
export type Ring = {
  ref: JobRef
  idempotencyKey: string
  /** Makes the id of a further job for the same key: a lost job may block the plain id. */
  attempt?: number
}

/** A queue of one kind of jobs. */
export type JobQueue<Ring> = {
  backend: 'redis' | 'postgres'
  /** Adds a job per ring; one whose id the queue still knows is ignored. Rejects in an outage. */
  add(rings: readonly Ring[]): Promise<void>
  /** Jobs that wait or run. Rejects in an outage. */
  count(): Promise<number>
  /** Jobs that no worker has taken yet, without those that are to be tried later. Rejects in an outage. */
  countWaiting(): Promise<number>
  /**
   * Looks at how the queue's store is set up and returns what an operator should know. Throws
   * `UnsafeRedisError` where it may drop jobs, and what an outage throws where it is away.
   */
  inspect(): Promise<string[]>
  close(): Promise<void>
}

export type SettlementQueue = JobQueue<Ring>
/** Rings for endpoints that something is due for. */
export type DeliveryQueue = JobQueue<EndpointRef>

export type QueueWorker = {
  /** Starts taking jobs. */
  start(): void
  /** Takes no further job, and resolves when those in hand have ended or the time is over. */
  close(timeoutMs: number): Promise<void>
}

export type QueueWorkerOptions<Ref> = {
  /** Jobs in hand at a time: for settlement, what one ledger transaction can settle together. */
  concurrency: number
  /** Throws for outages only: the job is then tried again. */
  process(ref: Ref): Promise<void>
}

/** What a queue is called, and how a ring becomes a job of it. */
type QueueKind<Ring> = {
  name: string
  toJob(ring: Ring): { name: string; data: JobData; opts: JobsOptions }
}

type JobData = JobRef | EndpointRef

const settlement: QueueKind<Ring> = { name: 'settlement', toJob: toSettlementJob }
const delivery: QueueKind<EndpointRef> = { name: 'delivery', toJob: toDeliveryJob }

/**
 * A finished job leaves nothing behind, so that its id can be rung again: job retention is never an
 * idempotency window, and a failed job that is kept would block its id.
 */
const jobOptions: JobsOptions = {
  removeOnComplete: true,
  removeOnFail: true,
  attempts: 1 + failurePolicies.failed_job.retry.retries,
  backoff: {
    type: 'exponential',
    delay: failurePolicies.failed_job.retry.minDelayMs,
    jitter: 0.5,
  },
  stackTraceLimit: 0,
}

/**
 * A dead worker is noticed within 20 s (a lock of 15 s, looked at every 5 s). A job may be taken
 * over from dead workers without end: that it was in hand when a machine died is not its fault.
 */
const workerOptions = {
  autorun: false,
  lockDuration: 15_000,
  stalledInterval: 5_000,
  maxStalledCount: 1_000_000_000,
  runRetryDelay: 1_000,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
}

export function createSettlementQueue(options: QueueOptions): SettlementQueue {
  return createQueue(options, settlement)
}

export function createDeliveryQueue(options: QueueOptions): DeliveryQueue {
  return createQueue(options, delivery)
}

export function createSettlementWorker(
  options: QueueOptions,
  worker: QueueWorkerOptions<JobRef>,
): QueueWorker {
  return createWorker(options, settlement.name, worker)
}

export function createDeliveryWorker(
  options: QueueOptions,
  worker: QueueWorkerOptions<EndpointRef>,
): QueueWorker {
  return createWorker(options, delivery.name, worker)
}

function createQueue<Ring>(options: QueueOptions, kind: QueueKind<Ring>): JobQueue<Ring> {
  return options.redisUrl === undefined
    ? createPostgresQueue(options, kind)
    : createRedisQueue(options, options.redisUrl, kind)
}

function createWorker<Ref>(
  options: QueueOptions,
  queueName: string,
  { concurrency, process }: QueueWorkerOptions<Ref>,
): QueueWorker {
  const processor = (job: { data: JobData }) => process(job.data as Ref)
  if (options.redisUrl === undefined) {
    const makeWorker = () =>
      new Postgres.Worker<JobData>(queueName, processor, {
        ...workerOptions,
        concurrency,
        connection: postgresConnection(options, 4),
      }).on('error', options.onError)
    return createPostgresWorker(makeWorker, options)
  }
  const redis = connectConsumer(options.redisUrl, options.onError)
  const worker = new Worker<JobData>(queueName, processor, {
    ...workerOptions,
    concurrency,
    prefix: prefixOf(options),
    connection: redis,
  })
  return controlled(worker, options, () => redis.disconnect())
}

/**
 * Prepares what the queue keeps in Postgres, where it does. Needs CREATE on the database; a role to
 * grant to gets what producers and workers need in the queue's own schema.
 */
export async function migrateQueue({
  databaseUrl,
  namespace,
  grantTo,
}: Pick<QueueOptions, 'databaseUrl' | 'namespace'> & {
  grantTo?: string | undefined
}): Promise<void> {
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await runMigrations(client, namespace)
    const schema = client.escapeIdentifier(namespace)
    // Makes the sequences of ids that BullMQ makes with the first job otherwise, although no job of
    // ours has its id from them: that takes a right that no producer should have.
    for (const { name } of [settlement, delivery]) {
      await client.query(`SELECT ${schema}.next_job_id($1)`, [name])
    }
    if (grantTo !== undefined) {
      const role = client.escapeIdentifier(grantTo)
      await client.query(`GRANT USAGE ON SCHEMA ${schema} TO ${role}`)
      await client.query(`GRANT ALL ON ALL TABLES IN SCHEMA ${schema} TO ${role}`)
      await client.query(`GRANT ALL ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role}`)
      await client.query(`GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ${schema} TO ${role}`)
    }
  } finally {
    await client.end()
  }
}

const Postgres = withBackend(createPostgresBackend)

function createPostgresQueue<Ring>(
  options: QueueOptions,
  { name, toJob }: QueueKind<Ring>,
): JobQueue<Ring> {
  const queue = createWhenReady(() =>
    new Postgres.Queue<JobData>(name, {
      connection: postgresConnection(options, 2),
      defaultJobOptions: jobOptions,
    }).on('error', options.onError),
  )
  return {
    backend: 'postgres',
    add: async (rings) => {
      await (await queue.get()).addBulk(rings.map(toJob))
    },
    count: async () => (await queue.get()).getJobCountByTypes('waiting', 'active', 'delayed'),
    countWaiting: async () => (await queue.get()).getJobCountByTypes('waiting'),
    inspect: async () => {
      await queue.get()
      return []
    },
    close: queue.close,
  }
}

/** 1 s between two tries to start: an outage is over soon, or lasts. */
const startRetryMs = 1_000

function createPostgresWorker(makeWorker: () => RunnableWorker, options: QueueOptions) {
  const worker = createWhenReady(makeWorker)
  const stopping = new AbortController()
  const { signal } = stopping

  async function run(): Promise<void> {
    while (!signal.aborted) {
      try {
        return await (await worker.get()).run()
      } catch (error) {
        if (signal.aborted) return
        options.onError(error instanceof Error ? error : new Error(String(error)))
        await sleep(startRetryMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  return {
    start: () => {
      void run()
    },
    close: async (timeoutMs: number) => {
      stopping.abort()
      await Promise.race([worker.close(), elapsed(timeoutMs)])
    },
  }
}

function createRedisQueue<Ring>(
  options: QueueOptions,
  redisUrl: string,
  { name, toJob }: QueueKind<Ring>,
): JobQueue<Ring> {
  const redis = connectProducer(redisUrl, options.onError)
  const queue = new Queue<JobData>(name, {
    connection: redis,
    prefix: prefixOf(options),
    defaultJobOptions: jobOptions,
    skipWaitingForReady: true,
    skipVersionCheck: true,
    skipMetasUpdate: true,
  })
  queue.on('error', options.onError)
  return {
    backend: 'redis',
    add: async (rings) => {
      await queue.addBulk(rings.map(toJob))
    },
    count: () => queue.getJobCountByTypes('waiting', 'active', 'delayed'),
    countWaiting: () => queue.getJobCountByTypes('waiting'),
    inspect: async () => {
      if (redis.status !== 'ready')
        await once(redis, 'ready', { signal: AbortSignal.timeout(2_000) })
      return inspectRedis(redis)
    },
    close: async () => {
      await queue.close()
      redis.disconnect()
    },
  }
}

function toSettlementJob({ ref, idempotencyKey, attempt }: Ring) {
  const jobId = jobIdOf(ref.tenantId, idempotencyKey)
  return {
    name: 'settle',
    data: ref,
    opts: { jobId: attempt === undefined ? jobId : `${jobId}_${attempt}` },
  }
}

/** One job an endpoint, however often it is rung; the minute lets a lost one block it no longer. */
function toDeliveryJob({ tenantId, endpointId }: EndpointRef) {
  const minute = Math.floor(Date.now() / 60_000)
  return {
    name: 'deliver',
    data: { tenantId, endpointId },
    opts: { jobId: `d_${endpointId}_${minute}`, attempts: 1 },
  }
}

/** The braces keep all keys of the queue in one slot of a Redis Cluster. */
function prefixOf({ namespace }: QueueOptions): string {
  return `{${namespace}}`
}

function postgresConnection({ databaseUrl, namespace }: QueueOptions, max: number) {
  return {
    connectionString: databaseUrl,
    schema: namespace,
    max,
    migrate: false,
    // A host that is gone without a word is noticed in seconds, and not when TCP gives up.
    query_timeout: 15_000,
    connectionTimeoutMillis: 3_000,
    keepAlive: true,
    Client: HeardClient,
  }
}

/**
 * A connection that breaks says so by an event besides failing the statement in hand, and BullMQ
 * does not listen while it holds one: the process would end.
 */
class HeardClient extends Client {
  constructor(config?: ClientConfig) {
    super(config)
    this.on('error', () => undefined)
  }
}

type RunnableWorker = {
  on(event: 'error', listener: (error: Error) => void): unknown
  waitUntilReady(): Promise<unknown>
  run(): Promise<void>
  close(force?: boolean): Promise<void>
}

function controlled(
  worker: RunnableWorker,
  options: QueueOptions,
  disconnect: () => void,
): QueueWorker {
  worker.on('error', options.onError)
  return {
    start: () => {
      worker.run().catch(options.onError)
    },
    close: async (timeoutMs) => {
      // BullMQ waits for the jobs in hand without a limit, and for a lost connection even longer.
      await Promise.race([worker.close(), elapsed(timeoutMs)])
      disconnect()
    },
  }
}

function elapsed(timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, timeoutMs).unref()
  })
}
