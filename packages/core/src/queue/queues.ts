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
import type { JobRef } from '../ids.ts'

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

export type SettlementQueue = {
  backend: 'redis' | 'postgres'
  /** Adds a job per ring; one whose id the queue still knows is ignored. Rejects in an outage. */
  add(rings: readonly Ring[]): Promise<void>
  /** Jobs that wait or run. Rejects in an outage. */
  count(): Promise<number>
  /**
   * Looks at how the queue's store is set up and returns what an operator should know. Throws
   * `UnsafeRedisError` where it may drop jobs, and what an outage throws where it is away.
   */
  inspect(): Promise<string[]>
  close(): Promise<void>
}

export type SettlementWorker = {
  /** Starts taking jobs. */
  start(): void
  /** Takes no further job, and resolves when those in hand have ended or the time is over. */
  close(timeoutMs: number): Promise<void>
}

export type SettlementWorkerOptions = {
  /** Jobs in hand at a time: what one ledger transaction can settle together. */
  concurrency: number
  /** Throws for outages only: the job is then tried again. */
  process(ref: JobRef): Promise<void>
}

const queueName = 'settlement'

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
  return options.redisUrl === undefined
    ? createPostgresQueue(options)
    : createRedisQueue(options, options.redisUrl)
}

export function createSettlementWorker(
  options: QueueOptions,
  { concurrency, process }: SettlementWorkerOptions,
): SettlementWorker {
  const processor = (job: { data: JobRef }) => process(job.data)
  if (options.redisUrl === undefined) {
    const makeWorker = () =>
      new Postgres.Worker<JobRef>(queueName, processor, {
        ...workerOptions,
        concurrency,
        connection: postgresConnection(options, 4),
      }).on('error', options.onError)
    return createPostgresWorker(makeWorker, options)
  }
  const redis = connectConsumer(options.redisUrl, options.onError)
  const worker = new Worker<JobRef>(queueName, processor, {
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
    // Makes the sequence of ids that BullMQ makes with the first job otherwise, although no job of
    // ours has its id from it: that takes a right that no producer should have.
    await client.query(`SELECT ${schema}.next_job_id($1)`, [queueName])
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

function createPostgresQueue(options: QueueOptions): SettlementQueue {
  const queue = createWhenReady(() =>
    new Postgres.Queue<JobRef>(queueName, {
      connection: postgresConnection(options, 2),
      defaultJobOptions: jobOptions,
    }).on('error', options.onError),
  )
  return {
    backend: 'postgres',
    add: async (rings) => {
      await (await queue.get()).addBulk(rings.map(jobOf))
    },
    count: async () => (await queue.get()).getJobCountByTypes('waiting', 'active', 'delayed'),
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

function createRedisQueue(options: QueueOptions, redisUrl: string): SettlementQueue {
  const redis = connectProducer(redisUrl, options.onError)
  const queue = new Queue<JobRef>(queueName, {
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
      await queue.addBulk(rings.map(jobOf))
    },
    count: () => queue.getJobCountByTypes('waiting', 'active', 'delayed'),
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

function jobOf({ ref, idempotencyKey, attempt }: Ring): {
  name: string
  data: JobRef
  opts: JobsOptions
} {
  const jobId = jobIdOf(ref.tenantId, idempotencyKey)
  return {
    name: 'settle',
    data: ref,
    opts: { jobId: attempt === undefined ? jobId : `${jobId}_${attempt}` },
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
): SettlementWorker {
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
