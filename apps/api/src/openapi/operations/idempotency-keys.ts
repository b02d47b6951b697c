import type { Operation } from '../operation.ts'

export const idempotencyKeyOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/idempotency-keys',
    operationId: 'createIdempotencyKey',
    tag: 'Idempotency keys',
    summary: 'Ask for an idempotency key',
    description:
      'Makes a key that nobody has, bound to a purpose if you name one. Use it within 24 hours; once used, it never expires. A key of your own making does as well.',
    access: 'write',
    body: { schema: 'NewIdempotencyKey', mayBeEmpty: true },
    answers: [
      {
        status: 201,
        description: 'The key.',
        content: {
          schema: 'IdempotencyKey',
          example: {
            object: 'idempotency_key',
            key: 'key_0190f0e000007000800000000000b001',
            purpose: 'POST /v1/transfers',
            state: 'issued',
            first_seen_at: '2026-01-31T12:00:00.000Z',
            expires_at: '2026-02-01T12:00:00.000Z',
            replays: 0,
            resource: null,
          },
        },
      },
    ],
    problems: [],
  },
  {
    method: 'get',
    path: '/v1/idempotency-keys',
    operationId: 'getIdempotencyKey',
    tag: 'Idempotency keys',
    summary: 'Ask what became of a key',
    description:
      'Tells whether a key was issued or used, what it made, and how often it was answered again. A key of another tenant is unknown here.',
    access: 'read',
    query: 'key',
    answers: [
      { status: 200, description: 'What is known.', content: { schema: 'IdempotencyKey' } },
    ],
    problems: ['idempotency_key_invalid', 'not_found'],
  },
]
