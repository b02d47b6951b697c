import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** An answer as it came over the wire. Header names are in lower case. */
export type RawAnswer = {
  status: number
  headers: ReadonlyMap<string, string>
  text: string
  /** The JSON in it, or undefined where it is none. */
  json: unknown
}

export type RawRequest = {
  method: string
  path: string
  headers?: readonly (readonly [name: string, value: string])[]
  body?: string | Uint8Array
}

/** 10 s: longer than any answer may take, short enough for the time-out of a test. */
const answerTimeoutMs = 10_000

/**
 * One connection to a server, on which a test sends whatever bytes it likes. A client library would
 * put right, refuse or hide what such tests are about.
 */
export class RawConnection {
  readonly #socket: Socket
  #received = Buffer.alloc(0)
  #isClosed = false

  static async open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    return new RawConnection(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes])
    })
    // A reset is one way in which a server ends a connection; 'close' follows.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#isClosed = true
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** All that has come and was not taken by answer(), one character per byte. */
  get received(): string {
    return this.#received.toString('latin1')
  }

  /** Sends bytes, or text of one byte per character. Returns false while the server takes no more. */
  write(bytes: string | Uint8Array): boolean {
    return this.#socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** Sends a well-formed request: with a Host, and with a length where it has a body. */
  send({ method, path, headers = [], body }: RawRequest): void {
    const bytes = body === undefined ? undefined : Buffer.from(body)
    const length = bytes === undefined ? [] : [['content-length', String(bytes.length)] as const]
    const lines = [['host', 'payonce.example'] as const, ...length, ...headers]
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const start = Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`, 'latin1')
    this.write(Buffer.concat([start, bytes ?? Buffer.alloc(0)]))
  }

  /** The next answer, when it is there as a whole. Throws where the connection ends before. */
  async answer(options: { isHead?: boolean; withinMs?: number } = {}): Promise<RawAnswer> {
    const deadline = AbortSignal.timeout(options.withinMs ?? answerTimeoutMs)
    for (;;) {
      const found = takeAnswer(this.#received, options.isHead === true, this.#isClosed)
      if (found !== undefined) {
        this.#received = found.rest
        return found.answer
      }
      if (this.#isClosed) throw new Error(`closed without an answer, after: ${this.received}`)
      await this.#change(deadline)
    }
  }

  /** Resolves when the server has closed the connection. Throws when it does not in time. */
  async untilClosed(withinMs = answerTimeoutMs): Promise<void> {
    const deadline = AbortSignal.timeout(withinMs)
    while (!this.#isClosed) await this.#change(deadline)
  }

  /** Resolves when the server takes more bytes, or has closed the connection. */
  async untilWritable(): Promise<void> {
    if (this.#isClosed || !this.#socket.writableNeedDrain) return
    await new Promise<void>((resolve) => {
      const end = () => {
        this.#socket.off('drain', end)
        this.#socket.off('close', end)
        resolve()
      }
      this.#socket.once('drain', end)
      this.#socket.once('close', end)
    })
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength
  }

  /** Reads nothing more of what comes. */
  pause(): void {
    this.#socket.pause()
  }

  /** Sends no more, and still listens. */
  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  async #change(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const end = () => {
        this.#socket.off('data', end)
        this.#socket.off('close', end)
        signal.removeEventListener('abort', end)
        if (signal.aborted) reject(new Error(`nothing more came after: ${this.received}`))
        else resolve()
      }
      this.#socket.once('data', end)
      this.#socket.once('close', end)
      signal.addEventListener('abort', end)
    })
  }
}

type Taken = { answer: RawAnswer; rest: Buffer<ArrayBuffer> }

function takeAnswer(
  bytes: Buffer<ArrayBuffer>,
  isHead: boolean,
  isClosed: boolean,
): Taken | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const [statusLine = '', ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n')
  const headers = new Map(lines.map(toHeader))
  const status = Number(statusLine.split(' ')[1])
  const body = takeBody(bytes.subarray(headEnd + 4), headers, {
    isEmpty: isHead || status === 204 || status === 304,
    isClosed,
  })
  if (body === undefined) return undefined
  const text = body.bytes.toString()
  const isJson = /json/.test(headers.get('content-type') ?? '') && text !== ''
  return {
    answer: { status, headers, text, json: isJson ? JSON.parse(text) : undefined },
    rest: body.rest,
  }
}

function toHeader(line: string): [name: string, value: string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
}

function takeBody(
  bytes: Buffer<ArrayBuffer>,
  headers: ReadonlyMap<string, string>,
  { isEmpty, isClosed }: { isEmpty: boolean; isClosed: boolean },
): { bytes: Buffer; rest: Buffer<ArrayBuffer> } | undefined {
  if (isEmpty) return { bytes: Buffer.alloc(0), rest: bytes }
  if (headers.get('transfer-encoding') === 'chunked') return takeChunks(bytes)
  const length = headers.get('content-length')
  const end = length === undefined ? bytes.length : Number(length)
  const isWhole = length === undefined ? isClosed : bytes.length >= end
  return isWhole ? { bytes: bytes.subarray(0, end), rest: bytes.subarray(end) } : undefined
}

function takeChunks(
  bytes: Buffer<ArrayBuffer>,
): { bytes: Buffer; rest: Buffer<ArrayBuffer> } | undefined {
  const chunks: Buffer[] = []
  let position = 0
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', position)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(bytes.subarray(position, lineEnd).toString('latin1'), 16)
    const end = lineEnd + 2 + size + 2
    if (bytes.length < end) return undefined
    if (size === 0) return { bytes: Buffer.concat(chunks), rest: bytes.subarray(end) }
    chunks.push(bytes.subarray(lineEnd + 2, end - 2))
    position = end
  }
}
