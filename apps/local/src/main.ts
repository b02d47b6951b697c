import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readLocalConfig, type LocalConfig } from '@payonce/core/config'
import { createLog, type Log } from '@payonce/core/log'
import { runUntilSignal } from '@payonce/core/process'
import { renderBanner } from './banner.ts'
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts'
import { awaitFormerOwner } from './former-owner.ts'
import { choosePort } from './listen-address.ts'
import { watchNpmParent } from './npm-parent.ts'
import type { Services } from './services.ts'

/** 9 s: whoever started us may kill us after 10, and Postgres needs half a second for its stop. */
const servicesStopWithinMs = 9_000

// Whoever read our output may have gone before us, as `npm start | head` does.
process.stdout.on('error', () => undefined)
watchNpmParent(() => process.kill(process.pid, 'SIGTERM'))
await runUntilSignal('payonce', () => startLocal(readLocalConfig()))

/**
 * Starts the whole product in one process: a Postgres of its own with the queue in it, a demo tenant,
 * worker and API. Then says how to use it. Throws where it cannot start, with a message for the
 * person at the terminal, and leaves nothing running.
 */
async function startLocal(config: LocalConfig): Promise<{ close(): Promise<void> }> {
  tellWhatIsIgnored(config)
  await awaitFormerOwner(config.DATA_DIR)
  const port = await choosePort(config.HOST, config.PORT)
  const log = createLog({ name: 'payonce', level: config.LOG_LEVEL })
  say(`starting Postgres, with its data in ${resolve(config.DATA_DIR)} …`)
  // Reading our own code takes longer than a start of Postgres, so both are done at once.
  const [postgres, { startServices }] = await Promise.all([
    startPostgres(config, log),
    import('./services.ts'),
  ])
  try {
    const services = await startServices(
      { ...config, PORT: port },
      { databaseUrl: postgres.url, log, say },
    )
    process.stdout.write(renderBanner(services))
    return controlled(postgres, services)
  } catch (error) {
    await postgres.stop()
    throw error
  }
}

function tellWhatIsIgnored(config: LocalConfig): void {
  for (const name of ['DATABASE_URL', 'REDIS_URL'] as const) {
    if (config[name] === undefined) continue
    say(
      `${name} is set, but not used: npm start brings a Postgres of its own, with the queue in it`,
    )
  }
}

function startPostgres(config: LocalConfig, log: Log): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({
    dataDir: config.DATA_DIR,
    port: 0,
    log: (line) => log.info({ from: 'postgres' }, line),
  })
}

function controlled(postgres: EmbeddedPostgres, services: Services): { close(): Promise<void> } {
  let stopping = false
  void postgres.exited.then(({ code }) => {
    if (!stopping) endWithout(postgres, code)
  })
  return {
    async close() {
      stopping = true
      say('stopping API, worker and Postgres … (Ctrl-C once more ends them at once)')
      try {
        await Promise.race([services.close(), sleep(servicesStopWithinMs)])
      } finally {
        await postgres.stop()
      }
      say('stopped')
    },
  }
}

/** Without its database nothing here is of use. The next start recovers what was committed. */
function endWithout(postgres: EmbeddedPostgres, code: number): never {
  console.error(
    `payonce: Postgres (process ${postgres.pid}) has ended by itself with exit code ${code}. ` +
      'What was accepted is not lost: start again.',
  )
  process.exit(1)
}

function say(line: string): void {
  process.stdout.write(`payonce: ${line}\n`)
}
