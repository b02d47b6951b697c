import type { Operation } from '../operation.ts'

export const serviceOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/healthz',
    operationId: 'getHealth',
    tag: 'Service',
    summary: 'Ask whether the process lives',
    description: 'Answers as long as the process can answer at all.',
    access: 'public',
    answers: [{ status: 200, description: 'It lives.', content: { schema: 'Health' } }],
    problems: [],
  },
  {
    method: 'get',
    path: '/readyz',
    operationId: 'getReadiness',
    tag: 'Service',
    summary: 'Ask whether requests can be accepted',
    description:
      'Ready means that requests can be stored durably. An absent queue does not make the API unready: what is accepted meanwhile is settled when the queue is back.',
    access: 'public',
    answers: [
      { status: 200, description: 'It is ready.', content: { schema: 'Readiness' } },
      {
        status: 503,
        description: 'It is not ready, or about to stop.',
        content: {
          schema: 'Readiness',
          example: {
            status: 'not_ready',
            database: 'down',
            queue: 'up',
            queue_backend: 'redis',
          },
        },
      },
    ],
    problems: [],
  },
  {
    method: 'get',
    path: '/metrics',
    operationId: 'getMetrics',
    tag: 'Service',
    summary: 'Read what was measured',
    description:
      'Metrics in the text format of Prometheus. Where the operator has set a token of its own for them, only that token opens this page; else any API key with the scope `read` does.',
    access: 'operator',
    answers: [{ status: 200, description: 'The metrics.', content: { mediaType: 'text/plain' } }],
    problems: ['insufficient_scope'],
  },
]
