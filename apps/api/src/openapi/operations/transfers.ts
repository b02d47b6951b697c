import { canceledTransfer, queuedChild, queuedTransfer } from '../examples.ts'
import type { Answer, Operation } from '../operation.ts'
import type { ProblemCode } from '../../problem.ts'

const transferId = {
  id: {
    description: 'The id of the transfer.',
    id: 'transfer',
    example: 'tr_0190f0e0d80070008000000000000001',
  },
} as const

/** What every request for a transfer of its own is answered with. */
function acceptance(example: unknown): Answer[] {
  return [
    {
      status: 200,
      description: 'The settled transfer, where `Prefer: wait=N` was sent and it settled in time.',
      content: { schema: 'Transfer' },
      headers: ['location', 'preference-applied'],
      optionalHeaders: ['idempotent-replayed'],
    },
    {
      status: 200,
      description: 'With `dry_run=true`, what the request would do now. Nothing is stored.',
      content: { schema: 'DryRun' },
    },
    {
      status: 202,
      description: 'The accepted transfer. Every replay has the same body, byte for byte.',
      content: { schema: 'Transfer', example },
      headers: ['location', 'retry-after'],
      optionalHeaders: ['idempotent-replayed', 'payonce-status', 'preference-applied'],
    },
  ]
}

/** A request that builds on another transfer. */
function child(
  kind: 'capture' | 'release' | 'refund',
  operation: Pick<Operation, 'operationId' | 'summary' | 'description' | 'body'>,
  problems: readonly ProblemCode[],
): Operation {
  return {
    method: 'post',
    path: `/v1/transfers/:id/${kind}`,
    tag: 'Transfers',
    access: 'write',
    pathParameters: transferId,
    idempotencyKey: 'required',
    query: 'acceptance',
    headers: ['prefer'],
    ...operation,
    answers: acceptance(queuedChild(kind)),
    problems: ['backlog_full', 'not_found', 'overloaded', ...problems],
  }
}

export const transferOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/transfers',
    operationId: 'createTransfer',
    tag: 'Transfers',
    summary: 'Send a transfer',
    description:
      'Accepts a transfer durably and answers at once with `202`; a worker settles it, most often within milliseconds. Read it at `Location`, or send `Prefer: wait=N` to get the settled transfer in the answer. A refusal by the ledger (insufficient funds, a frozen account) is no error: the transfer then ends as `failed`, with the code in `failure`. With `hold`, the amount is reserved and not moved; with `legs`, several movements are carried out together; with `execute_at`, it waits for its time.',
    access: 'write',
    idempotencyKey: 'required',
    query: 'acceptance',
    headers: ['prefer'],
    body: { schema: ['NewTransfer', 'NewMultiLegTransfer'] },
    answers: acceptance(queuedTransfer),
    problems: [
      'account_not_found',
      'backlog_full',
      'callback_secret_missing',
      'currency_mismatch',
      'invalid_currency',
      'invalid_id',
      'invalid_text',
      'overloaded',
      'same_account',
      'url_not_allowed',
    ],
  },
  {
    method: 'get',
    path: '/v1/transfers',
    operationId: 'listTransfers',
    tag: 'Transfers',
    summary: 'List transfers',
    description:
      'The transfers of the tenant, newest first. One that was just accepted is in the list already.',
    access: 'read',
    query: 'transfers',
    filtersByMetadata: true,
    answers: [{ status: 200, description: 'One page.', content: { schema: 'TransferList' } }],
    problems: ['invalid_cursor'],
  },
  {
    method: 'get',
    path: '/v1/transfers/:id',
    operationId: 'getTransfer',
    tag: 'Transfers',
    summary: 'Read a transfer',
    description:
      'The transfer as it is now. `Prefer: wait=N` holds the answer until it is settled, for at most N seconds.',
    access: 'read',
    pathParameters: transferId,
    headers: ['prefer', 'if-none-match'],
    answers: [
      {
        status: 200,
        description: 'The transfer. `Retry-After` is there as long as it is not settled.',
        content: { schema: 'Transfer' },
        headers: ['etag'],
        optionalHeaders: ['retry-after', 'preference-applied'],
      },
      {
        status: 304,
        description: 'It is still as the `ETag` in `If-None-Match` says.',
        headers: ['etag'],
        optionalHeaders: ['retry-after', 'preference-applied'],
      },
    ],
    problems: ['not_found'],
  },
  {
    method: 'post',
    path: '/v1/transfers/:id/cancel',
    operationId: 'cancelTransfer',
    tag: 'Transfers',
    summary: 'Cancel a transfer',
    description:
      'Cancels a transfer that is scheduled or queued. A hold that is held is released instead, and a transfer of an atomic batch stands or falls with it. Cancel and settlement exclude each other. Safe to repeat: a canceled transfer is answered with `200` again. It needs no idempotency key, and refuses one that was used for another request.',
    access: 'write',
    pathParameters: transferId,
    body: { schema: 'Nothing', mayBeEmpty: true },
    answers: [
      {
        status: 200,
        description: 'The canceled transfer.',
        content: { schema: 'Transfer', example: canceledTransfer },
      },
    ],
    problems: [
      'hold_already_held',
      'idempotency_key_invalid',
      'idempotency_key_reused',
      'not_found',
      'part_of_atomic_batch',
      'transfer_already_settled',
    ],
  },
  child(
    'capture',
    {
      operationId: 'captureHold',
      summary: 'Capture a hold',
      description:
        'Moves what a hold has reserved, or a part of it: a transfer of its own, with the hold as its `parent`. A hold may be captured several times, until nothing is left, or until `"final": true` gives back the rest.',
      body: { schema: 'CaptureRequest', mayBeEmpty: true },
    },
    ['not_capturable'],
  ),
  child(
    'release',
    {
      operationId: 'releaseHold',
      summary: 'Release a hold',
      description:
        'Gives back what a hold still reserves: a transfer of its own, with the hold as its `parent`. It works on frozen accounts too.',
      body: { schema: 'ReleaseRequest', mayBeEmpty: true },
    },
    ['not_releasable'],
  ),
  child(
    'refund',
    {
      operationId: 'refundTransfer',
      summary: 'Refund a transfer or capture',
      description:
        'Sends back what a transfer or capture has moved, or a part of it: a transfer of its own, with that one as its `parent`, whose `refunded_amount` rises. Several legs are refunded as a whole, in reverse.',
      body: { schema: 'RefundRequest', mayBeEmpty: true },
    },
    ['not_refundable', 'partial_refund'],
  ),
  {
    method: 'get',
    path: '/v1/transfers/:id/stream',
    operationId: 'streamTransfer',
    tag: 'Transfers',
    summary: 'Watch a transfer',
    description:
      'Server-sent events: the transfer now, and at every change of its status, until one that is final; then the stream ends. A client that connects again with `Last-Event-ID` is told only what is new.',
    access: 'read',
    pathParameters: transferId,
    headers: ['last-event-id'],
    answers: [
      {
        status: 200,
        description: 'The stream. Each event is a transfer, its id is the status.',
        content: {
          mediaType: 'text/event-stream',
          example: 'event: transfer\ndata: {"id":"tr_…","status":"succeeded",…}\nid: succeeded\n\n',
        },
      },
      { status: 204, description: 'You were told of its final status before: do not come back.' },
    ],
    problems: ['not_found'],
  },
  {
    method: 'get',
    path: '/v1/transfers/:id/timeline',
    operationId: 'getTimeline',
    tag: 'Transfers',
    summary: 'Read what happened to a transfer',
    description:
      'Its acceptance, every attempt that did not settle it, when it is tried again, its settlement, the captures, releases and refunds that build on it, and its events with their deliveries.',
    access: 'read',
    pathParameters: transferId,
    answers: [{ status: 200, description: 'The timeline.', content: { schema: 'Timeline' } }],
    problems: ['not_found'],
  },
]
