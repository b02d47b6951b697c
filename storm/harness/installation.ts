import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'pg'
import { freePort } from '@payonce/local/loopback-port'
import { apiNames, workerNames, type Storm } from '../faults/fault.ts'
import { failpointPatches } from '../sources/failpoints.ts'
import { writePatchedSources } from '../sources/patch.ts'
import { repositoryRoot } from '../../bench/program.ts'
import { runScript, type Tenant } from './database.ts'
import { ManagedProcess } from './managed-process.ts'
import { keepPostgresLog, tellingSettings, type Deadlock } from './postgres-log.ts'
import { startProxy, type Proxy } from './proxy.ts'
import { startPostgres, startRedis, type Store } from './stores.ts'
import type { Plant } from '../plants/plant.ts'
import type { Recorder } from './recorder.ts'

/** What a storm runs on: its own, empty at first, and gone afterwards. */
export type Installation = Pick<
  Storm,
  'apis' | 'workers' | 'postgres' | 'redis' | 'proxies' | 'pool' | 'observer' | 'databaseUrl'
> & {
  apiUrls: readonly string[]
  tenants: readonly Tenant[]
  /** Tells that a fault begins, or that it has ended: meanwhile a process may fail to start. */
  strike(phase: 'begin' | 'end'): void
  /** The deadlocks that Postgres had to break. */
  deadlocks(): readonly Deadlock[]
  /** Ends APIs and workers for good; the stores go on. */
  endProcesses(): Promise<void>
  /** Ends everything. A second call waits for the first. */
  stop(): Promise<void>
}

export type InstallationOptions = {
  queue: 'redis' | 'postgres'
  plant: Plant | undefined
  hasStandby: boolean
  hasSmallDisk: boolean
  out: string
  recorder: Recorder
}

const tenantNames = ['north', 'south']

/** Two APIs, three workers, and the stores, with a proxy between each role and each store. */
export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const { queue, plant, hasStandby, hasSmallDisk, out, recorder } = options
  const folder = mkdtempSync(join(tmpdir(), 'payonce-storm-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const folders = { out, orders: join(folder, 'orders'), sources: join(folder, 'sources') }
  for (const path of [folders.orders, folders.sources]) mkdirSync(path)
  writePatchedSources([...failpointPatches, ...(plant?.patches ?? [])], {
    root: repositoryRoot,
    folder: folders.sources,
  })
  const postgresLog = keepPostgresLog(join(out, 'postgres.log'))
  const postgres = await startPostgres(folder, {
    settings: { ...tellingSettings, ...plant?.settings },
    hasStandby,
    hasSmallDisk,
    log: postgresLog.write,
  })
  const redis = queue === 'redis' ? await startRedis(folder) : undefined
  const straightUrl = Object.assign(new URL(postgres.url), { pathname: '/storm' }).href
  const observer = hasStandby ? await startProxy(straightUrl) : undefined
  const databaseUrl = observer?.url ?? straightUrl
  const pool = createStormPool(databaseUrl)
  const tenants = await prepareDatabase({ postgres, databaseUrl, pool, plant })

  const proxies = {
    api: await startProxies(straightUrl, redis?.url),
    worker: await startProxies(straightUrl, redis?.url),
  }
  let calmSinceMs = performance.now()
  const mayFailToStart = (startedAtMs: number) => calmSinceMs > startedAtMs

  async function manage(script: 'api' | 'worker', name: string) {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const own = proxies[script]
    const [hostName, portName] =
      script === 'api' ? ['HOST', 'PORT'] : ['WORKER_HOST', 'WORKER_PORT']
    const env = {
      DATABASE_URL: own.postgres.url,
      ...(own.redis === undefined ? {} : { REDIS_URL: own.redis.url }),
      // Receivers are on this machine.
      WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
      [hostName]: '127.0.0.1',
      [portName]: String(port),
    }
    const readyUrl = `${url}/readyz`
    const managed = new ManagedProcess({
      name,
      script,
      env,
      readyUrl,
      folder: folders,
      recorder,
      mayFailToStart,
    })
    return { managed, url }
  }

  const apis = await inOrder(apiNames, (name) => manage('api', name))
  const workers = await inOrder(workerNames, (name) => manage('worker', name))
  const processes = [...apis, ...workers].map(({ managed }) => managed)
  let stopping: Promise<void> | undefined

  async function endProcesses(): Promise<void> {
    await Promise.all(processes.map((process) => process.stop()))
  }

  async function stop(): Promise<void> {
    await postgres.heal()
    await redis?.heal()
    await endProcesses()
    for (const own of [proxies.api, proxies.worker]) {
      await own.postgres.close()
      await own.redis?.close()
    }
    await pool.end()
    await observer?.close()
    await redis?.stop()
    await postgres.stop()
  }

  const installation: Installation = {
    apis: apis.map(({ managed }) => managed),
    workers: workers.map(({ managed }) => managed),
    postgres,
    redis,
    proxies,
    pool,
    observer,
    databaseUrl,
    apiUrls: apis.map(({ url }) => url),
    tenants,
    strike: (phase) => {
      calmSinceMs = phase === 'begin' ? Infinity : performance.now()
    },
    deadlocks: postgresLog.deadlocks,
    endProcesses,
    stop: () => (stopping ??= stop()),
  }
  try {
    await Promise.all(processes.map((process) => process.start()))
    return installation
  } catch (error) {
    await installation.stop()
    throw error
  }
}

function createStormPool(databaseUrl: string): Pool {
  const pool = new Pool({
    connectionString: databaseUrl,
    application_name: 'payonce-storm',
    max: 4,
    // An answer that a frozen Postgres does not give in time is no answer.
    connectionTimeoutMillis: 2_000,
    query_timeout: 5_000,
  })
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  return pool
}

async function prepareDatabase({
  postgres,
  databaseUrl,
  pool,
  plant,
}: {
  postgres: Store
  databaseUrl: string
  pool: Pool
  plant: Plant | undefined
}): Promise<Tenant[]> {
  const own = new Pool({ connectionString: postgres.url, max: 1 })
  await own.query('CREATE DATABASE storm')
  await own.end()
  const env = { DATABASE_URL: databaseUrl }
  await runScript(['migrate'], env)
  const keys = await inOrder(tenantNames, (name) =>
    runScript(['keys', 'create', '--tenant', name], env),
  )
  for (const statement of plant?.statements ?? []) await pool.query(statement)
  const { rows } = await pool.query<{ id: string; name: string }>('SELECT id, name FROM tenants')
  return tenantNames.map((name, index) => {
    const id = rows.find((row) => row.name === name)?.id
    if (id === undefined) throw new Error(`there is no tenant ${name}`)
    return { id, name, apiKey: keys[index] ?? '' }
  })
}

async function startProxies(
  databaseUrl: string,
  redisUrl: string | undefined,
): Promise<{ postgres: Proxy; redis: Proxy | undefined }> {
  return {
    postgres: await startProxy(databaseUrl),
    redis: redisUrl === undefined ? undefined : await startProxy(redisUrl),
  }
}

async function inOrder<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (const item of items) results.push(await act(item))
  return results
}
