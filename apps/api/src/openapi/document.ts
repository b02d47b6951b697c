import { problemExample, problemExplanations } from '../docs/problems.ts'
import { idempotencyLimits, idempotencySummary } from '../docs/idempotency.ts'
import { problems, type ProblemCode, type ProblemKind } from '../problem.ts'
import { describeOperation } from './describe.ts'
import { answerHeaders } from './headers.ts'
import { problemsBeforeOperations, problemsOf, tags, type Tag } from './operation.ts'
import { operations } from './operations.ts'
import { namedSchemas } from './schemas.ts'

/** The version of the contract: it rises with what clients can see. */
const contractVersion = '0.2.0'

/** The OpenAPI 3.1 document of this API. `publicUrl` is what clients call the server. */
export function createDocument({ publicUrl }: { publicUrl: string }) {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Payonce',
      version: contractVersion,
      summary: 'Moves money between accounts exactly once, however often a request is sent.',
      description: introduction(publicUrl),
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: publicUrl }],
    externalDocs: { url: `${publicUrl}/docs/idempotency`, description: 'Idempotency in full' },
    security: [{ apiKey: ['read'] }],
    tags: Object.entries(tags).map(([name, description]) => ({
      name,
      description,
      ...documentationOf(name as Tag, publicUrl),
    })),
    paths: describePaths(),
    components: {
      securitySchemes,
      schemas: namedSchemas(),
      headers: answerHeaders,
      examples: describeExamples(publicUrl),
    },
    'x-idempotency': idempotencyLimits,
    'x-problems': describeProblems(publicUrl),
  }
}

export type OpenApiDocument = ReturnType<typeof createDocument>

/** How an OpenAPI path writes what Hono writes as `:id`. */
export function toOpenApiPath(path: string): string {
  return path.replaceAll(/:(\w+)/g, '{$1}')
}

function introduction(publicUrl: string): string {
  const beforeRoutes = problemsBeforeOperations.map((code) => `\`${code}\``).join(', ')
  return [
    'Amounts are whole numbers of minor units (`1250` is 12.50 EUR), from 1 to 9007199254740991, beside a currency of ISO 4217. Ids are prefixed and sort by time. Times are RFC 3339 in UTC. Members that are not described here are refused.',
    `**Idempotency.** A \`POST\` that makes a transfer or a batch needs an \`Idempotency-Key\`. ${idempotencySummary} [More about idempotency](${publicUrl}/docs/idempotency).`,
    `**Problems.** Errors are \`application/problem+json\` (RFC 9457) with a stable \`code\`, whose page stands at \`type\`; \`retryable\` says whether the same request may succeed when it is sent again. Requests that reach no route are answered in the same form: ${beforeRoutes} and \`not_found\`. [All problems](${publicUrl}/problems).`,
    `**Refusals.** What the ledger refuses is no error, but the result of a transfer that ends as \`failed\`. [All refusals](${publicUrl}/docs/refusals).`,
    'Every answer has a `request-id`. Lists have a `next_cursor` while there is more.',
  ].join('\n\n')
}

function documentationOf(tag: Tag, publicUrl: string) {
  const pages: Partial<Record<Tag, [path: string, description: string]>> = {
    Transfers: ['/docs/refusals', 'What the ledger refuses, and why'],
    Batches: ['/docs/idempotency', 'The keys of a batch and of its transfers'],
    'Idempotency keys': ['/docs/idempotency', 'Idempotency in full'],
    Service: ['/docs/failure-policies', 'What is retried, passed on and ignored'],
    Documentation: ['/problems', 'Every problem'],
  }
  const [path, description] = pages[tag] ?? []
  return path === undefined ? {} : { externalDocs: { url: `${publicUrl}${path}`, description } }
}

const securitySchemes = {
  apiKey: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API key, `po_test_…` or `po_live_…`. A key has the scopes `read` (every `GET`), `write` (everything else) or both.',
  },
  operatorToken: {
    type: 'http',
    scheme: 'bearer',
    description: 'The token that the operator has set for `/metrics`.',
  },
} as const

function describePaths() {
  const paths: Record<string, Record<string, ReturnType<typeof describeOperation>>> = {}
  for (const operation of operations) {
    const path = (paths[toOpenApiPath(operation.path)] ??= {})
    path[operation.method] = describeOperation(operation)
  }
  return paths
}

/** An example of each problem that an operation may give. */
function describeExamples(publicUrl: string) {
  const codes = new Set(operations.flatMap(problemsOf))
  return Object.fromEntries(
    [...codes].map((code) => [
      code,
      { summary: problems[code].title, value: problemExample(code, publicUrl) },
    ]),
  )
}

/** Every code, with what a program needs to decide and where a person can read on. */
function describeProblems(publicUrl: string) {
  const codes = Object.keys(problems) as ProblemCode[]
  return Object.fromEntries(
    codes.map((code) => {
      const { status, title, retryable }: ProblemKind = problems[code]
      const { what } = problemExplanations[code]
      const page = `${publicUrl}/problems/${code}`
      return [code, { status, title, retryable: retryable === true, description: what, page }]
    }),
  )
}
