import { freePort } from '@payonce/local/loopback-port'
import { commandOfScript, startProgram, untilReady, type Program } from './program.ts'
import type { BenchDatabase } from './database.ts'
import type { Profile } from './profile.ts'

/** Something that accepts transfers over HTTP, and the processes that it consists of. */
export type Service<Role extends string = string> = {
  url: string
  processes: Readonly<Record<Role, number>>
  stop(): Promise<void>
}

export type PayonceOptions = {
  database: Pick<BenchDatabase, 'url' | 'apiKey' | 'checkout'>
  /** Without it the queue is in Postgres. */
  redisUrl?: string
  /** Flags of node for both. */
  nodeFlags: readonly string[]
  profile?: Profile | undefined
}

export type Payonce = Service<'api' | 'worker'> & { readBatches(): Promise<Batches> }

/** How many shared one commit, since the processes were started. */
export type Batches = { acceptance: Batch; settlement: Batch }
export type Batch = { items: number; flushes: number }

/** Starts API and worker as `npm run api` and `npm run worker` do, on ports of their own. */
export async function startPayonce(options: PayonceOptions): Promise<Payonce> {
  const { database, redisUrl } = options
  const ports = { api: await freePort(), worker: await freePort() }
  const stores = {
    DATABASE_URL: database.url,
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
  }
  const started: Program[] = []
  const stop = async () => {
    await Promise.all(started.map((program) => program.stop()))
  }
  try {
    const api = await startScript('api', options, {
      ...stores,
      HOST: '127.0.0.1',
      PORT: String(ports.api),
    })
    started.push(api)
    const worker = await startScript('worker', options, {
      ...stores,
      WORKER_HOST: '127.0.0.1',
      WORKER_PORT: String(ports.worker),
    })
    started.push(worker)
    await untilReady(`http://127.0.0.1:${ports.api}/readyz`, api)
    await untilReady(`http://127.0.0.1:${ports.worker}/readyz`, worker)
    return {
      url: `http://127.0.0.1:${ports.api}`,
      processes: { api: api.pid, worker: worker.pid },
      readBatches: () => readBatches(ports, database.apiKey),
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
  ports: { api: number; worker: number },
  apiKey: string,
): Promise<Batches> {
  const [api, worker] = await Promise.all([
    scrape(`http://127.0.0.1:${ports.api}/metrics`, { authorization: `Bearer ${apiKey}` }),
    scrape(`http://127.0.0.1:${ports.worker}/metrics`, {}),
  ])
  return {
    acceptance: readBatch(api, 'payonce_acceptance_batch_size'),
    settlement: readBatch(worker, 'payonce_settlement_batch_size'),
  }
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
