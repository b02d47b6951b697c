import { canceledTransfer, queuedTransfer } from '../examples.ts'
import type { Operation } from '../operation.ts'

const transferId = {
  id: {
    description: 'The id of the transfer.',
    id: 'transfer',
    example: 'tr_0190f0e0d80070008000000000000001',
  },
} as const

export const transferOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/transfers',
    operationId: 'createTransfer',
    tag: 'Transfers',
    summary: 'Send a transfer',
    description:
      'Accepts a transfer durably and answers at once with `202`; a worker settles it, most often within milliseconds. Read it at `Location`, or send `Prefer: wait=N` to get the settled transfer in the answer. A refusal by the ledger (insufficient funds, a frozen account) is no error: the transfer then ends as `failed`, with the code in `failure`.',
    access: 'write',
    idempotencyKey: 'required',
    headers: ['prefer'],
    body: { schema: 'NewTransfer' },
    answers: [
      {
        status: 200,
        description:
          'The settled transfer, where `Prefer: wait=N` was sent and it settled in time.',
        content: { schema: 'Transfer' },
        headers: ['location', 'preference-applied'],
        optionalHeaders: ['idempotent-replayed'],
      },
      {
        status: 202,
        description: 'The accepted transfer. Every replay has the same body, byte for byte.',
        content: { schema: 'Transfer', example: queuedTransfer },
        headers: ['location', 'retry-after'],
        optionalHeaders: ['idempotent-replayed', 'payonce-status', 'preference-applied'],
      },
    ],
    problems: [
      'account_not_found',
      'backlog_full',
      'currency_mismatch',
      'invalid_currency',
      'invalid_id',
      'invalid_text',
      'overloaded',
      'same_account',
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
      'Cancels a transfer that is not settled. Cancel and settlement exclude each other. Safe to repeat: a canceled transfer is answered with `200` again. It needs no idempotency key, and refuses one that was used for another request.',
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
      'idempotency_key_invalid',
      'idempotency_key_reused',
      'not_found',
      'transfer_already_settled',
    ],
  },
]
