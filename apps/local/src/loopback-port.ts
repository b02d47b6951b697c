import { createServer } from 'node:net'

/** A port on 127.0.0.1 that nobody listened on a moment ago; another program may still take it first. */
export async function freePort(): Promise<number> {
  return listenOnce(0)
}

/** Whether a port on 127.0.0.1 could be listened on a moment ago. */
export async function isPortFree(port: number): Promise<boolean> {
  return listenOnce(port).then(
    () => true,
    () => false,
  )
}

/** Listens for a moment and returns the port, which was chosen for 0. Rejects with what listening throws. */
export function listenOnce(port: number, host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address()
      const bound = typeof address === 'object' && address !== null ? address.port : port
      server.close(() => resolve(bound))
    })
  })
}
