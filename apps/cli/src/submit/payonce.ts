import type { HttpAnswer, HttpClient, HttpRequest } from './http.ts'
import { accountKey } from './keys.ts'
import { isObject, readObject, readProblem } from './problem.ts'
import { sendUntilAnswered } from './retry.ts'
import { Stopped } from './stop.ts'

/**
 * The few calls of Payonce's API that a submission needs. Each is repeated until it has an
 * answer. A refusal is returned; a `Stopped` is thrown where going on makes no sense: a credential
 * that is not accepted, or a server that does not answer like Payonce.
 */
export function createPayonce({ http, apiKey, signal, onTrouble }: PayonceOptions): Payonce {
  const authorization = { authorization: `Bearer ${apiKey}` }
  const openedAt = performance.now()
  let startedAtMs: number | undefined

  async function call(request: Omit<HttpRequest, 'headers' | 'timeoutMs'>, more: CallOptions = {}) {
    const headers = { ...authorization, ...more.headers }
    const timeoutMs = ANSWER_WITHIN_MS + (more.waitS ?? 0) * 1000
    const result = await sendUntilAnswered(
      http,
      { ...request, headers, timeoutMs },
      { signal, onTrouble },
    )
    startedAtMs ??= serverTime(result.answer) - (performance.now() - openedAt)
    stopIfForeign(result.answer)
    return result
  }

  async function post(path: string, key: string, body: unknown) {
    const headers = { 'idempotency-key': key }
    return call({ method: 'POST', path, body: JSON.stringify(body) }, { headers })
  }

  async function findAccount(wanted: AccountRequest): Promise<Account | Refusal | undefined> {
    const path = `v1/accounts?reference=${encodeURIComponent(wanted.reference)}`
    const { answer } = await call({ method: 'GET', path })
    const list = answer.status === 200 ? readObject(answer.body)?.['data'] : undefined
    const found: unknown = Array.isArray(list) ? list[0] : undefined
    if (!isObject(found) || typeof found['id'] !== 'string') return undefined
    if (found['kind'] === wanted.kind && found['currency'] === wanted.currency) {
      return { id: found['id'] }
    }
    const detail = `account ${found['id']} has the reference ${wanted.reference} and is ${String(found['kind'])} in ${String(found['currency'])}, not ${wanted.kind} in ${wanted.currency}`
    return { refused: 'account_differs', detail }
  }

  return {
    async openAccount(wanted) {
      const { answer } = await post('v1/accounts', accountKey(wanted.reference), wanted)
      if (answer.status < 400) return { id: readMembers(answer, ['id']).id }
      const refusal = readRefusal(answer)
      // Somebody opened it before with another name, kind or key. If it fits, it is the account.
      const mayExist = answer.status === 409 || answer.status === 422
      return (mayExist ? await findAccount(wanted) : undefined) ?? refusal
    },

    async postTransfer(key, wanted) {
      const { answer, attempts } = await post('v1/transfers', key, wanted)
      if (answer.status >= 400) return readRefusal(answer)
      const replayed = answer.headers['idempotent-replayed'] === 'true'
      const transfer = readMembers(answer, ['id', 'status', 'created_at'])
      const acceptedAtMs = Date.parse(transfer.created_at)
      if (Number.isNaN(acceptedAtMs)) throw foreign(answer)
      return {
        id: transfer.id,
        // On a replay the body is as old as the first answer; the header tells what came of it.
        status: headerText(answer, 'payonce-status') ?? transfer.status,
        acceptedAtMs,
        replayed,
        // An earlier try of this very call may have been accepted and its answer lost. What an
        // earlier run had accepted is older than this run, by the server's own clock.
        acceptedNow: !replayed || (attempts > 1 && acceptedAtMs >= (startedAtMs ?? Infinity)),
      }
    },

    async readTransfer(id, { waitS }) {
      const headers = { prefer: `wait=${waitS}` }
      const path = `v1/transfers/${encodeURIComponent(id)}`
      const { answer } = await call({ method: 'GET', path }, { headers, waitS })
      if (answer.status !== 200) {
        const code = readProblem(answer)?.code ?? ''
        throw new Stopped(
          `GET ${path} answered ${answer.status} ${code} for a transfer that was accepted: check that --url always leads to the same Payonce.`,
        )
      }
      return readState(readObject(answer.body)) ?? fail(foreign(answer))
    },

    async listTransfers({ fromMs, toMs, limit }) {
      const query = new URLSearchParams({
        // Neither end is part of the range, and times are told to the millisecond.
        created_after: new Date(fromMs - 1).toISOString(),
        created_before: new Date(toMs + 1).toISOString(),
        limit: String(limit),
      })
      const { answer } = await call({ method: 'GET', path: `v1/transfers?${query.toString()}` })
      const list = readObject(answer.body)?.['data']
      if (answer.status !== 200 || !Array.isArray(list)) throw foreign(answer)
      return list.flatMap((item) => readState(item) ?? [])
    },
  }
}

export type PayonceOptions = {
  http: HttpClient
  apiKey: string
  /** Ends every call, with its reason. */
  signal: AbortSignal
  /** Told of each try that will be repeated. */
  onTrouble: (trouble: string) => void
}

export type Payonce = {
  /** The account with this reference: opened now, earlier, or found. */
  openAccount(wanted: AccountRequest): Promise<Account | Refusal>
  postTransfer(key: string, wanted: TransferRequest): Promise<PostedTransfer | Refusal>
  /** The transfer as it is; held back until it has settled, for at most `waitS` seconds (≤ 30). */
  readTransfer(id: string, options: { waitS: number }): Promise<TransferState>
  /** The newest of those accepted in this range of time, both ends included; at most `limit`. */
  listTransfers(range: { fromMs: number; toMs: number; limit: number }): Promise<TransferState[]>
}

export type AccountRequest = {
  currency: string
  kind: AccountKind
  name: string
  reference: string
}

export type AccountKind = 'internal' | 'external'

export type Account = { id: string; refused?: never }

export type TransferRequest = {
  source: string
  destination: string
  amount: number
  currency: string
  description?: string
  metadata: Record<string, string>
}

export type PostedTransfer = {
  id: string
  status: string
  /** By the server's clock. */
  acceptedAtMs: number
  /** The answer was marked as a replay. */
  replayed: boolean
  /** Accepted by this call, be it in a try whose answer was lost. */
  acceptedNow: boolean
  refused?: never
}

export type TransferState = {
  id: string
  status: string
  failureCode: string | undefined
  failureMessage: string
}

/** A final no to a request, before anything was accepted. */
export type Refusal = { refused: string; detail: string }

type CallOptions = { headers?: Record<string, string>; waitS?: number }

function readRefusal(answer: HttpAnswer): Refusal {
  const problem = readProblem(answer)
  if (problem === undefined) throw foreign(answer)
  const at = problem.param === undefined ? '' : ` (${problem.param})`
  return { refused: problem.code, detail: problem.detail + at }
}

function stopIfForeign(answer: HttpAnswer): void {
  if (answer.status === 401 || answer.status === 403) {
    const code = readProblem(answer)?.code ?? ''
    throw new Stopped(
      `The server answered ${answer.status} ${code}: the API key is not accepted. Give one that may create accounts and transfers here, by --key-file, --key or PAYONCE_API_KEY.`,
    )
  }
  const isAnswer = answer.status === 200 || answer.status === 201 || answer.status === 202
  const isRefusal = answer.status >= 400 && readProblem(answer) !== undefined
  if (!isAnswer && !isRefusal) throw foreign(answer)
}

function readState(transfer: unknown): TransferState | undefined {
  if (!isObject(transfer)) return undefined
  const { id, status, failure } = transfer
  if (typeof id !== 'string' || typeof status !== 'string') return undefined
  const { code, message } = isObject(failure) ? failure : {}
  return {
    id,
    status,
    failureCode: typeof code === 'string' ? code : undefined,
    failureMessage: typeof message === 'string' ? message : '',
  }
}

/** The body, of which these members are known to be texts. */
function readMembers<const Name extends string>(answer: HttpAnswer, texts: readonly Name[]) {
  const body = readObject(answer.body)
  if (!texts.every((name) => typeof body?.[name] === 'string')) throw foreign(answer)
  return body as Record<Name, string> & Record<string, unknown>
}

function fail(error: Error): never {
  throw error
}

function headerText(answer: HttpAnswer, name: string): string | undefined {
  const value = answer.headers[name]
  return typeof value === 'string' ? value : undefined
}

function foreign(answer: HttpAnswer): Stopped {
  return new Stopped(
    `The server answered ${answer.status}, but not as Payonce does: check --url (its host, port, and path).`,
  )
}

/** The server's clock, to the second; ours where a proxy took the header away. */
function serverTime(answer: HttpAnswer): number {
  const date = Date.parse(answer.headers.date ?? '')
  return Number.isNaN(date) ? Date.now() : date
}

// Payonce itself gives up on an acceptance after 2 s; this leaves room for a slow line.
const ANSWER_WITHIN_MS = 15_000
