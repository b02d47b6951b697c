import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/**
 * Stands between processes and a store, as the network does, and does to their connections what
 * networks do. By default it lets everything through.
 */
export type Proxy = {
  /** The store's URL, by way of this proxy. */
  url: string
  set(weather: Weather): void
  /** From now on new connections go to another store, and those that stand are cut. */
  lead(storeUrl: string): void
  /** Ends every connection with a reset; new ones are treated by the weather. */
  cut(): void
  /** How often an answer or a request was lost as the weather told. */
  losses(): number
  close(): Promise<void>
}

export type Weather =
  | { kind: 'fair' }
  /** Everything arrives so much later, in both directions. */
  | { kind: 'delay'; delayMs: number }
  /** Connections are taken and nothing ever arrives; those that stand fall silent too. */
  | { kind: 'black hole' }
  /** Connections are reset, and new ones as well. */
  | { kind: 'cut' }
  /** So many bytes a second go through each connection, in each direction. */
  | { kind: 'throttle'; bytesPerSecond: number }
  /**
   * Of the messages with this text every n-th is lost, or it arrives and the answer to it is lost;
   * then the connection is reset. `on` stands in what a connection sends first: which one it is.
   */
  | { kind: 'lose'; what: 'request' | 'answer'; message: RegExp; every: number; on?: string }

/** What goes through one connection, and what is to become of it. */
type Passage = { client: Socket; upstream: Socket; hello: string; losesAnswer: boolean }

/** 16 KB at a time: so a throttled connection is slow, and not stopped and let go in turns. */
const largestShare = 16_384

export async function startProxy(storeUrl: string): Promise<Proxy> {
  let store = new URL(storeUrl)
  const passages = new Set<Passage>()
  let weather: Weather = { kind: 'fair' }
  let matches = 0
  let losses = 0

  const server = createServer({ noDelay: true }, (client) => {
    client.on('error', () => undefined)
    if (weather.kind === 'cut') {
      client.resetAndDestroy()
      return
    }
    const upstream = connect({ port: Number(store.port), host: store.hostname, noDelay: true })
    upstream.on('error', () => undefined)
    const passage: Passage = { client, upstream, hello: '', losesAnswer: false }
    passages.add(passage)
    for (const socket of [client, upstream]) socket.once('close', () => end(passage))
    void forward(client, (chunk) => {
      passage.hello ||= chunk.toString('latin1')
      return isLost(passage, chunk) ? undefined : upstream
    })
    void forward(upstream, () => {
      if (!passage.losesAnswer) return client
      losses += 1
      end(passage)
      return undefined
    })
  })

  async function forward(from: Socket, to: (chunk: Buffer) => Socket | undefined): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        if (weather.kind === 'fair') {
          write(to(chunk), chunk)
          continue
        }
        await weathered(chunk, to)
      }
    } catch {
      // The connection was reset: its other half is ended by its own 'close'.
    }
  }

  async function weathered(chunk: Buffer, to: (chunk: Buffer) => Socket | undefined) {
    while (weather.kind === 'black hole') await sleep(20)
    const { kind } = weather
    if (kind === 'delay') await sleep(weather.delayMs)
    if (kind !== 'throttle') {
      write(to(chunk), chunk)
      return
    }
    const target = to(chunk)
    for (let first = 0; first < chunk.length; first += largestShare) {
      const share = chunk.subarray(first, first + largestShare)
      if (weather.kind === 'throttle') await sleep((share.length / weather.bytesPerSecond) * 1_000)
      write(target, share)
    }
  }

  /** Whether the request never arrives. Notes when it does, and its answer shall not. */
  function isLost(passage: Passage, chunk: Buffer): boolean {
    if (weather.kind !== 'lose' || passage.losesAnswer) return false
    const { what, message, every, on = '' } = weather
    if (!passage.hello.includes(on) || !message.test(chunk.toString('latin1'))) return false
    matches += 1
    if (matches % every !== 0) return false
    if (what === 'answer') {
      passage.losesAnswer = true
      return false
    }
    losses += 1
    end(passage)
    return true
  }

  function end(passage: Passage): void {
    passages.delete(passage)
    passage.client.resetAndDestroy()
    passage.upstream.resetAndDestroy()
  }

  function cut(): void {
    for (const passage of passages) end(passage)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = new URL(storeUrl)
  url.port = String(typeof address === 'object' ? address?.port : '')
  return {
    url: url.href,
    set: (next) => {
      weather = next
      if (next.kind === 'cut') cut()
    },
    lead: (url) => {
      store = new URL(url)
      cut()
    },
    cut,
    losses: () => losses,
    close: async () => {
      weather = { kind: 'cut' }
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The simple query that ends a transaction, as it goes to Postgres. */
// oxlint-disable-next-line no-control-regex -- a message of the protocol ends with a zero byte
export const commitMessage = /Q\0\0\0\x0bCOMMIT\0/
/** Where a connection to Postgres names the pool that it belongs to. */
export const connectionOf = (pool: 'accept' | 'worker' | 'webhooks') => `payonce-${pool}\0`
/** A command to Redis that runs a script: so BullMQ does everything. */
export const scriptMessage = /evalsha/i

function write(target: Socket | undefined, chunk: Buffer): void {
  if (target?.writable) target.write(chunk)
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
