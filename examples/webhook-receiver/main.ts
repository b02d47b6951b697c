import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Pool } from 'pg'
import { Webhook, WebhookVerificationError } from 'standardwebhooks'

/*
 * A receiver of webhooks as docs/reference/webhooks.md asks for: it verifies the raw bytes, remembers
 * the id in the transaction of its work, and answers at once. Its work is to keep how much each
 * account has received.
 */

const { DATABASE_URL, WEBHOOK_SECRET = '', PORT = '4000' } = process.env
const pool = new Pool({ connectionString: DATABASE_URL })
const webhook = new Webhook(WEBHOOK_SECRET)

await pool.query(`CREATE TABLE IF NOT EXISTS seen_events (id text PRIMARY KEY)`)
await pool.query(
  `CREATE TABLE IF NOT EXISTS received (account text PRIMARY KEY, amount bigint NOT NULL)`,
)

type Event = {
  id: string
  type: string
  data: { kind: string; destination: string | null; amount: number }
}

/** What moves money: a hold and its release succeed too, and move none of their own. */
const movingKinds = new Set(['transfer', 'capture', 'refund'])

/** 64 kB: an event is below 20. */
const longestBody = 65_536

async function readRawBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > longestBody) throw new WebhookVerificationError('too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Does what an event asks for, once, however often it comes. */
async function handleOnce({ id, type, data }: Event): Promise<'handled' | 'seen before'> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const { rowCount } = await client.query(
      'INSERT INTO seen_events (id) VALUES ($1) ON CONFLICT DO NOTHING',
      [id],
    )
    const isMoved = type === 'transfer.succeeded' && movingKinds.has(data.kind)
    if (rowCount === 1 && isMoved && data.destination !== null) {
      await client.query(
        `INSERT INTO received (account, amount) VALUES ($1, $2)
         ON CONFLICT (account) DO UPDATE SET amount = received.amount + excluded.amount`,
        [data.destination, data.amount],
      )
    }
    await client.query('COMMIT')
    return rowCount === 1 ? 'handled' : 'seen before'
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const body = await readRawBody(request)
    const event = webhook.verify(body, request.headers as Record<string, string>) as Event
    console.log(`${event.id} ${event.type}: ${await handleOnce(event)}`)
    response.writeHead(204).end()
  } catch (error) {
    const isForged = error instanceof WebhookVerificationError
    console.log(isForged ? 'refused: no valid signature' : 'failed, and will be sent again:', error)
    response.writeHead(isForged ? 401 : 500).end()
  }
}

const server = createServer((request, response) => void receive(request, response))
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on port ${PORT}`))

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close(() => void pool.end())
  })
}
