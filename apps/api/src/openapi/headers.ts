import { idPattern } from '../schemas.ts'
import { idempotencyLimits, idempotencySummary } from '../docs/idempotency.ts'
import { keyExample } from './examples.ts'

type HeaderText = { description: string; schema: Record<string, unknown>; example: string }

/** The headers of answers that mean something here. */
export const answerHeaders = {
  etag: {
    description:
      'Names these very bytes: send it as `If-None-Match` to be told whether they changed.',
    schema: { type: 'string' },
    example: '"0sBmzJzcPRUYbfxEAPdbRP2IkqV"',
  },
  'idempotent-replayed': {
    description: '`true` where this request was answered before and is answered again.',
    schema: { type: 'string', const: 'true' },
    example: 'true',
  },
  link: {
    description: 'Where the documentation of this problem is, or the next page of this CSV.',
    schema: { type: 'string' },
    example: '<https://payonce.example/problems/idempotency_key_missing>; rel="describedby"',
  },
  location: {
    description: 'The path of what was made.',
    schema: { type: 'string' },
    example: '/v1/transfers/tr_0190f0e0d80070008000000000000001',
  },
  'payonce-status': {
    description:
      'On a replay: the present status of the transfer, while the body is the first answer.',
    schema: { type: 'string' },
    example: 'succeeded',
  },
  'preference-applied': {
    description: 'The wait that was applied (RFC 7240).',
    schema: { type: 'string' },
    example: 'wait=10',
  },
  'request-id': {
    description: 'The id of this request, as it stands in the logs.',
    schema: { type: 'string', pattern: idPattern('request') },
    example: 'req_0190f0e000007000800000000000f001',
  },
  'retry-after': {
    description: 'After how many seconds to ask again.',
    schema: { type: 'string', pattern: '^[0-9]+$' },
    example: '1',
  },
  'www-authenticate': {
    description: 'How to authenticate.',
    schema: { type: 'string' },
    example: 'Bearer',
  },
} as const satisfies Readonly<Record<string, HeaderText>>

export type AnswerHeader = keyof typeof answerHeaders

/** The headers of requests that mean something here. */
export const requestHeaders = {
  'idempotency-key': {
    name: idempotencyLimits.header,
    description: `${idempotencySummary} See \`/docs/idempotency\`.`,
    schema: {
      type: 'string',
      minLength: idempotencyLimits.min_length,
      // Two more for the quotation marks of the quoted form.
      maxLength: idempotencyLimits.max_length + 2,
      pattern: idempotencyLimits.pattern,
    },
    example: keyExample,
  },
  'if-none-match': {
    name: 'If-None-Match',
    description: 'An `ETag` from before: where nothing has changed, the answer is `304`.',
    schema: { type: 'string' },
    example: answerHeaders.etag.example,
  },
  'last-event-id': {
    name: 'Last-Event-ID',
    description: 'The id of the last event of this stream that you have: a status.',
    schema: { type: 'string' },
    example: 'queued',
  },
  prefer: {
    name: 'Prefer',
    description:
      '`wait=N` holds the answer for up to N seconds (at most 30) until the transfer is settled (RFC 7240).',
    schema: { type: 'string' },
    example: 'wait=10',
  },
} as const satisfies Readonly<Record<string, HeaderText & { name: string }>>

export type RequestHeader = keyof typeof requestHeaders

/** Its alternative in the query, for those who cannot set headers. */
export const keyInQuery = {
  name: idempotencyLimits.query_parameter,
  description: `The key in place of the header \`${idempotencyLimits.header}\`, which is left out then.`,
  schema: {
    type: 'string',
    minLength: idempotencyLimits.min_length,
    maxLength: idempotencyLimits.max_length + 2,
    pattern: idempotencyLimits.pattern,
  },
} as const
