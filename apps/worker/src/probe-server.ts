import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { Log } from '@payonce/core/log'
import type { Metrics } from '@payonce/core/metrics'

export type ProbeServerOptions = {
  host: string
  port: number
  metrics: Metrics
  isReady(): Promise<boolean>
  log: Log
}

/**
 * Answers /healthz, /readyz and /metrics of a worker. It knows nothing of payments and asks for no
 * key: bind it to an address that only the operator reaches.
 */
export async function startProbeServer(options: ProbeServerOptions): Promise<Server> {
  const { host, port, metrics, isReady, log } = options
  const server = createServer((request, response) => {
    answer(request.url ?? '')
      .then(([status, type, body]) =>
        response.writeHead(status, { 'content-type': type }).end(body),
      )
      .catch((error: unknown) => {
        log.warn({ error }, 'a probe could not be answered')
        response.writeHead(500).end()
      })
  })

  async function answer(url: string): Promise<[status: number, type: string, body: string]> {
    switch (url) {
      case '/healthz':
        return [200, 'application/json', '{"status":"ok"}']
      case '/readyz':
        return (await isReady())
          ? [200, 'application/json', '{"status":"ready"}']
          : [503, 'application/json', '{"status":"not_ready"}']
      case '/metrics':
        return [200, metrics.registry.contentType, await metrics.registry.metrics()]
      default:
        return [404, 'application/json', '{"status":"not_found"}']
    }
  }

  server.listen(port, host)
  await once(server, 'listening')
  log.info({ port: (server.address() as { port: number }).port }, 'probes are answered')
  return server
}
