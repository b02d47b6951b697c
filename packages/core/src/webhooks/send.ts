import { Agent, ProxyAgent, request, type Dispatcher } from 'undici'
import { createResolve, type Resolve } from './resolve.ts'
import { judgeUrl, mayConnectTo } from './url.ts'
import type { LookupFunction } from 'node:net'
import type { Networks } from '../networks.ts'

/*
 * The only place that makes outbound requests. It trusts nobody: not the URL, not what its name
 * resolves to, and not the answer.
 */

/** What became of one HTTP try. It succeeded where `error` is null. */
export type SendResult = {
  startedAt: Date
  durationMs: number
  /** Null where there was no answer. */
  statusCode: number | null
  error: SendError | null
  /** The beginning of the answer, without secrets. */
  answer: string | null
  /** What the receiver asked for, where it did. */
  retryAfterMs: number | undefined
}

export type SendError =
  | 'url_not_allowed'
  | 'name_not_resolved'
  | 'connection_failed'
  | 'certificate_invalid'
  | 'timeout'
  | 'redirect'
  | 'status_not_2xx'
  | 'answer_too_large'
  | 'answer_invalid'

export type Sender = {
  /**
   * Sends a body by POST and tells what became of it. Never rejects, but with `StoppedError` when the
   * sender is stopped: then nobody knows whether it arrived.
   */
  send(message: {
    url: string
    headers: Readonly<Record<string, string>>
    body: string
  }): Promise<SendResult>
  /** Cuts off what is in flight and closes all connections. */
  stop(): Promise<void>
}

export type SenderOptions = {
  allowed: Networks
  /** A proxy for everything that goes out. It resolves names anew, and has to guard as well. */
  proxyUrl?: string | undefined
  resolve?: Resolve
  timeoutMs?: number
}

export class StoppedError extends Error {
  override name = 'StoppedError'
}

class ForbiddenAddressError extends Error {
  override name = 'ForbiddenAddressError'
}

/** 15 s for the whole attempt: what takes longer is work that belongs behind the answer. */
const longestAttemptMs = 15_000
const connectTimeoutMs = 5_000
/** What is read of an answer before the connection is cut. */
const longestAnswerBytes = 64 * 1_024
/** What is kept of it. */
const keptAnswerBytes = 16 * 1_024
const longestHeaderBytes = 16 * 1_024

export function createSender(options: SenderOptions): Sender {
  const { allowed, proxyUrl, resolve = createResolve(), timeoutMs = longestAttemptMs } = options
  const inFlight = new Set<AbortController>()
  let stopped = false

  /** Every address of a name has to be allowed: which of them is used is not ours to say. */
  const guardedLookup: LookupFunction = (name, { all }, callback) => {
    resolve(name, { all: true }, (error, addresses) => {
      const [first] = addresses ?? []
      if (error !== null || first === undefined) {
        callback(error ?? Object.assign(new Error('no address'), { code: 'ENOTFOUND' }), [])
      } else if (!addresses.every(({ address }) => mayConnectTo(address, allowed))) {
        callback(
          new ForbiddenAddressError(`${name} resolves to an address that is not allowed`),
          [],
        )
      } else if (all === true) {
        callback(null, addresses)
      } else {
        callback(null, first.address, first.family)
      }
    })
  }

  const dispatcher = createDispatcher(guardedLookup, proxyUrl)

  /** A proxy resolves the name by itself: it is judged here at least once. */
  function requireResolvable(url: URL): Promise<void> {
    if (proxyUrl === undefined) return Promise.resolve()
    return new Promise((done, fail) => {
      const name = url.hostname.replaceAll(/[[\]]/g, '')
      guardedLookup(name, { all: true }, (error) => (error ? fail(error) : done()))
    })
  }

  async function post(
    { url: text, headers, body }: Parameters<Sender['send']>[0],
    signal: AbortSignal,
  ): Promise<Pick<SendResult, 'statusCode' | 'error' | 'answer' | 'retryAfterMs'>> {
    const judged = judgeUrl(text, allowed)
    if (judged.result === 'refused') return failed('url_not_allowed')
    await requireResolvable(judged.url)
    const response = await request(judged.url, {
      dispatcher,
      method: 'POST',
      headers,
      body,
      signal,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    })
    const { statusCode } = response
    const retryAfterMs = readRetryAfter(response.headers['retry-after'])
    const { text: answer, isWhole } = await readAnswer(response)
    const error = isWhole ? errorOfStatus(statusCode) : 'answer_too_large'
    return { statusCode, error, answer, retryAfterMs }
  }

  async function send(message: Parameters<Sender['send']>[0]): Promise<SendResult> {
    if (stopped) throw new StoppedError('the sender is stopped')
    const startedAt = new Date()
    const begin = performance.now()
    const controller = new AbortController()
    inFlight.add(controller)
    const deadline = setTimeout(() => controller.abort(), timeoutMs)
    try {
      const { signal } = controller
      const result = await Promise.race([post(message, signal), untilAborted(signal)])
      return { ...result, startedAt, durationMs: Math.round(performance.now() - begin) }
    } catch (error) {
      if (stopped) throw new StoppedError('the sender is stopped', { cause: error })
      const durationMs = Math.round(performance.now() - begin)
      return { ...failed(sendErrorOf(error)), startedAt, durationMs }
    } finally {
      clearTimeout(deadline)
      inFlight.delete(controller)
    }
  }

  return {
    send,
    stop: async () => {
      stopped = true
      for (const controller of inFlight) controller.abort()
      await dispatcher.destroy()
    },
  }
}

/** Rejects as soon as the signal is given, which undici notices only when it has a connection. */
function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, fail) => {
    signal.addEventListener('abort', () => fail(signal.reason), { once: true })
  })
}

function createDispatcher(lookup: LookupFunction, proxyUrl: string | undefined): Dispatcher {
  const limits = {
    // No limit per place: two tenants' endpoints may share one, and each has its own 20 in flight.
    maxHeaderSize: longestHeaderBytes,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 30_000,
  }
  if (proxyUrl !== undefined) return new ProxyAgent({ uri: proxyUrl, ...limits })
  return new Agent({ ...limits, connect: { lookup, timeout: connectTimeoutMs } })
}

/** Reads the beginning of an answer; whatever is longer is cut off with its connection. */
async function readAnswer({
  body,
}: Dispatcher.ResponseData): Promise<{ text: string; isWhole: boolean }> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > longestAnswerBytes) break
  }
  const text = beginningOf(readable(Buffer.concat(chunks)))
  return { text, isWhole: length <= longestAnswerBytes }
}

function beginningOf(text: string): string {
  const kept = Buffer.from(text).subarray(0, keptAnswerBytes)
  // As a stream, so that half a character at the end is left out.
  return new TextDecoder().decode(kept, { stream: true })
}

/**
 * A text that can be stored and shown, without what looks like a credential of ours. A credential
 * goes on up to a space or a quote: in JSON, in URLs and in HTML some of its characters are escaped.
 */
function readable(bytes: Buffer): string {
  return new TextDecoder()
    .decode(bytes)
    .replaceAll(/[^\P{Cc}\t\n\r]/gu, '\u{fffd}')
    .replaceAll(/(whsec_|whsk_|po_(?:test|live)_|Bearer )[^\s"'<>,]+/gi, '$1[redacted]')
}

function errorOfStatus(statusCode: number): SendError | null {
  if (statusCode >= 200 && statusCode < 300) return null
  return statusCode >= 300 && statusCode < 400 ? 'redirect' : 'status_not_2xx'
}

/** Seconds or a date (RFC 9110, 10.2.3). `Date.parse` alone would find a date in any words. */
function readRetryAfter(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string') return undefined
  const isDate = /^[A-Z][a-z]+, .* GMT$/.test(header)
  const dateMs = isDate ? Date.parse(header) - Date.now() : NaN
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : dateMs
  return ms > 0 ? ms : undefined
}

function failed(error: SendError) {
  return { statusCode: null, error, answer: null, retryAfterMs: undefined }
}

const errorByCode: Readonly<Record<string, SendError>> = {
  ENOTFOUND: 'name_not_resolved',
  EAI_AGAIN: 'name_not_resolved',
  EAI_FAIL: 'name_not_resolved',
  ETIMEDOUT: 'timeout',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  AbortError: 'timeout',
  HTTPParserError: 'answer_invalid',
  UND_ERR_HEADERS_OVERFLOW: 'answer_invalid',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'answer_invalid',
}

function sendErrorOf(error: unknown): SendError {
  const all = withCauses(error)
  if (all.some((one) => one instanceof ForbiddenAddressError)) return 'url_not_allowed'
  for (const one of all) {
    const code = 'code' in one && typeof one.code === 'string' ? one.code : one.name
    const known = errorByCode[code]
    if (known !== undefined) return known
    if (code.startsWith('HPE_')) return 'answer_invalid'
    if (/^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_)/.test(code))
      return 'certificate_invalid'
  }
  return 'connection_failed'
}

/** An error with what it stands for: a connection to several addresses fails as one error of all. */
function withCauses(error: unknown): Error[] {
  if (!(error instanceof Error)) return []
  const several = error instanceof AggregateError ? error.errors : []
  return [error, ...[error.cause, ...several].flatMap(withCauses)]
}
