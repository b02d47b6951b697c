import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createHttp } from '../../apps/cli/src/conformance/http.ts'
import { faults, type FaultName, type Forward, type Reply, type Request } from './planted-faults.ts'

export type FaultyServer = { url: string; close(): Promise<void> }

/**
 * A server that does everything right but one thing: it stands in front of a started server, passes
 * on what it is asked, and gets one thing wrong on the way. It starts with an empty memory.
 */
export async function startFaultyServer(
  upstreamUrl: string,
  fault: FaultName,
): Promise<FaultyServer> {
  const upstream = createHttp(new URL(upstreamUrl), { timeoutMs: 15_000 })
  const answer = faults[fault].plant()

  const forward: Forward = async ({ method, path, headers, body }) => {
    const reply = await upstream.exchange({
      method,
      path,
      headers: headers.filter(([name]) => !ownHeaders.has(name.toLowerCase())),
      ...(body === '' ? {} : { body: Buffer.from(body) }),
    })
    const replyHeaders = Object.entries(reply.headers)
      .filter(([name]) => !ownHeaders.has(name))
      .map(([name, value]) => [name, String(value)] as const)
    return { status: reply.status, headers: new Map(replyHeaders), body: reply.text }
  }

  const server = createServer((incoming, outgoing) => {
    readRequest(incoming)
      .then((request) => answer(request, forward))
      .then(
        (reply) => writeReply(outgoing, reply),
        (error: unknown) => outgoing.destroy(error instanceof Error ? error : undefined),
      )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port to listen on')
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      upstream.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** What belongs to one connection, and is made anew for the next one. */
const ownHeaders = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'transfer-encoding',
])

async function readRequest(incoming: IncomingMessage): Promise<Request> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
  const raw = incoming.rawHeaders
  return {
    method: incoming.method ?? '',
    path: incoming.url ?? '/',
    headers: raw.flatMap((name, index) =>
      index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as const] : [],
    ),
    body: Buffer.concat(chunks).toString(),
  }
}

function writeReply(outgoing: ServerResponse, { status, headers, body }: Reply): void {
  const bytes = Buffer.from(body)
  outgoing.writeHead(status, { ...Object.fromEntries(headers), 'content-length': bytes.length })
  outgoing.end(bytes)
}
