import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import type { Recorder } from './recorder.ts'

/** How the bad receiver behaves: an answer, or the lack of one. */
export type BadMode = (typeof badModes)[number]

export const badModes = [
  'well',
  'hang',
  '500',
  'redirect',
  'drip',
  'reset',
  'late',
] as const satisfies readonly string[]

/** Somebody else's server, which takes the webhooks of the storm and notes each. */
export type Receiver = {
  /** Where an endpoint of this name is registered; what comes for it is noted once it is known. */
  urlOf(name: string): string
  register(name: string, endpoint: Endpoint): void
  /** Makes the bad endpoints behave so. */
  behave(mode: BadMode): void
  close(): Promise<void>
}

export type Endpoint = { id: string; secret: string; mode: 'healthy' | 'bad' }

/** 16 s: a little more than a delivery waits for its answer. */
const lateMs = 16_000

export async function startReceiver(recorder: Recorder): Promise<Receiver> {
  const endpoints = new Map<string, Endpoint>()
  let behaviour: BadMode = 'well'

  const server = createServer((incoming, outgoing) => {
    take(incoming, outgoing).catch(() => outgoing.destroy())
  })

  async function take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await readBody(incoming)
    const endpoint = endpoints.get((incoming.url ?? '').slice(1))
    if (endpoint === undefined) {
      outgoing.writeHead(404).end()
      return
    }
    const mode = endpoint.mode === 'bad' ? behaviour : 'well'
    const { id, type, objectId, objectStatus } = contentOf(body)
    recorder.append({
      type: 'webhook',
      endpoint: endpoint.id,
      mode: endpoint.mode,
      // What the receiver goes by is the header; a body that names another event shows beside it.
      eventId: headerOf(incoming, 'webhook-id') ?? id ?? '',
      eventType: type ?? '',
      bodyHash: createHash('sha256').update(body).digest('hex'),
      isSignatureValid: isSigned(endpoint, incoming, body),
      ...(objectId === undefined ? {} : { objectId }),
      ...(objectStatus === undefined ? {} : { objectStatus }),
      answered: statusOf(mode),
    })
    await answer(outgoing, mode)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  return {
    urlOf: (name) => `http://127.0.0.1:${port}/${name}`,
    register: (name, endpoint) => void endpoints.set(name, endpoint),
    behave: (mode) => (behaviour = mode),
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function answer(outgoing: ServerResponse, mode: BadMode): Promise<void> {
  switch (mode) {
    case 'well':
      outgoing.writeHead(200).end()
      return
    case '500':
      outgoing.writeHead(500).end('not today')
      return
    case 'redirect':
      outgoing.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()
      return
    case 'reset':
      outgoing.socket?.resetAndDestroy()
      return
    case 'late':
      await sleep(lateMs, undefined, { ref: false })
      outgoing.writeHead(200).end()
      return
    case 'drip':
      outgoing.writeHead(200)
      while (!outgoing.destroyed) {
        outgoing.write('.')
        await sleep(200, undefined, { ref: false })
      }
      return
    case 'hang':
      return
  }
}

/** What goes on the wire as an answer, if anything does in time. */
function statusOf(mode: BadMode): number {
  switch (mode) {
    case 'well':
      return 200
    case '500':
      return 500
    case 'redirect':
      return 302
    case 'drip':
    case 'late':
    case 'hang':
    case 'reset':
      return 0
  }
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

type Content = { id?: string; type?: string; objectId?: string; objectStatus?: string }

function contentOf(body: string): Content {
  try {
    const event = JSON.parse(body) as {
      id?: string
      type?: string
      data?: { id?: string; status?: string }
    }
    return {
      ...(event.id === undefined ? {} : { id: event.id }),
      ...(event.type === undefined ? {} : { type: event.type }),
      ...(event.data?.id === undefined ? {} : { objectId: event.data.id }),
      ...(event.data?.status === undefined ? {} : { objectStatus: event.data.status }),
    }
  } catch {
    return {}
  }
}

/** Whether the signature is right for the time that it names: clocks are wrong in some storms. */
function isSigned({ secret }: Endpoint, incoming: IncomingMessage, body: string): boolean {
  const [id = '', timestamp = '', signatures = ''] = [
    'webhook-id',
    'webhook-timestamp',
    'webhook-signature',
  ].map((name) => headerOf(incoming, name))
  const expected = new Webhook(secret).sign(id, new Date(Number(timestamp) * 1_000), body)
  return signatures.split(' ').includes(expected)
}

function headerOf(incoming: IncomingMessage, name: string): string | undefined {
  const value = incoming.headers[name]
  return Array.isArray(value) ? value[0] : value
}
