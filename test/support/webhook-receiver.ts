import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { until } from './until.ts'

/** What came, with the very bytes of its body. */
export type ReceivedRequest = {
  path: string
  headers: Readonly<Record<string, string>>
  body: string
  /** When the whole of it was there, by `performance.now`. */
  atMs: number
}

/** How a request is answered, by default with 200 at once and nothing in it. */
export type Reaction =
  | { status?: number; headers?: Record<string, string>; body?: string; delayMs?: number }
  /** Never. */
  | 'hang'
  /** One byte every 20 ms, and no end. */
  | 'drip'
  /** The connection is cut instead. */
  | 'reset'

export type Receiver = {
  url: string
  /** What came, in its order: also what was not answered. */
  requests: readonly ReceivedRequest[]
  /** The most that were in hand at a time. */
  mostInHand: number
  /** May be changed at any time: it holds for what comes from then on. */
  react: Reaction | ((request: ReceivedRequest) => Reaction)
  /** Resolves with all that came, once so many have come. */
  untilReceived(count: number, withinMs?: number): Promise<readonly ReceivedRequest[]>
}

/** Somebody else's server that takes webhooks, on a port of its own. It ends with the test. */
export async function startReceiver(react: Receiver['react'] = {}): Promise<Receiver> {
  const requests: ReceivedRequest[] = []
  let inHand = 0
  const receiver: Receiver = {
    url: '',
    requests,
    mostInHand: 0,
    react,
    untilReceived: (count, withinMs = 15_000) =>
      until(`${count} requests have come`, () => requests.length >= count && requests, {
        withinMs,
      }),
  }

  async function take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    inHand += 1
    outgoing.on('close', () => (inHand -= 1))
    receiver.mostInHand = Math.max(receiver.mostInHand, inHand)
    const request = await readRequest(incoming)
    requests.push(request)
    const { react } = receiver
    await answer(outgoing, typeof react === 'function' ? react(request) : react)
  }

  const server = createServer((incoming, outgoing) => {
    // A sender that goes away while it is read or answered is no concern of ours.
    take(incoming, outgoing).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async function closeReceiver() {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port to listen on')
  receiver.url = `http://127.0.0.1:${address.port}`
  return receiver
}

async function readRequest(incoming: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
  const raw = incoming.rawHeaders
  const headers = raw.flatMap((name, index) =>
    index % 2 === 0 ? [[name.toLowerCase(), raw[index + 1] ?? ''] as const] : [],
  )
  return {
    path: incoming.url ?? '/',
    headers: Object.fromEntries(headers),
    body: Buffer.concat(chunks).toString(),
    atMs: performance.now(),
  }
}

async function answer(outgoing: ServerResponse, reaction: Reaction): Promise<void> {
  if (reaction === 'hang') return
  if (reaction === 'reset') {
    outgoing.socket?.resetAndDestroy()
    return
  }
  if (reaction === 'drip') {
    outgoing.writeHead(200)
    while (!outgoing.destroyed) {
      outgoing.write('.')
      await sleep(20)
    }
    return
  }
  const { status = 200, headers = {}, body = '', delayMs = 0 } = reaction
  if (delayMs > 0) await sleep(delayMs)
  outgoing.writeHead(status, headers).end(body)
}
