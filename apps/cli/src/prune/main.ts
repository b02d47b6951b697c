import { Client } from 'pg'
import { readDatabaseConfig } from '@payonce/core/config'
import { createCommandPartitions, pruneCommands } from '@payonce/core/db/command-partitions'
import { pruneEvents } from '@payonce/core/events/prune'

/*
 * Drops the payloads of requests that are older than RETENTION_DAYS and settled, prepares the partitions
 * of the next months, and deletes events that are older than EVENT_RETENTION_DAYS. Run it daily, as the owner of the tables; it is safe to repeat.
 */
try {
  const config = readDatabaseConfig()
  const client = new Client({ connectionString: config.DATABASE_URL })
  await client.connect()
  try {
    await createCommandPartitions(client)
    const { dropped, kept } = await pruneCommands(client, { retentionDays: config.RETENTION_DAYS })
    console.error(`Dropped: ${dropped.join(', ') || 'nothing'}.`)
    if (kept.length > 0)
      console.error(`Kept for commands that are not settled: ${kept.join(', ')}.`)
    const pruned = await pruneEvents(client, { retentionDays: config.EVENT_RETENTION_DAYS })
    console.error(`Deleted: ${pruned.events} events, ${pruned.deliveries} deliveries.`)
  } finally {
    await client.end()
  }
} catch (error) {
  console.error(`prune: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
