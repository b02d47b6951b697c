import type { ContentfulStatusCode } from 'hono/utils/http-status'

export type ProblemKind = {
  status: ContentfulStatusCode
  title: string
  /** Whether the same request may succeed when it is sent again. */
  retryable?: true
}

/**
 * Every error that the API answers with. A new code does not compile until someone has decided its
 * status here. Codes are part of the wire and never change their meaning.
 */
export const problems = {
  account_closed: { status: 409, title: 'The account is closed' },
  account_not_empty: { status: 409, title: 'The account still has a balance or holds' },
  account_not_found: { status: 422, title: 'No such account' },
  backlog_full: { status: 503, title: 'Too much is waiting to be settled', retryable: true },
  body_too_large: { status: 413, title: 'The body is too large' },
  callback_secret_missing: { status: 422, title: 'No secret to sign callbacks with' },
  currency_mismatch: { status: 422, title: 'The currencies differ' },
  duplicate_member: { status: 400, title: 'A member stands twice in the JSON' },
  endpoint_deleted: { status: 409, title: 'The endpoint is deleted' },
  headers_too_large: { status: 431, title: 'The headers are too large or too many' },
  hold_already_held: { status: 409, title: 'The hold is held: release it instead' },
  idempotency_in_flight: {
    status: 409,
    title: 'A request with this key is still being accepted',
    retryable: true,
  },
  idempotency_key_expired: { status: 422, title: 'The idempotency key was not used in time' },
  idempotency_key_invalid: { status: 400, title: 'The idempotency key cannot be used' },
  idempotency_key_missing: { status: 400, title: 'An idempotency key is required' },
  idempotency_key_purpose: { status: 422, title: 'The idempotency key is for another purpose' },
  idempotency_key_reused: { status: 422, title: 'The idempotency key belongs to another request' },
  idempotency_key_unknown: { status: 422, title: 'The idempotency key was not issued here' },
  incomplete_body: {
    status: 400,
    title: 'The connection ended before the body did',
    retryable: true,
  },
  insufficient_scope: { status: 403, title: 'The API key may not do this' },
  internal_error: { status: 500, title: 'Something is wrong on our side', retryable: true },
  invalid_amount: { status: 400, title: 'The amount cannot be used' },
  invalid_body: { status: 400, title: 'The body cannot be used' },
  invalid_currency: { status: 400, title: 'The currency is unknown' },
  invalid_cursor: { status: 400, title: 'The cursor cannot be used' },
  invalid_field: { status: 400, title: 'A member cannot be used' },
  invalid_id: { status: 400, title: 'An id is malformed' },
  invalid_json: { status: 400, title: 'The body is not valid JSON' },
  invalid_parameter: { status: 400, title: 'A query parameter or header cannot be used' },
  invalid_text: { status: 400, title: 'A text has characters that are not allowed' },
  malformed_request: { status: 400, title: 'The request is not valid HTTP' },
  method_not_allowed: { status: 405, title: 'This method is not served here' },
  not_capturable: { status: 422, title: 'Only a hold can be captured' },
  not_found: { status: 404, title: 'Nothing is found here' },
  not_refundable: { status: 422, title: 'Only a transfer or a capture can be refunded' },
  not_releasable: { status: 422, title: 'Only a hold can be released' },
  overdraft_in_use: { status: 409, title: 'The overdraft in use is above the new limit' },
  overloaded: { status: 503, title: 'Too much is in progress', retryable: true },
  part_of_atomic_batch: { status: 409, title: 'The transfer is settled with its whole batch' },
  partial_refund: { status: 422, title: 'Several legs are refunded as a whole' },
  reference_taken: { status: 409, title: 'Another account has this reference' },
  request_timeout: { status: 408, title: 'The request took too long to arrive', retryable: true },
  same_account: { status: 422, title: 'Source and destination are the same account' },
  service_unavailable: { status: 503, title: 'The service is away for a moment', retryable: true },
  too_many_endpoints: { status: 409, title: 'No more endpoints are allowed' },
  transfer_already_settled: { status: 409, title: 'The transfer is settled already' },
  unauthorized: { status: 401, title: 'No valid API key' },
  unknown_field: { status: 400, title: 'A member is unknown' },
  unsupported_media_type: { status: 415, title: 'The body has to be JSON' },
  url_not_allowed: { status: 422, title: 'This URL cannot be sent to' },
} as const satisfies Record<string, ProblemKind>

export type ProblemCode = keyof typeof problems

export type ProblemOptions = {
  /** A JSON pointer (RFC 6901) to the member at fault. */
  param?: string | undefined
  /** Further members of the answer: nothing that was stored, but names and ids of the tenant. */
  members?: Readonly<Record<string, unknown>>
  headers?: Record<string, string>
  cause?: unknown
}

/** Ends a request with an answer that says what is wrong, where, and what to do. */
export class Problem extends Error {
  override name = 'Problem'
  readonly code: ProblemCode
  readonly param: string | undefined
  readonly headers: Record<string, string>
  readonly members: Readonly<Record<string, unknown>>

  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail, { cause: options.cause })
    this.code = code
    this.param = options.param
    this.headers = options.headers ?? {}
    this.members = options.members ?? {}
  }

  get status(): ContentfulStatusCode {
    return problems[this.code].status
  }
}

/** The body of a problem: RFC 9457 with our members. `publicUrl` is where its page is served. */
export function renderProblem(problem: Problem, requestId: string, publicUrl: string): string {
  const kind: ProblemKind = problems[problem.code]
  return JSON.stringify({
    type: `${publicUrl}/problems/${problem.code}`,
    title: kind.title,
    status: kind.status,
    detail: problem.message,
    code: problem.code,
    ...(problem.param === undefined ? {} : { param: problem.param }),
    request_id: requestId,
    retryable: kind.retryable === true,
    ...problem.members,
  })
}
