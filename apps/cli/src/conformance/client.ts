import { setTimeout as sleep } from 'node:timers/promises'
import type { Http, HttpAnswer } from './http.ts'

/** One credential at one process of the server under test. */
export type Client = {
  send(request: ClientRequest): Promise<Answer>
  get(path: string, headers?: Headers): Promise<Answer>
  post(path: string, body: Body, options?: PostOptions): Promise<Answer>
  /** `POST /v1/transfers`. */
  transfer(body: Body, options?: PostOptions): Promise<Answer>
}

export type ClientRequest = {
  method: string
  path: string
  headers?: Headers | undefined
  body?: Body | undefined
  /** Whether to leave the credential out. */
  isAnonymous?: boolean
}

/** Pairs, since a header may be sent twice. */
export type Headers = readonly (readonly [name: string, value: string])[]

/** A text is sent as it stands, so that a row decides how its JSON is spelled. */
export type Body = string | object

export type PostOptions = {
  /** The header Idempotency-Key; several values are several headers. */
  key?: string | readonly string[]
  headers?: Headers
}

export function createClient(http: Http, apiKey: string): Client {
  async function send(request: ClientRequest): Promise<Answer> {
    const { method, path, headers = [], body, isAnonymous = false } = request
    const bytes = body === undefined ? undefined : Buffer.from(textOf(body))
    const credential: Headers = isAnonymous ? [] : [['authorization', `Bearer ${apiKey}`]]
    for (let tries = 1; ; tries++) {
      const exchanged = await http.exchange({
        method,
        path,
        headers: [...credential.filter(isMissingIn(headers)), ...headers],
        body: bytes,
      })
      const answer = new Answer(exchanged)
      // A limit on the rate of requests is no matter of these rows: what was turned away is sent anew.
      if (answer.status !== 429 || tries === triesAtLimit) return answer
      await sleep(retryAfterMs(answer))
    }
  }

  function post(path: string, body: Body, { key, headers = [] }: PostOptions = {}) {
    const keys = key === undefined ? [] : typeof key === 'string' ? [key] : key
    const ownHeaders: Headers = [
      ...jsonType.filter(isMissingIn(headers)),
      ...headers,
      ...keys.map((value) => ['idempotency-key', value] as const),
    ]
    return send({ method: 'POST', path, headers: ownHeaders, body })
  }

  return {
    send,
    post,
    get: (path, headers) => send({ method: 'GET', path, headers }),
    transfer: (body, options) => post('/v1/transfers', body, options),
  }
}

const jsonType: Headers = [['content-type', 'application/json']]

/** 20 times: a limit that is not over by then will not be over soon. */
const triesAtLimit = 20

/** How long an answer asks to wait before the next request; a second where it does not say. */
export function retryAfterMs(answer: Answer): number {
  const seconds = Number(answer.header('retry-after') ?? '1')
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0.05), 5) * 1_000 : 1_000
}

function isMissingIn(headers: Headers) {
  return ([name]: readonly [name: string, value: string]) =>
    !headers.some(([other]) => other.toLowerCase() === name)
}

function textOf(body: Body): string {
  return typeof body === 'string' ? body : JSON.stringify(body)
}

/** What came back, with its very bytes. */
export class Answer {
  readonly status: number
  readonly text: string
  readonly #headers: HttpAnswer['headers']

  constructor({ status, headers, text }: HttpAnswer) {
    this.status = status
    this.text = text
    this.#headers = headers
  }

  header(name: string): string | undefined {
    const value = this.#headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }

  /** The members of the JSON object in the body; none where there is no such object. */
  get members(): Readonly<Record<string, unknown>> {
    try {
      const value: unknown = JSON.parse(this.text)
      return isObject(value) ? value : {}
    } catch {
      return {}
    }
  }

  /** The code of a problem. */
  get code(): string | undefined {
    const { code } = this.members
    return typeof code === 'string' ? code : undefined
  }

  /** The status and what tells it apart: `409 idempotency_in_flight`, `202 replayed`. */
  describe(): string {
    const marker = this.header('idempotent-replayed') === undefined ? '' : ' replayed'
    return `${this.status}${this.code === undefined ? '' : ` ${this.code}`}${marker}`
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
