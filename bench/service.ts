import { freePort } from '@payonce/local/loopback-port'
import { commandOfScript, startProgram, untilReady, type Program } from './program.ts'
import type { BenchDatabase } from './database.ts'
import type { Profile } from './profile.ts'

/** Something that accepts transfers over HTTP, and the processes that it consists of. */
export type Service<Role extends string = string> = {
  url: string
  /** Of each role as many as were started. */
  processes: Readonly<Record<Role, readonly number[]>>
  stop(): Promise<void>
}

export type PayonceOptions = {
  database: Pick<BenchDatabase, 'url' | 'apiKey' | 'checkout'>
  /** Without it the queue is in Postgres. */
  redisUrl?: string
  /** How many workers; 1 unless told otherwise, and 0 for none. */
  workers?: number
  /** Flags of node for both. */
  nodeFlags: readonly string[]
  profile?: Profile | undefined
  /** Further settings of both. */
  env?: Readonly<Record<string, string>>
}

export type Payonce = Service<'api' | 'worker'> & {
  readBatches(): Promise<Batches>
  /** A further worker. */
  startWorker(): Promise<void>
}

/** How many shared one commit, since the processes were started. */
export type Batches = { acceptance: Batch; settlement: Batch }
export type Batch = { items: number; flushes: number }

/** Starts API and worker as `npm run api` and `npm run worker` do, on ports of their own. */
export async function startPayonce(options: PayonceOptions): Promise<Payonce> {
  const { database, redisUrl } = options
  const ports = { api: await freePort(), workers: await freePorts(options.workers ?? 1) }
  const stores = {
    DATABASE_URL: database.url,
    // Receivers are on this machine.
    WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
    ...options.env,
  }
  const workers: number[] = []
  const started: Program[] = []
  const stop = async () => {
    await Promise.all(started.map((program) => program.stop()))
  }

  async function startWorkerAt(port: number): Promise<void> {
    const worker = await startScript('worker', options, {
      ...stores,
      WORKER_HOST: '127.0.0.1',
      WORKER_PORT: String(port),
    })
    started.push(worker)
    workers.push(worker.pid)
    await untilReady(`http://127.0.0.1:${port}/readyz`, worker)
  }

  try {
    const api = await startScript('api', options, {
      ...stores,
      HOST: '127.0.0.1',
      PORT: String(ports.api),
    })
    started.push(api)
    await untilReady(`http://127.0.0.1:${ports.api}/readyz`, api)
    for (const port of ports.workers) await startWorkerAt(port)
    return {
      url: `http://127.0.0.1:${ports.api}`,
      processes: { api: [api.pid], worker: workers },
      readBatches: () => readBatches(ports, database.apiKey),
      startWorker: async () => {
        const port = await freePort()
        await startWorkerAt(port)
        ports.workers.push(port)
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function startScript(
  name: 'api' | 'worker',
  { nodeFlags, profile, database: { checkout } }: PayonceOptions,
  env: { [name: string]: string },
): Promise<Program> {
  const flags = [...nodeFlags, ...(profile?.nodeFlags(name) ?? [])]
  return startProgram({ command: [...flags, ...commandOfScript(name, checkout)], checkout, env })
}

async function readBatches(
  ports: { api: number; workers: readonly number[] },
  apiKey: string,
): Promise<Batches> {
  const [api, ...workers] = await Promise.all([
    scrape(`http://127.0.0.1:${ports.api}/metrics`, { authorization: `Bearer ${apiKey}` }),
    ...ports.workers.map((port) => scrape(`http://127.0.0.1:${port}/metrics`, {})),
  ])
  const settled = workers.map((worker) => readBatch(worker, 'payonce_settlement_batch_size'))
  return {
    acceptance: readBatch(api, 'payonce_acceptance_batch_size'),
    settlement: {
      items: settled.reduce((sum, { items }) => sum + items, 0),
      flushes: settled.reduce((sum, { flushes }) => sum + flushes, 0),
    },
  }
}

async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  for (let n = 0; n < count; n++) ports.push(await freePort())
  return ports
}

async function scrape(url: string, headers: Record<string, string>): Promise<string> {
  const answer = await fetch(url, { headers })
  return answer.text()
}

function readBatch(exposition: string, histogram: string): Batch {
  const value = (suffix: string) =>
    Number(new RegExp(`^${histogram}_${suffix} (.+)$`, 'm').exec(exposition)?.[1] ?? 0)
  return { items: value('sum'), flushes: value('count') }
}
