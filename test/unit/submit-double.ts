import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A stand-in for Payonce that keeps its wire contract as far as a submission can see it: keys,
 * replays, settlement some time after acceptance, held-back answers. `fault` decides, per request,
 * whether it behaves; what it does wrong, it does as a real outage would.
 */
export async function startDouble(options: DoubleOptions = {}): Promise<Double> {
  const double = createState(options)
  const server = createServer((request, response) => {
    double.open += 1
    double.mostOpen = Math.max(double.mostOpen, double.open)
    response.on('close', () => (double.open -= 1))
    void answer(double, request, response)
  })
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return Object.assign(double, {
    port,
    url: `http://127.0.0.1:${port}`,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  })
}

export type DoubleOptions = {
  port?: number
  /** How long the transfer of this key stays queued; Infinity keeps it so for ever. */
  settleAfterMs?: (key: string) => number
  /** How long each answer takes. */
  answerAfterMs?: number
  /** Carried over from a double that was stopped: the same database under a new server. */
  from?: Pick<Double, 'accounts' | 'transfers'>
  fault?: (request: Seen) => Fault | undefined
  /** The ledger's answer to a transfer; undefined is success. */
  refuse?: (transfer: StoredTransfer) => string | undefined
}

export type Seen = {
  method: string
  path: string
  key: string
  /** How many requests of this method, path and key there were before. */
  before: number
  /** How many requests there were before, of any kind. */
  total: number
}

export type Fault =
  | 'cut before it is carried out'
  | 'cut after it is carried out'
  | 'never answer'
  | { status: number; code: string; retryAfter?: string; retryable?: boolean }
  | { status: number; html: string }

export type StoredAccount = { key: string; id: string; body: Body; text: string }

export type StoredTransfer = {
  key: string
  id: string
  body: Body
  text: string
  settlesAt: number
}

export type Double = Awaited<ReturnType<typeof createState>> & {
  url: string
  port: number
  stop(): Promise<void>
}

type Body = Record<string, unknown>

function createState(options: DoubleOptions) {
  const accounts: Map<string, StoredAccount> = options.from?.accounts ?? new Map()
  const transfers: Map<string, StoredTransfer> = options.from?.transfers ?? new Map()
  return {
    options,
    accounts,
    transfers,
    requests: [] as Seen[],
    times: new Map<string, number>(),
    open: 0,
    mostOpen: 0,
    /** The sum of all that has been moved. */
    moved(): number {
      const settled = [...transfers.values()].filter((one) => statusOf(this, one) === 'succeeded')
      return settled.reduce((total, { body }) => total + Number(body['amount']), 0)
    },
    count(method: string, path: string): number {
      return this.requests.filter((seen) => seen.method === method && seen.path.startsWith(path))
        .length
    },
  }
}

type State = ReturnType<typeof createState>

async function answer(state: State, request: IncomingMessage, response: ServerResponse) {
  const url = new URL(request.url ?? '/', 'http://double')
  const key = request.headers['idempotency-key']
  const seen = note(state, request.method ?? '', url.pathname, typeof key === 'string' ? key : '')
  const text = await readText(request)
  if (state.options.answerAfterMs !== undefined) await sleep(state.options.answerAfterMs)
  const fault = state.options.fault?.(seen)
  if (fault === 'never answer') return
  if (fault === 'cut before it is carried out') {
    request.socket.destroy()
    return
  }
  if (typeof fault === 'object') {
    if ('html' in fault) send(response, fault.status, fault.html, { 'content-type': 'text/html' })
    else problem(response, fault)
    return
  }
  const reply = await route(state, seen, { url, text, prefer: String(request.headers['prefer']) })
  if (fault === 'cut after it is carried out') request.socket.destroy()
  else if ('code' in reply) problem(response, reply)
  else send(response, reply.status, reply.text, reply.headers)
}

function note(state: State, method: string, path: string, key: string): Seen {
  const name = `${method} ${path} ${key}`
  const before = state.times.get(name) ?? 0
  state.times.set(name, before + 1)
  const seen = { method, path, key, before, total: state.requests.length }
  state.requests.push(seen)
  return seen
}

type Reply =
  | { status: number; text: string; headers: Record<string, string> }
  | { status: number; code: string }

async function route(
  state: State,
  { method, path, key }: Seen,
  { url, text, prefer }: { url: URL; text: string; prefer: string },
): Promise<Reply> {
  if (method === 'POST' && path === '/v1/accounts') return openAccount(state, key, text)
  if (method === 'POST' && path === '/v1/transfers') return acceptTransfer(state, key, text)
  if (method === 'GET' && path === '/v1/accounts') {
    const reference = url.searchParams.get('reference')
    const found = [...state.accounts.values()].filter(({ body }) => body['reference'] === reference)
    const data = found.map(({ text: account }) => JSON.parse(account) as unknown)
    return ok(200, JSON.stringify({ object: 'list', data, has_more: false, next_cursor: null }))
  }
  if (method === 'GET' && path === '/v1/transfers') return listTransfers(state, url.searchParams)
  const id = /^\/v1\/transfers\/(tr_[0-9a-z]+)$/.exec(path)?.[1]
  const transfer = [...state.transfers.values()].find((one) => one.id === id)
  if (transfer === undefined) return { status: 404, code: 'not_found' }
  await settledWithin(transfer, 1000 * Number(/wait=([0-9]+)/.exec(prefer)?.[1] ?? 0))
  return ok(200, JSON.stringify(view(state, transfer)))
}

function openAccount(state: State, key: string, text: string): Reply {
  const known = state.accounts.get(key)
  if (known !== undefined) {
    if (text !== JSON.stringify(known.body)) return { status: 422, code: 'idempotency_key_reused' }
    return ok(201, known.text, { 'idempotent-replayed': 'true' })
  }
  const body = JSON.parse(text) as Body
  const taken = [...state.accounts.values()].some(
    (one) => one.body['reference'] === body['reference'],
  )
  if (taken) return { status: 409, code: 'reference_taken' }
  const id = `acc_${state.accounts.size + 1}`
  const account = JSON.stringify({ id, object: 'account', ...body, created_at: nowText() })
  state.accounts.set(key, { key, id, body, text: account })
  return ok(201, account)
}

function acceptTransfer(state: State, key: string, text: string): Reply {
  const known = state.transfers.get(key)
  if (known !== undefined) {
    if (text !== JSON.stringify(known.body)) return { status: 422, code: 'idempotency_key_reused' }
    const marks = { 'idempotent-replayed': 'true', 'payonce-status': statusOf(state, known) }
    return ok(202, known.text, marks)
  }
  const body = JSON.parse(text) as Body
  const id = `tr_${state.transfers.size + 1}`
  const common = { id, object: 'transfer', status: 'queued', failure: null, created_at: nowText() }
  const accepted = JSON.stringify({ ...common, ...body })
  const settlesAt = performance.now() + (state.options.settleAfterMs?.(key) ?? 5)
  state.transfers.set(key, { key, id, body, text: accepted, settlesAt })
  return ok(202, accepted)
}

function listTransfers(state: State, query: URLSearchParams): Reply {
  const [after, before] = [query.get('created_after') ?? '', query.get('created_before') ?? '9']
  const found = [...state.transfers.values()].toReversed().filter(({ text }) => {
    const { created_at: createdAt } = JSON.parse(text) as { created_at: string }
    return createdAt > after && createdAt < before
  })
  const limit = Number(query.get('limit'))
  const data = found.slice(0, limit).map((transfer) => view(state, transfer))
  const page = { object: 'list', data, has_more: found.length > limit, next_cursor: null }
  return ok(200, JSON.stringify(page))
}

function statusOf(state: State, transfer: StoredTransfer): string {
  if (performance.now() < transfer.settlesAt) return 'queued'
  return state.options.refuse?.(transfer) === undefined ? 'succeeded' : 'failed'
}

function view(state: State, transfer: StoredTransfer): Body {
  const status = statusOf(state, transfer)
  const code = status === 'failed' ? state.options.refuse?.(transfer) : undefined
  const failure = code === undefined ? null : { code, message: 'The ledger said no.' }
  return { ...(JSON.parse(transfer.text) as Body), status, failure }
}

async function settledWithin(transfer: StoredTransfer, waitMs: number): Promise<void> {
  await sleep(Math.max(0, Math.min(waitMs, transfer.settlesAt - performance.now() + 2)))
}

function ok(status: number, text: string, headers: Record<string, string> = {}): Reply {
  return { status, text, headers: { 'content-type': 'application/json', ...headers } }
}

function problem(
  response: ServerResponse,
  fault: { status: number; code: string; retryAfter?: string; retryable?: boolean },
): void {
  const body = {
    type: `https://double/problems/${fault.code}`,
    title: fault.code,
    status: fault.status,
    detail: `The double says ${fault.code}.`,
    code: fault.code,
    request_id: 'req_1',
    retryable: fault.retryable ?? false,
  }
  send(response, fault.status, JSON.stringify(body), {
    'content-type': 'application/problem+json',
    ...(fault.retryAfter === undefined ? {} : { 'retry-after': fault.retryAfter }),
  })
}

function send(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string>,
): void {
  response.writeHead(status, headers)
  response.end(text)
}

async function readText(request: IncomingMessage): Promise<string> {
  let text = ''
  request.setEncoding('utf8')
  for await (const chunk of request) text += chunk as string
  return text
}

function nowText(): string {
  return new Date().toISOString()
}
