import type { Operation } from '../operation.ts'

const html = { mediaType: 'text/html' }

/** A page for people: served to everybody, without a script that is not ours. */
function page(path: string, operationId: string, summary: string, description: string): Operation {
  return {
    method: 'get',
    path,
    operationId,
    tag: 'Documentation',
    summary,
    description,
    access: 'public',
    answers: [{ status: 200, description: 'The page.', content: html }],
    problems: [],
  }
}

export const documentationOperations: readonly Operation[] = [
  {
    ...page(
      '/openapi.json',
      'getOpenApi',
      'Read this document',
      'The description of this API by OpenAPI 3.1, made from the schemas that validate requests.',
    ),
    headers: ['if-none-match'],
    answers: [
      {
        status: 200,
        description: 'The document.',
        content: { mediaType: 'application/json' },
        headers: ['etag'],
      },
      { status: 304, description: 'It has not changed.', headers: ['etag'] },
    ],
  },
  page('/docs', 'showReference', 'Show the API reference', 'This document, for people.'),
  page(
    '/docs/idempotency',
    'showIdempotency',
    'Explain idempotency keys',
    'Length, characters, scope and retention of keys; what is replayed, and what uses a key up.',
  ),
  page(
    '/docs/refusals',
    'showRefusals',
    'Explain the refusals of the ledger',
    'Each code that `failure` of a transfer may have, and what to do about it.',
  ),
  page(
    '/docs/failure-policies',
    'showFailurePolicies',
    'Explain the failure policies',
    'What is retried, what is passed to the user, and what is ignored.',
  ),
  {
    ...page(
      '/docs/assets/:name',
      'getAsset',
      'Read a file of a page',
      'The scripts and styles that the pages need; nothing is fetched from anywhere else.',
    ),
    pathParameters: { name: { description: 'The name of the file.', example: 'pages.css' } },
    headers: ['if-none-match'],
    answers: [
      {
        status: 200,
        description: 'The file.',
        content: { mediaType: 'text/css' },
        headers: ['etag'],
      },
      { status: 304, description: 'It has not changed.', headers: ['etag'] },
    ],
    problems: ['not_found'],
  },
  page('/problems', 'listProblems', 'List all problems', 'Every code of an error, with its page.'),
  {
    ...page(
      '/problems/:code',
      'showProblem',
      'Explain a problem',
      'What `type` of an error leads to: what happened, why, what to do, and whether to try again.',
    ),
    pathParameters: { code: { description: 'The code.', example: 'idempotency_key_reused' } },
    answers: [
      { status: 200, description: 'The page.', content: html },
      { status: 404, description: 'A page that lists the codes there are.', content: html },
    ],
  },
]
