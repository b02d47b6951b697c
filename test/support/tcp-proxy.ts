import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/**
 * Stands between a process of ours and a store, as the network does: it can be cut, and it notes what
 * is sent. It ends with the test.
 */
export type TcpProxy = {
  /** The store's URL, by way of this proxy. */
  url: string
  /** All that was sent to the store so far, as text: Postgres and Redis put statements in plainly. */
  sent(): string
  /** Ends every connection and refuses new ones, as a store that was killed does. */
  cut(): void
  /** Lets connections through again, to another store where one is given. */
  restore(otherUrl?: string): void
}

export async function startTcpProxy(storeUrl: string): Promise<TcpProxy> {
  let store = new URL(storeUrl)
  const sockets = new Set<Socket>()
  const chunks: Buffer[] = []
  let isCut = false

  const server = createServer((client) => {
    client.on('error', () => undefined)
    if (isCut) {
      client.resetAndDestroy()
      return
    }
    const upstream = connect(Number(store.port), store.hostname)
    upstream.on('error', () => undefined)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.once('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => chunks.push(chunk))
    client.pipe(upstream)
    upstream.pipe(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  function endConnections(): void {
    for (const socket of sockets) socket.resetAndDestroy()
  }

  onTestFinished(async () => {
    endConnections()
    server.close()
    await once(server, 'close')
  })
  const url = new URL(storeUrl)
  const address = server.address()
  url.port = String(typeof address === 'object' ? address?.port : '')
  return {
    url: url.href,
    sent: () => Buffer.concat(chunks).toString('latin1'),
    cut: () => {
      isCut = true
      endConnections()
    },
    restore: (otherUrl = store.href) => {
      store = new URL(otherUrl)
      isCut = false
    },
  }
}
