import { parseArgs } from 'node:util'
import { readDatabaseConfig } from '@payonce/core/config'
import { migrateDatabase } from '@payonce/core/db/migrate'
import { migrateQueue } from '@payonce/core/queue/queues'

const usage = `Usage: npm run migrate
  Brings the database of DATABASE_URL to the schema of this version, as its owner; it is safe to
  repeat. APP_DATABASE_ROLE names a role that is granted what API and worker need, and no more.`

try {
  parseArgs({ options: {} })
} catch (error) {
  console.error(`migrate: ${error instanceof Error ? error.message : String(error)}\n${usage}`)
  process.exit(2)
}
try {
  const config = readDatabaseConfig()
  const left = await migrateDatabase({
    databaseUrl: config.DATABASE_URL,
    grantTo: config.APP_DATABASE_ROLE,
  })
  if (config.REDIS_URL === undefined) {
    await migrateQueue({
      databaseUrl: config.DATABASE_URL,
      namespace: config.QUEUE_NAMESPACE,
      grantTo: config.APP_DATABASE_ROLE,
    })
  }
  if (left.length > 0)
    console.error(`Left to a later run, since somebody reads the table: ${left.join(', ')}.`)
  console.error('The database is at the schema of this version.')
} catch (error) {
  console.error(`migrate: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
