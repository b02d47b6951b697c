import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { Pool } from 'undici'

export type Request = {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  body?: string
}

export type Reply = {
  status: number
  bodyHash: string
  /** The body, where it is JSON. */
  body: Record<string, unknown>
  isReplay: boolean
  payonceStatus: string | undefined
}

/** An API as its clients reach it: over connections that are kept alive. */
export type ApiConnection = {
  url: string
  /** Throws where the connection is cut or nothing comes in time. */
  ask(request: Request): Promise<Reply>
  /** Sends a request and cuts the connection in the moment after its last byte. */
  askAndLeave(request: Request): Promise<never>
  close(): Promise<void>
}

/** 5 s: then a client gives a call up, and does not know what became of it. */
const callTimeoutMs = 5_000

export function connectApi(url: string, connections: number): ApiConnection {
  const pool = new Pool(url, {
    connections,
    connect: { timeout: callTimeoutMs },
    headersTimeout: callTimeoutMs,
    bodyTimeout: callTimeoutMs,
  })

  async function ask({ method, path, headers, body }: Request): Promise<Reply> {
    const {
      statusCode,
      headers: answered,
      body: stream,
    } = await pool.request({
      method,
      path,
      headers,
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.timeout(callTimeoutMs),
    })
    const bytes = Buffer.from(await stream.arrayBuffer())
    const payonceStatus = answered['payonce-status']
    return {
      status: statusCode,
      bodyHash: createHash('sha256').update(bytes).digest('hex'),
      body: parse(bytes),
      isReplay: answered['idempotent-replayed'] === 'true',
      payonceStatus: typeof payonceStatus === 'string' ? payonceStatus : undefined,
    }
  }

  function askAndLeave({ method, path, headers, body = '' }: Request): Promise<never> {
    const { hostname, port } = new URL(url)
    const head = Object.entries({
      host: `${hostname}:${port}`,
      'content-length': String(Buffer.byteLength(body)),
      ...headers,
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    return new Promise((_, reject) => {
      const socket = connect(Number(port), hostname)
      socket.setTimeout(callTimeoutMs, () => socket.destroy(new Error('no connection in time')))
      socket.once('error', reject)
      socket.write(`${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n${body}`, () => {
        // A reset, not a goodbye: the server learns at once that nobody waits.
        socket.resetAndDestroy()
        reject(new Error('the client left after the body'))
      })
    })
  }

  return { url, ask, askAndLeave, close: () => pool.destroy() }
}

function parse(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
