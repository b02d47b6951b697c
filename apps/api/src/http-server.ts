import {
  STATUS_CODES,
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { getRequestListener, RequestError } from '@hono/node-server'
import { encodeId, type NewId } from '@payonce/core/ids'
import { Problem, renderProblem } from './problem.ts'
import type { Duplex } from 'node:stream'
import type { Hono } from 'hono'
import type { Log } from '@payonce/core/log'
import type { Env } from './deps.ts'

export type HttpServerOptions = {
  app: Hono<Env>
  /** Stands for the host of a request of HTTP/1.0, which may name none. */
  host: string
  publicUrl: string
  newId: NewId
  log: Log
}

/** 9 s for a whole request, looked at every second: a slow client holds a socket for 10 s at most. */
const requestTimeoutMs = 9_000
const requestCheckIntervalMs = 1_000
/** 15 s between requests: proxies in front keep connections for 5 to 60 s and close them first. */
const keepAliveTimeoutMs = 15_000
/** 60 s without a byte, twice the longest wait: who does not read its answer holds no memory longer. */
const silenceTimeoutMs = 60_000
/** 16 KB for the request line and all headers together: what proxies let through by default. */
const maxHeaderBytes = 16 * 1024
/** 100 headers: a browser behind several proxies sends about 40. */
const maxHeaders = 100
/** 100 requests that one connection may send ahead of their answers: each takes memory meanwhile. */
const maxPipelined = 100
/** 25,000: the 20,000 clients that may wait (see main.ts), and those who have just come. */
const maxConnections = 25_000

/**
 * The server around the app, which does not listen yet. It limits what clients can hold, and answers
 * by itself what is no request that the app could be asked: garbage, and what two readers of HTTP
 * might understand differently. All such answers end the connection.
 */
export function createHttpServer(options: HttpServerOptions): Server {
  const lines = new WeakMap<Duplex, Line>()
  const askApp = getRequestListener(options.app.fetch, {
    hostname: options.host,
    errorHandler: (error) => {
      const { status, headers, body } = render(problemOfThrown(error))
      return new Response(body, { status, headers })
    },
  })

  /**
   * Answers the requests of a connection one after the other: behind an answer that ends it, no
   * request is looked at any more (RFC 9112, section 9.6), least of all one that was smuggled in.
   */
  function answerInTurn(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { socket } = incoming
    if (!socket.writable) return
    const line = lines.get(socket) ?? { owed: undefined, waiting: 0 }
    const before = line.owed
    lines.set(socket, line)
    line.owed = outgoing
    outgoing.once('finish', () => {
      if (line.owed === outgoing) line.owed = undefined
    })
    if (before === undefined) {
      answerRequest(incoming, outgoing)
      return
    }
    line.waiting += 1
    if (line.waiting > maxPipelined) socket.destroy()
    before.once('finish', () => {
      line.waiting -= 1
      if (socket.writable) answerRequest(incoming, outgoing)
    })
  }

  function answerRequest(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const refusal = refusalOf(incoming)
    if (refusal === undefined) {
      void askApp(incoming, outgoing)
      return
    }
    const { status, headers, body } = render(refusal)
    outgoing.writeHead(status, headers).end(body)
  }

  /**
   * Answers what Node could not read as a request. A client whose earlier request still waits for
   * its answer would take ours for that one, and believe refused what was accepted: it gets none.
   */
  function answerGarbage(error: NodeJS.ErrnoException, socket: Duplex): void {
    const line = lines.get(socket)
    const isMute = !socket.writable || (line !== undefined && isMistakable(line))
    if (isMute) socket.destroy()
    else socket.end(asText(render(problemOfGarbage(error))), () => socket.destroy())
  }

  function problemOfThrown(error: unknown): Problem {
    if (error instanceof RequestError) return malformed('Send a valid Host header and target.')
    options.log.error({ error }, 'the app threw')
    return new Problem('internal_error', 'Something failed on our side.')
  }

  function render(problem: Problem): Rendered {
    const requestId = encodeId('request', options.newId())
    options.log.debug(
      { requestId, status: problem.status, code: problem.code },
      'request refused before it was read',
    )
    const body = renderProblem(problem, requestId, options.publicUrl)
    return {
      status: problem.status,
      headers: {
        'cache-control': 'no-store',
        'content-type': 'application/problem+json',
        'content-length': String(Buffer.byteLength(body)),
        'request-id': requestId,
        connection: 'close',
      },
      body,
    }
  }

  const server = createServer(
    {
      headersTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: requestCheckIntervalMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      maxHeaderSize: maxHeaderBytes,
      // refusalOf says the same in our own words.
      requireHostHeader: false,
    },
    answerInTurn,
  )
  server.maxConnections = maxConnections
  server.setTimeout(silenceTimeoutMs)
  server.on('clientError', answerGarbage)
  return server
}

/** What a connection is owed: its newest answer, and how many requests wait for one before it. */
type Line = { owed: ServerResponse | undefined; waiting: number }

/** Whether an answer to garbage could be taken for the answer to a request before it. */
function isMistakable({ owed, waiting }: Line): boolean {
  return owed !== undefined && (waiting > 0 || owed.headersSent || owed.req.complete)
}

type Rendered = { status: number; headers: Record<string, string>; body: string }

function refusalOf({ url = '', httpVersion, rawHeaders }: IncomingMessage): Problem | undefined {
  // Node would leave out what is above a limit of its own, perhaps the key, and say nothing.
  if (rawHeaders.length > 2 * maxHeaders) {
    return new Problem('headers_too_large', `Send at most ${maxHeaders} headers.`)
  }
  const hosts = rawHeaders.filter(isHostName).length
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) return malformed('Send one Host header.')
  // A proxy that guards /metrics would let /v1/../metrics through, which is the same to us.
  if (dotSegment.test(url)) return new Problem('not_found', 'There is no such route.')
  return undefined
}

/** Names and values alternate in the list of raw headers. */
function isHostName(text: string, index: number): boolean {
  return index % 2 === 0 && text.length === 4 && text.toLowerCase() === 'host'
}

/** `.` or `..` between slashes, also written as %2e: every reader resolves them, each in its way. */
const dotSegment = /^[^?#]*\/(?:\.|%2e){1,2}(?:[/?#]|$)/i

function malformed(detail: string): Problem {
  return new Problem('malformed_request', detail)
}

function problemOfGarbage({ code }: NodeJS.ErrnoException): Problem {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new Problem('request_timeout', `Send a request within ${requestTimeoutMs / 1_000} s.`)
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new Problem('headers_too_large', `Send at most ${maxHeaderBytes} bytes of headers.`)
  }
  return malformed('This is no request of HTTP/1.1.')
}

function asText({ status, headers, body }: Rendered): string {
  const lines = Object.entries({ date: new Date().toUTCString(), ...headers })
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head}\r\n${body}`
}
