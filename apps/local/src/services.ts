import { startApi } from '@payonce/api/main'
import { readApiConfig, readWorkerConfig, type LocalConfig } from '@payonce/core/config'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { createMetrics } from '@payonce/core/metrics'
import { migrateQueue } from '@payonce/core/queue/queues'
import { startWorker } from '@payonce/worker/main'
import type { Log } from '@payonce/core/log'
import { prepareDemo, type Demo } from './demo.ts'
import { cannotListen } from './listen-address.ts'

export type Services = Demo & {
  url: string
  /** Ends the API, then the worker. */
  close(): Promise<void>
}

/**
 * Brings the database to the schema of this version, makes what the demo needs, and starts worker
 * and API on it with one log and one set of metrics. Throws where one of them cannot start.
 */
export async function startServices(
  config: LocalConfig,
  { databaseUrl, log, say }: { databaseUrl: string; log: Log; say(line: string): void },
): Promise<Services> {
  const environment = {
    DATABASE_URL: databaseUrl,
    HOST: config.HOST,
    PORT: String(config.PORT),
    WEBHOOK_ALLOWED_NETWORKS: config.WEBHOOK_ALLOWED_NETWORKS,
  }
  const workerConfig = readWorkerConfig(environment)
  say('bringing the database to the schema of this version …')
  await migrateDatabase({ databaseUrl })
  await migrateQueue({ databaseUrl, namespace: workerConfig.QUEUE_NAMESPACE })
  const demo = await prepareDemo({ databaseUrl, dataDir: config.DATA_DIR })
  say('starting worker and API …')
  const shared = { log: log.child({}), metrics: createMetrics() }
  const worker = await startWorker(workerConfig, shared)
  const api = await startApi(readApiConfig(environment), shared).catch(async (error: unknown) => {
    await worker.close()
    throw cannotListen(error, config.HOST, config.PORT)
  })
  return {
    ...demo,
    url: api.url,
    async close() {
      try {
        await api.close()
      } finally {
        await worker.close()
        // A connection that we closed may still complain of the end of Postgres.
        shared.log.level = 'silent'
      }
    },
  }
}
