import { randomUUID } from 'node:crypto'
import { requireDescribed } from './contract.ts'
import type { BatchOnWire, LegOnWire, ListOnWire, ProblemOnWire, TransferOnWire } from './wire.ts'

/** One answer, with the very bytes that came and their JSON. */
export type Answer<Body> = { status: number; headers: Headers; text: string; body: Body }

export type RequestOptions = {
  /** The Idempotency-Key header. */
  key?: string
  /** Seconds of `Prefer: wait`. */
  wait?: number
  headers?: Record<string, string>
  signal?: AbortSignal
}

export type TransferRequest = {
  source: string
  destination: string
  amount: number
  currency?: string
  hold?: boolean
  execute_at?: string
  if?: { source_balance_at_least?: number; source_version?: number }
} & CommonMembers

export type MultiLegRequest = { legs: LegOnWire[]; execute_at?: string } & CommonMembers

type CommonMembers = {
  callback_url?: string
  description?: string
  metadata?: Record<string, string>
  expires_at?: string
  on_insufficient_funds?: { retry_until: string }
}

/** An item of a batch. */
export type ItemRequest = (Omit<TransferRequest, 'execute_at'> | MultiLegRequest) & {
  idempotency_key?: string
}

export type BatchRequest = {
  transfers: ItemRequest[]
  callback_url?: string
  atomic?: boolean
  execute_at?: string
  expires_at?: string
}

/**
 * What a program of a tenant does with the API: real requests over a real socket. Every answer is
 * held against /openapi.json, so that no test passes on an answer that is not described there.
 */
export type Client = ReturnType<typeof createClient>

export function createClient(url: string, apiKey: string) {
  async function request<Body = ProblemOnWire>(
    method: string,
    path: string,
    body?: unknown,
    options: RequestOptions = {},
  ): Promise<Answer<Body>> {
    const { key, wait, headers, signal } = options
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(key === undefined ? {} : { 'idempotency-key': key }),
        ...(wait === undefined ? {} : { prefer: `wait=${wait}` }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    const answer = {
      status: response.status,
      headers: response.headers,
      text,
      body: (isJson && text !== '' ? JSON.parse(text) : undefined) as Body,
    }
    requireDescribed({ method, path, ...answer })
    return answer
  }

  const get = <Body = ProblemOnWire>(path: string, options?: RequestOptions) =>
    request<Body>('GET', path, undefined, options)
  const post = <Body = ProblemOnWire>(path: string, body?: unknown, options?: RequestOptions) =>
    request<Body>('POST', path, body, options)
  const patch = <Body = ProblemOnWire>(path: string, body: unknown) =>
    request<Body>('PATCH', path, body)

  /** POST /v1/transfers in EUR, under a new key unless one is given. */
  const send = (transfer: TransferRequest | MultiLegRequest, options: RequestOptions = {}) =>
    post<TransferOnWire>('/v1/transfers', inEuros(transfer), { key: newKey(), ...options })

  /** POST /v1/transfer-batches in EUR, under a new key unless one is given. */
  const sendBatch = (batch: BatchRequest, options: RequestOptions = {}) =>
    post<BatchOnWire>(
      '/v1/transfer-batches',
      { ...batch, transfers: batch.transfers.map(inEuros) },
      { key: newKey(), ...options },
    )

  /** What builds on a transfer, under a new key unless one is given. */
  const follow = (
    what: 'capture' | 'release' | 'refund',
    id: string,
    body?: { amount?: number; final?: boolean },
    options: RequestOptions = {},
  ) => post<TransferOnWire>(`/v1/transfers/${id}/${what}`, body, { key: newKey(), ...options })

  const cancel = (id: string) => post<TransferOnWire>(`/v1/transfers/${id}/cancel`)

  const read = async (id: string, options?: RequestOptions): Promise<TransferOnWire> =>
    (await get<TransferOnWire>(`/v1/transfers/${id}`, options)).body

  /** Every page of a list, one after the other, as a client reads it. */
  async function pages<T>(path: string, limit: number): Promise<ListOnWire<T>[]> {
    const all: ListOnWire<T>[] = []
    let cursor: string | null = null
    do {
      const query = new URLSearchParams({
        limit: String(limit),
        ...(cursor === null ? {} : { cursor }),
      })
      const answer: Answer<ListOnWire<T>> = await get<ListOnWire<T>>(
        `${path}${path.includes('?') ? '&' : '?'}${query.toString()}`,
      )
      if (answer.status !== 200) throw new Error(`a page was answered with ${answer.text}`)
      all.push(answer.body)
      cursor = answer.body.next_cursor
      if (all.length > 1_000) throw new Error('the list has no end')
    } while (cursor !== null)
    return all
  }

  /** All that a list holds, read in pages of `limit`. */
  const listAll = async <T>(path: string, limit: number): Promise<T[]> =>
    (await pages<T>(path, limit)).flatMap(({ data }) => data)

  return {
    url,
    apiKey,
    request,
    get,
    post,
    patch,
    send,
    sendBatch,
    follow,
    cancel,
    read,
    pages,
    listAll,
  }
}

/** The legs of one transfer may be in several currencies: they say theirs themselves. */
function inEuros<T extends object>(transfer: T): T {
  return 'legs' in transfer ? transfer : { currency: 'EUR', ...transfer }
}

/** A key that nobody has used. */
export function newKey(): string {
  return `key-${randomUUID()}`
}
