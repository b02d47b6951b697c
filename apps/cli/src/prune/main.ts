import { parseArgs } from 'node:util'
import { Client } from 'pg'
import { readDatabaseConfig } from '@payonce/core/config'
import { createCommandPartitions, pruneCommands } from '@payonce/core/db/command-partitions'
import { pruneEvents } from '@payonce/core/events/prune'

const usage = `Usage: npm run prune
  Makes the partitions of the next months, drops those whose payloads are all older than
  RETENTION_DAYS and settled, and deletes events that are older than EVENT_RETENTION_DAYS.
  Run it daily, as the owner of the tables; it is safe to repeat.
The database is the one of DATABASE_URL.`

async function prune(): Promise<void> {
  const config = readDatabaseConfig()
  const client = new Client({ connectionString: config.DATABASE_URL })
  await client.connect()
  try {
    const missing = await createCommandPartitions(client)
    const { dropped, kept, busy } = await pruneCommands(client, {
      retentionDays: config.RETENTION_DAYS,
    })
    console.error(`Dropped: ${dropped.join(', ') || 'nothing'}.`)
    if (kept.length > 0)
      console.error(`Kept for commands that are not settled: ${kept.join(', ')}.`)
    const left = [...missing, ...busy]
    if (left.length > 0)
      console.error(`Left to the next run, since somebody reads the table: ${left.join(', ')}.`)
    const pruned = await pruneEvents(client, { retentionDays: config.EVENT_RETENTION_DAYS })
    console.error(`Deleted: ${pruned.events} events, ${pruned.deliveries} deliveries.`)
  } finally {
    await client.end()
  }
}

try {
  parseArgs({ options: {} })
} catch (error) {
  console.error(`prune: ${error instanceof Error ? error.message : String(error)}\n${usage}`)
  process.exit(2)
}
try {
  await prune()
} catch (error) {
  console.error(`prune: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
