import * as http from 'node:http'
import * as https from 'node:https'

/**
 * Sends requests as they are told, byte for byte: headers may stand twice and hold what `fetch`
 * refuses or tidies up. Each request in flight has a connection of its own, so that requests sent
 * together arrive together. Rejects where no whole answer comes within `timeoutMs`.
 */
export function createHttp(baseUrl: URL, { timeoutMs }: { timeoutMs: number }): Http {
  const transport = baseUrl.protocol === 'https:' ? https : http
  const agent = new transport.Agent({ keepAlive: true })

  function exchange({ method, path, headers, body }: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const url = new URL(`.${path}`, withSlash(baseUrl))
      const request = transport.request(url, {
        agent,
        method,
        // A list is sent as it is, and then nothing is added to it: not even the host.
        headers: ['host', url.host, ...headers.flat(), ...lengthOf(body)],
      })
      const timeout = setTimeout(() => {
        request.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`))
      }, timeoutMs)
      const fail = (error: Error) => {
        clearTimeout(timeout)
        reject(error)
      }
      request.on('error', fail)
      request.on('response', (response) => {
        readText(response).then((text) => {
          clearTimeout(timeout)
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text })
        }, fail)
      })
      // Given a string, node would write the headers in its encoding; so header bytes stay as told.
      request.end(body)
    })
  }

  return { exchange, close: () => agent.destroy() }
}

export type Http = {
  exchange(request: HttpRequest): Promise<HttpAnswer>
  close(): void
}

export type HttpRequest = {
  method: string
  /** Begins with a slash, and is looked for below the path of the base URL. */
  path: string
  /** In this order. Each character of a value is sent as one byte (latin1). */
  headers: readonly (readonly [name: string, value: string])[]
  body?: Buffer | undefined
}

export type HttpAnswer = { status: number; headers: http.IncomingHttpHeaders; text: string }

function withSlash(url: URL): URL {
  return url.href.endsWith('/') ? url : new URL(`${url.href}/`)
}

function lengthOf(body: Buffer | undefined): string[] {
  return body === undefined ? [] : ['content-length', String(body.byteLength)]
}

async function readText(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > maxAnswerBytes) throw new Error(`an answer of more than ${maxAnswerBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** 16 MB: the description of the whole API is the largest answer, and far below it. */
const maxAnswerBytes = 16_777_216
