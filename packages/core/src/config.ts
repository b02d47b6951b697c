import { z } from 'zod'
import { parseNetworks, type Networks } from './networks.ts'

/** The environment says something that cannot be used; the message names every variable at fault. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

type Environment = Readonly<Record<string, string | undefined>>

const port = z.coerce.number().int().min(0).max(65_535)
const url = (...protocols: string[]) =>
  z.string().refine((text) => protocols.includes(protocolOf(text)), {
    error: `expected a URL beginning with ${protocols.map((one) => `${one}//`).join(' or ')}`,
  })
const urls = (...protocols: string[]) =>
  z.string().refine((text) => text.split(',').every((one) => protocols.includes(protocolOf(one))), {
    error: `expected URLs beginning with ${protocols.map((one) => `${one}//`).join(' or ')}, separated by commas`,
  })
const connections = z.coerce.number().int().min(2).max(500)

const log = {
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
}

const stores = {
  /** Where the books are: Postgres 15 or newer. */
  DATABASE_URL: url('postgres:', 'postgresql:'),
  /**
   * The queue's Redis; without it the queue lives in Postgres. Several URLs, separated by commas, are
   * nodes of one Redis Cluster.
   */
  REDIS_URL: urls('redis:', 'rediss:').optional(),
  /** Makes the seals of the ledger HMACs. Change it never: old seals are checked with it. */
  LEDGER_SECRET: z.string().min(16).optional(),
  /** Names the queue among others in the same Redis or database. */
  QUEUE_NAMESPACE: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,39}$/, 'expected lower-case letters, digits and underscores')
    .default('payonce_queue'),
}

const webhooks = {
  /**
   * Networks, in CIDR notation and separated by commas, that webhooks may reach although they are not
   * public; there plain http is allowed too. For development: `127.0.0.0/8,::1/128`.
   */
  WEBHOOK_ALLOWED_NETWORKS: z.string().default('').transform(toNetworks),
}

const apiSchema = z.object({
  ...log,
  ...stores,
  ...webhooks,
  HOST: z.string().default('0.0.0.0'),
  PORT: port.default(3000),
  /** What clients call this server, in links; by default its own host and port. */
  PUBLIC_URL: url('http:', 'https:').optional(),
  /** Connections for reads and account changes; acceptance has a few of its own besides. */
  API_CONNECTIONS: connections.default(10),
  /**
   * The origins whose scripts may use the API from a browser, separated by commas; `none` for none.
   * Any one by default, as at other APIs whose keys no browser sends by itself.
   */
  CORS_ORIGINS: z.string().default('*').transform(toOrigins),
  /** Jobs that may wait before new requests are turned away with backlog_full. */
  BACKLOG_LIMIT: z.coerce.number().int().min(1).default(1_000_000),
  /** The only bearer token that opens /metrics; without it any valid API key does. */
  METRICS_TOKEN: z.string().min(16).optional(),
})

const workerSchema = z.object({
  ...log,
  ...stores,
  ...webhooks,
  /** Endpoints that are sent to at a time, each with up to 20 attempts in flight. */
  WEBHOOK_CONCURRENCY: z.coerce.number().int().min(1).max(1_000).default(100),
  /** An endpoint that has failed for so many days without a success is disabled. */
  WEBHOOK_DISABLE_AFTER_DAYS: z.coerce.number().min(0.001).max(365).default(5),
  /** A proxy that all webhooks go through. It resolves names by itself, and has to guard as well. */
  WEBHOOK_PROXY_URL: url('http:', 'https:').optional(),
  /** Jobs in hand at a time, which is how many transfers can be settled together. */
  WORKER_CONCURRENCY: z.coerce.number().int().min(1).max(1_000).default(200),
  WORKER_CONNECTIONS: connections.default(5),
  /** Where the worker answers /healthz, /readyz and /metrics; without it, nowhere. */
  WORKER_PORT: port.optional(),
  WORKER_HOST: z.string().default('0.0.0.0'),
})

const localSchema = z.object({
  /** By default only what asks for attention: the terminal also shows how to use the stack. */
  LOG_LEVEL: log.LOG_LEVEL.unwrap().default('warn'),
  HOST: z.string().default('127.0.0.1'),
  PORT: port.default(3000),
  DATA_DIR: z.string().min(1).default('./.payonce'),
  /** By default this machine, where a developer's receiver is. */
  WEBHOOK_ALLOWED_NETWORKS: z.string().default('127.0.0.0/8,::1/128'),
  /** Not used, because a terminal's DATABASE_URL is most often another program's; it is told so. */
  DATABASE_URL: z.string().optional(),
  REDIS_URL: z.string().optional(),
})

const databaseSchema = z.object({
  ...stores,
  /** Payloads of requests that settled are kept for so many days. */
  RETENTION_DAYS: z.coerce.number().int().min(1).max(36_500).default(90),
  /** Events, their deliveries and attempts are kept for so many days. */
  EVENT_RETENTION_DAYS: z.coerce.number().int().min(7).max(36_500).default(90),
  /** The role that api and worker run as, where it is not the one that migrates. */
  APP_DATABASE_ROLE: z.string().min(1).max(63).optional(),
})

const clientSchema = z.object({
  PAYONCE_URL: url('http:', 'https:').optional(),
  PAYONCE_API_KEY: z.string().min(1).optional(),
})

export type ApiConfig = z.infer<typeof apiSchema>
export type WorkerConfig = z.infer<typeof workerSchema>
export type LocalConfig = z.infer<typeof localSchema>
export type DatabaseConfig = z.infer<typeof databaseSchema>
export type ClientConfig = z.infer<typeof clientSchema>

export const readApiConfig = (environment?: Environment) => read(apiSchema, environment)
export const readWorkerConfig = (environment?: Environment) => read(workerSchema, environment)
export const readLocalConfig = (environment?: Environment) => read(localSchema, environment)
export const readDatabaseConfig = (environment?: Environment) => read(databaseSchema, environment)
export const readClientConfig = (environment?: Environment) => read(clientSchema, environment)

/** An empty or blank variable counts as left out, as it does for most programs. Throws `ConfigError`. */
function read<T extends z.ZodType>(schema: T, environment: Environment = process.env): z.infer<T> {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value?.trim() !== ''),
  )
  const result = schema.safeParse(given)
  if (result.success) return result.data
  const faults = result.error.issues.map((issue) => {
    const name = issue.path.join('.')
    return given[name] === undefined ? `${name} is not set` : `${name}: ${issue.message}`
  })
  throw new ConfigError(`The environment cannot be used: ${faults.join('; ')}.`)
}

function toOrigins(text: string, context: z.RefinementCtx): string[] {
  const origins = text.split(',').map((origin) => origin.trim())
  if (text.trim() === 'none') return []
  if (origins.every((origin) => origin === '*' || isOrigin(origin))) return origins
  context.addIssue({
    code: 'custom',
    message: 'expected origins such as https://app.example, separated by commas, or none',
  })
  return z.NEVER
}

function toNetworks(text: string, context: z.RefinementCtx): Networks {
  try {
    return parseNetworks(text)
  } catch {
    context.addIssue({ code: 'custom', message: 'expected networks such as 10.1.0.0/16' })
    return z.NEVER
  }
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text
}

function protocolOf(text: string): string {
  return URL.canParse(text) ? new URL(text).protocol : ''
}
