import type { Operation } from '../operation.ts'

const batchId = {
  id: {
    description: 'The id of the batch.',
    id: 'batch',
    example: 'tb_0190f0e0d80070008000000000000b01',
  },
} as const

export const transferBatchOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/transfer-batches',
    operationId: 'createTransferBatch',
    tag: 'Batches',
    summary: 'Send many transfers',
    description:
      'Accepts 1 to 10000 transfers durably, all or none, and answers at once with `202` and their ids. Each is then settled by itself; with `"atomic": true` they are carried out in one transaction, all or none. Each has a key: its own, or the key of the batch, a comma and its index. The body may have 8 MB.',
    access: 'write',
    idempotencyKey: 'required',
    query: 'acceptance',
    body: { schema: 'NewBatch' },
    answers: [
      {
        status: 200,
        description: 'With `dry_run=true`, what the batch would do now. Nothing is stored.',
        content: { schema: 'DryRun' },
      },
      {
        status: 202,
        description: 'The accepted batch. Every replay has the same body, byte for byte.',
        content: { schema: 'AcceptedBatch' },
        headers: ['location', 'retry-after'],
        optionalHeaders: ['idempotent-replayed'],
      },
    ],
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
    path: '/v1/transfer-batches/:id',
    operationId: 'getTransferBatch',
    tag: 'Batches',
    summary: 'Read a batch',
    description: 'The batch as it is now: how many transfers have which status, and each of them.',
    access: 'read',
    pathParameters: batchId,
    answers: [
      {
        status: 200,
        description: 'The batch. `Retry-After` is there as long as it is not settled.',
        content: { schema: 'Batch' },
        optionalHeaders: ['retry-after'],
      },
    ],
    problems: ['not_found'],
  },
]
