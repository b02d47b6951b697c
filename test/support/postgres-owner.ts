/**
 * A program that owns an embedded Postgres, for tests that kill it. It is told the data folder and
 * the port as arguments, says `started {"url":…,"pid":…}` or `refused {"code":…,"message":…}`, and stops
 * the server on SIGTERM. On SIGINT, as on Ctrl-C, it first looks whether the server still answers.
 */
import { EmbeddedPostgresError, startEmbeddedPostgres } from '@payonce/local/embedded-postgres'
import { Client } from 'pg'

const [dataDir = '', port = '0'] = process.argv.slice(2)

try {
  const postgres = await startEmbeddedPostgres({
    dataDir,
    port: Number(port),
    log: (line) => console.log(`log ${line}`),
  })
  process.once('SIGTERM', () => {
    void postgres.stop().then(() => console.log('stopped'))
  })
  process.once('SIGINT', () => {
    void answers(postgres.url).then((text) => {
      console.log(`after Ctrl-C ${text}`)
      return postgres.stop()
    })
  })
  say('started', { url: postgres.url, pid: postgres.pid, port: postgres.port })
} catch (error) {
  if (!(error instanceof EmbeddedPostgresError)) throw error
  say('refused', { code: error.code, message: error.message })
}

function say(what: string, details: object): void {
  console.log(`${what} ${JSON.stringify(details)}`)
}

async function answers(url: string): Promise<string> {
  // A moment, in which a server that had received the signal too would have gone.
  await new Promise((resolve) => setTimeout(resolve, 300))
  const client = new Client(url)
  return client
    .connect()
    .then(() => client.end())
    .then(
      () => 'it answers',
      (error: Error) => `it is gone: ${error.message}`,
    )
}
