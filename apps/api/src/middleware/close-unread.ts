import { setTimeout as sleep } from 'node:timers/promises'
import { MAX_BODY_BYTES } from '../json-body.ts'
import type { HttpBindings } from '@hono/node-server'
import type { MiddlewareHandler } from 'hono'
import type { Env } from '../deps.ts'

/** 1 s: in which an answer reaches its client over any usable line. */
const graceMs = 1_000

/**
 * Ends the connection of a request that was answered before its body had come, where much of that
 * may follow: whoever is refused could else go on sending for as long as it likes.
 *
 * In two stages (RFC 9112, section 9.6): the answer goes out, nothing more is read, and a moment later
 * the connection is closed. At once would be a reset, and a client that still sends might never see
 * what it is told.
 */
export function closeUnread(): MiddlewareHandler<Env> {
  return async function closeWhereMuchIsLeft(c, next) {
    await next()
    const { incoming }: Partial<HttpBindings> = c.env ?? {}
    if (incoming === undefined || !isMuchLeft(incoming)) return
    c.header('connection', 'close')
    c.res = await endingLater(c.res)
  }
}

/** What is left of a body of the usual size is soon read; one without a length may have no end. */
function isMuchLeft({ complete, headers }: HttpBindings['incoming']): boolean {
  const length = headers['content-length']
  return !complete && (length === undefined || Number(length) > MAX_BODY_BYTES)
}

/** The connection is closed when the answer ends, so the answer ends a moment after its last byte. */
async function endingLater(response: Response): Promise<Response> {
  const bytes = new Uint8Array(await response.arrayBuffer())
  const body = new ReadableStream({
    async start(controller) {
      controller.enqueue(bytes)
      await sleep(graceMs)
      controller.close()
    },
  })
  const headers = new Headers(response.headers)
  headers.set('content-length', String(bytes.byteLength))
  return new Response(body, { status: response.status, headers })
}
