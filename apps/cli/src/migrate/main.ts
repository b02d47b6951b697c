import { readDatabaseConfig } from '@payonce/core/config'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { migrateQueue } from '@payonce/core/queue/queues'

try {
  const config = readDatabaseConfig()
  await migrateDatabase({ databaseUrl: config.DATABASE_URL, grantTo: config.APP_DATABASE_ROLE })
  if (config.REDIS_URL === undefined) {
    await migrateQueue({
      databaseUrl: config.DATABASE_URL,
      namespace: config.QUEUE_NAMESPACE,
      grantTo: config.APP_DATABASE_ROLE,
    })
  }
  console.error('The database is at the schema of this version.')
} catch (error) {
  console.error(`migrate: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
