import type { ApiKeyScope } from '@payonce/core/tenants/api-key'
import type { IdKind } from '@payonce/core/ids'
import type { ProblemCode } from '../problem.ts'
import type { AnswerName } from './answers.ts'
import type { AnswerHeader, RequestHeader } from './headers.ts'
import type { BodyName, QueryName } from './requests.ts'

/** One route as clients meet it: the description from which /openapi.json is made. */
export type Operation = {
  method: 'get' | 'post' | 'patch' | 'delete'
  /** As Hono writes it: `/v1/accounts/:id`. */
  path: string
  /** Its name in generated clients. */
  operationId: string
  tag: Tag
  summary: string
  description: string
  /** The scope that an API key needs, the operator's token, or nothing at all. */
  access: ApiKeyScope | 'operator' | 'public'
  /** What stands in the path behind a colon. */
  pathParameters?: Readonly<Record<string, PathParameter>>
  query?: QueryName
  /** Whether pairs of metadata may stand in the query. */
  filtersByMetadata?: true
  headers?: readonly RequestHeader[]
  idempotencyKey?: 'required' | 'optional'
  /** Of several schemas, a body fits exactly one. */
  body?: { schema: BodyName | readonly BodyName[]; mayBeEmpty?: true }
  /** Of several with one status, the request decides which it is. */
  answers: readonly Answer[]
  /** The problems of its own, besides those that follow from the rest: see `problemsOf`. */
  problems: readonly ProblemCode[]
}

export type Answer = {
  status: 200 | 201 | 202 | 204 | 304 | 404 | 503
  description: string
  /** Nothing where the answer has no body. */
  content?: JsonContent | OtherContent
  /** Those that it always has, besides `request-id`. */
  headers?: readonly AnswerHeader[]
  /** Those that it has at times. */
  optionalHeaders?: readonly AnswerHeader[]
}

type JsonContent = { schema: AnswerName; example?: unknown }
type OtherContent = { mediaType: string; example?: string }

export type PathParameter = { description: string; id?: IdKind; example: string }

export const tags = {
  Transfers: 'Money on its way: accepted at once, settled by a worker, never twice.',
  Batches: 'Many transfers in one request: each by itself, or all or none.',
  Accounts: 'Places for money in one currency, with every entry that has ever touched them.',
  Events: 'What happened, in one order for ever: nothing in it is skipped or comes twice.',
  Webhooks: 'Where events are sent, what was sent, and what came of it.',
  'Idempotency keys': 'Keys made by the server, and what became of any key.',
  Ledger: 'Proof that no money appears or vanishes.',
  Service: 'Whether this server lives, is ready, and what it has measured.',
  Documentation: 'This document, and pages for people.',
} as const

export type Tag = keyof typeof tags

const bodyProblems: readonly ProblemCode[] = [
  'body_too_large',
  'duplicate_member',
  'incomplete_body',
  'invalid_amount',
  'invalid_body',
  'invalid_field',
  'invalid_json',
  'unknown_field',
  'unsupported_media_type',
]

const keyProblems: readonly ProblemCode[] = [
  'idempotency_key_expired',
  'idempotency_key_invalid',
  'idempotency_key_purpose',
  'idempotency_key_reused',
  'idempotency_key_unknown',
]

/** What a request may be answered with that reaches no operation. */
export const problemsBeforeOperations: readonly ProblemCode[] = [
  'headers_too_large',
  'malformed_request',
  'method_not_allowed',
  'request_timeout',
]

/** Every code that an operation may answer with, in alphabetical order. */
export function problemsOf(operation: Operation): ProblemCode[] {
  const { access, path, body, idempotencyKey } = operation
  const codes = new Set<ProblemCode>(['internal_error', ...operation.problems])
  const addIf = (applies: boolean, more: readonly ProblemCode[]) => {
    if (applies) for (const code of more) codes.add(code)
  }
  addIf(path.startsWith('/v1/'), ['insufficient_scope', 'invalid_parameter'])
  addIf(access !== 'public', ['unauthorized', 'service_unavailable'])
  addIf(body !== undefined, bodyProblems)
  addIf(idempotencyKey !== undefined, keyProblems)
  addIf(idempotencyKey !== undefined, ['idempotency_in_flight'])
  addIf(idempotencyKey === 'required', ['idempotency_key_missing'])
  return [...codes].toSorted()
}
