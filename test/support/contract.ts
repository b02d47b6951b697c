import { answers, type AnswerName } from '@payonce/api/openapi/answers'
import { headersOf } from '@payonce/api/openapi/describe'
import { answerHeaders, type AnswerHeader } from '@payonce/api/openapi/headers'
import { operations } from '@payonce/api/openapi/operations'
import {
  problemsBeforeOperations,
  problemsOf,
  type Answer,
  type Operation,
} from '@payonce/api/openapi/operation'
import { problems, type ProblemCode } from '@payonce/api/problem'

export type AnsweredRequest = {
  method: string
  /** The path, with or without a query. */
  path: string
  status: number
  headers: Headers
  body: unknown
}

/**
 * Holds a real answer against /openapi.json: its status, its body, its headers, and the code of a
 * problem have to be described there. Throws an error that names the difference.
 */
export function requireDescribed(request: AnsweredRequest): void {
  const { method, path, status } = request
  const fault = faultOf(request)
  if (fault === undefined) return
  throw new Error(`${method} ${path} was answered with ${status}, against /openapi.json: ${fault}`)
}

function faultOf(request: AnsweredRequest): string | undefined {
  const operation = operationOf(request)
  const isProblem = request.headers.get('content-type') === 'application/problem+json'
  if (isProblem) return faultOfProblem(request, operation)
  if (operation === undefined) return 'there is no such operation'
  const described = operation.answers.filter(({ status }) => status === request.status)
  if (described.length === 0) return 'this status is not described'
  const faults = described.map((one) => faultOfBody(request, one) ?? faultOfHeaders(request, one))
  return faults.includes(undefined) ? undefined : faults.join('; or ')
}

function operationOf({ method, path }: AnsweredRequest): Operation | undefined {
  const segments = path.replace(/[?#].*$/s, '').split('/')
  return operations.find((operation) => {
    const pattern = operation.path.split('/')
    return (
      operation.method === method.toLowerCase() &&
      pattern.length === segments.length &&
      pattern.every((part, index) => part.startsWith(':') || part === segments[index])
    )
  })
}

function faultOfProblem(
  request: AnsweredRequest,
  operation: Operation | undefined,
): string | undefined {
  const parsed = answers.Problem.safeParse(request.body)
  if (!parsed.success) return parsed.error.message
  const { code, status, retryable } = parsed.data
  const kind: { status: number; retryable?: boolean } = problems[code]
  if (status !== request.status || status !== kind.status)
    return `the status is not that of ${code}`
  if (retryable !== (kind.retryable === true)) return `retryable is not that of ${code}`
  if (problemsBeforeOperations.includes(code)) return undefined
  if (operation === undefined) {
    const isRefusal = ['not_found', 'unauthorized', 'insufficient_scope'].includes(code)
    return isRefusal ? undefined : `${code} of a route that is not described`
  }
  if (!problemsOf(operation).includes(code)) return `${code} is not described`
  return faultOfHeaders(request, { headers: requiredOf(code) })
}

function requiredOf(code: ProblemCode): AnswerHeader[] {
  return headersOf([code])
}

function faultOfBody({ body, headers }: AnsweredRequest, { content }: Answer): string | undefined {
  if (content === undefined) return body === undefined ? undefined : 'the body is not described'
  const mediaType = 'schema' in content ? 'application/json' : content.mediaType
  const sent = headers.get('content-type') ?? ''
  if (!sent.startsWith(mediaType)) return `${sent} is not described`
  if (!('schema' in content)) return undefined
  const name: AnswerName = content.schema
  const parsed = answers[name].safeParse(body)
  return parsed.success ? undefined : `no ${name}: ${parsed.error.message}`
}

type DescribedHeaders = Pick<Answer, 'headers' | 'optionalHeaders'>

function faultOfHeaders(
  request: AnsweredRequest,
  { headers = [], optionalHeaders = [] }: DescribedHeaders,
): string | undefined {
  const required = new Set<AnswerHeader>(['request-id', ...headers])
  const missing = [...required].find((name) => !request.headers.has(name))
  if (missing !== undefined) return `the header ${missing} is missing`
  const known = Object.keys(answerHeaders) as AnswerHeader[]
  const surprising = known.find(
    (name) => request.headers.has(name) && !required.has(name) && !optionalHeaders.includes(name),
  )
  return surprising === undefined ? undefined : `the header ${surprising} is not described`
}
