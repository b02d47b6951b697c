import { startApi, type StartedApi } from '@payonce/api/main'
import { createClock } from '@payonce/core/clock'
import { readApiConfig, readWorkerConfig } from '@payonce/core/config'
import { createIdGenerator, decodeId, encodeId } from '@payonce/core/ids'
import { createLog } from '@payonce/core/log'
import { createMetrics, type Metrics } from '@payonce/core/metrics'
import { createApiKey } from '@payonce/core/tenants/api-key'
import { findOrCreateTenant } from '@payonce/core/tenants/tenant'
import { createSettler } from '@payonce/core/transfers/settle'
import { startWorker, type StartedWorker } from '@payonce/worker/main'
import { createPool, type Pool } from '@payonce/core/db/client'
import { afterAll } from 'vitest'
import { findUnsettled } from './books.ts'
import { createClient, newKey, type Client } from './client.ts'
import { createStores, emptyQueue, environmentOf, type Stores } from './stores.ts'
import { until } from './until.ts'
import type { AccountOnWire, TransferOnWire } from './wire.ts'

/** A tenant with a credential and its accounts in EUR: world is outside, the others are inside. */
export type Tenant = {
  id: string
  apiKey: string
  client: Client
  world: string
  alice: string
  merchant: string
}

export type Payonce = Tenant & {
  stores: Stores
  /** The test's own connections, beside those of api and worker. */
  db: Pool
  api: RunningApi
  worker: RunningWorker | undefined
  /** Ids of version 7, as the server makes them. */
  newId(): string
  /** Every line that api and worker have logged, from level info on unless told otherwise. */
  log: readonly string[]
  /** A further API on the same stores. */
  startApi(environment?: Record<string, string>): Promise<RunningApi>
  /** Starts the worker, unless it runs. */
  startWorker(environment?: Record<string, string>): Promise<RunningWorker>
  /** Ends the worker in order, if it runs. */
  stopWorker(): Promise<void>
  addTenant(name: string): Promise<Tenant>
  /** A new account of the first tenant, with this much money in it. */
  openAccount(
    balance?: number,
    account?: Partial<Pick<AccountOnWire, 'currency' | 'kind' | 'name' | 'overdraft_limit'>>,
  ): Promise<string>
  /** Moves money from the world into an account at once, whether a worker runs or not. */
  fund(account: string, amount: number): Promise<void>
  /** Settles what has been accepted, in this process and now, whether a worker runs or not. */
  settle(...refs: { id: string }[]): Promise<void>
  balanceOf(account: string): Promise<number>
  untilSettled(id: string): Promise<TransferOnWire>
  /** Resolves when nothing that was accepted is left to settle. */
  untilAllSettled(withinMs?: number): Promise<void>
  emptyQueue(): Promise<void>
  close(): Promise<void>
}

export type RunningApi = StartedApi & { metrics: Metrics }
export type RunningWorker = StartedWorker & { metrics: Metrics }

/**
 * Starts the whole product in this process, made of the same parts as in production and spoken to
 * over a socket: stores of its own, an API, a worker unless told otherwise, and a tenant.
 */
export async function startPayonce(
  options: {
    worker?: boolean
    /** New ones unless given. */
    stores?: Stores
    /** What api and worker find in their environment, besides the stores. */
    environment?: Record<string, string>
    /** From which level on `log` has lines. */
    logLevel?: 'trace'
  } = {},
): Promise<Payonce> {
  const stores = options.stores ?? (await createStores())
  const log: string[] = []
  const shared = () => ({
    log: createLog({
      name: 'test',
      level: options.logLevel ?? 'info',
      destination: { write: (line) => void log.push(line) },
    }),
    metrics: createMetrics(),
  })
  const db = createPool({
    databaseUrl: stores.databaseUrl,
    name: 'test',
    maxConnections: 10,
    onError: () => undefined,
  })
  const newId = createIdGenerator(createClock().nowMs)
  const settler = createSettler({
    pool: db,
    newId,
    ledgerSecret: options.environment?.LEDGER_SECRET,
    worker: 'test',
    onFlush: () => undefined,
    onParked: (_, error) => {
      throw error
    },
  })
  const apis: RunningApi[] = []

  async function startAnotherApi(environment: Record<string, string> = {}): Promise<RunningApi> {
    const parts = shared()
    const config = readApiConfig({
      ...environmentOf(stores),
      HOST: '127.0.0.1',
      PORT: '0',
      PUBLIC_URL: 'https://payonce.example',
      ...options.environment,
      ...environment,
    })
    const api = { ...(await startApi(config, parts)), metrics: parts.metrics }
    apis.push(api)
    return api
  }

  async function addTenant(name: string): Promise<Tenant> {
    const tenantId = await findOrCreateTenant(db, { id: newId(), name, mode: 'test' })
    const apiKey = await createApiKey(db, { id: newId(), tenantId, mode: 'test' })
    const client = createClient(api.url, apiKey)
    const open = async (kind: string, accountName: string) => {
      const body = { currency: 'EUR', kind, name: accountName }
      return (await client.post<AccountOnWire>('/v1/accounts', body)).body.id
    }
    return {
      id: tenantId,
      apiKey,
      client,
      world: await open('external', 'the world outside'),
      alice: await open('internal', 'Alice'),
      merchant: await open('internal', 'a merchant'),
    }
  }

  const api = await startAnotherApi()
  const tenant = await addTenant('first')
  const { client } = tenant

  const payonce: Payonce = {
    ...tenant,
    stores,
    db,
    api,
    worker: undefined,
    newId,
    log,
    startApi: startAnotherApi,
    addTenant,
    startWorker: async (environment = {}) => {
      if (payonce.worker !== undefined) return payonce.worker
      const parts = shared()
      const config = readWorkerConfig({
        ...environmentOf(stores),
        ...options.environment,
        ...environment,
      })
      payonce.worker = { ...(await startWorker(config, parts)), metrics: parts.metrics }
      return payonce.worker
    },
    stopWorker: async () => {
      const { worker } = payonce
      payonce.worker = undefined
      await worker?.close()
    },
    openAccount: async (balance = 0, account = {}) => {
      const body = { currency: 'EUR', ...account }
      const { id } = (await client.post<AccountOnWire>('/v1/accounts', body)).body
      if (balance > 0) await payonce.fund(id, balance)
      return id
    },
    fund: async (account, amount) => {
      const request = { source: tenant.world, destination: account, amount }
      const { body: sent } = await client.send(request, { key: newKey() })
      await settler.settle({ tenantId: tenant.id, transferId: uuidOf(sent.id) })
      const { status } = await client.read(sent.id)
      if (status !== 'succeeded') throw new Error(`money did not arrive: ${status}`)
    },
    settle: async (...refs) => {
      await Promise.all(
        refs.map(({ id }) =>
          settler.settle(
            id.startsWith('tb_')
              ? { tenantId: tenant.id, batchId: uuidOf(id) }
              : { tenantId: tenant.id, transferId: uuidOf(id) },
          ),
        ),
      )
    },
    balanceOf: async (account) =>
      (await client.get<AccountOnWire>(`/v1/accounts/${account}`)).body.balance,
    untilSettled: (id) =>
      until(`${id} is settled`, async () => {
        const transfer = await client.read(id, { wait: 10 })
        return transfer.settled_at === null ? undefined : transfer
      }),
    untilAllSettled: async (withinMs = 15_000) => {
      await until('everything is settled', () => isAllSettled(db), { withinMs, everyMs: 25 })
    },
    emptyQueue: () => emptyQueue(stores),
    close: async () => {
      await payonce.stopWorker()
      await Promise.all(apis.map((one) => one.close()))
      if (!db.ended) await db.end()
    },
  }
  started.push(payonce)
  if (options.worker !== false) await payonce.startWorker()
  return payonce
}

/** The stored uuid of an account, transfer or batch, for a look into the tables. */
export function uuidOf(wireId: string): string {
  const uuid =
    decodeId('account', wireId) ?? decodeId('transfer', wireId) ?? decodeId('batch', wireId)
  if (uuid === undefined) throw new Error(`${wireId} is no id`)
  return uuid
}

export function transferIdOf(uuid: string): string {
  return encodeId('transfer', uuid)
}

async function isAllSettled(db: Pool): Promise<boolean> {
  return (await findUnsettled(db)).length === 0
}

const started: Payonce[] = []

afterAll(async function closeStartedPayonces() {
  await Promise.all(started.splice(0).map((payonce) => payonce.close()))
})
