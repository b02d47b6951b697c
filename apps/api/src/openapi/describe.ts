import { idPattern } from '../schemas.ts'
import { problems, type ProblemCode } from '../problem.ts'
import { keyInQuery, requestHeaders, type AnswerHeader } from './headers.ts'
import { problemsOf, type Answer, type Operation, type PathParameter } from './operation.ts'
import { metadataInQuery, queries, type QueryName } from './requests.ts'
import { reference, toJsonSchema } from './schemas.ts'

/** One operation in words of OpenAPI. */
export function describeOperation(operation: Operation) {
  const { operationId, tag, summary, description } = operation
  const body = describeBody(operation)
  const parameters = describeParameters(operation)
  return {
    operationId,
    tags: [tag],
    summary,
    description,
    security: securityOf(operation),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: body }),
    responses: { ...describeAnswers(operation), ...describeRefusals(operation) },
  }
}

function securityOf({ access }: Operation): Record<string, readonly string[]>[] {
  if (access === 'public') return []
  if (access === 'operator') return [{ operatorToken: [] }, { apiKey: ['read'] }]
  return [{ apiKey: [access] }]
}

type Parameter = {
  name: string
  in: 'path' | 'query' | 'header'
  required: boolean
  description: string
  schema: object
  example?: unknown
  style?: 'deepObject'
  explode?: boolean
}

function describeParameters(operation: Operation): Parameter[] {
  const { pathParameters = {}, query, headers = [], idempotencyKey, filtersByMetadata } = operation
  return [
    ...Object.entries(pathParameters).map(([name, value]) => inPath(name, value)),
    ...(idempotencyKey === undefined ? [] : keyParameters(idempotencyKey)),
    ...headers.map((name): Parameter => ({
      ...requestHeaders[name],
      in: 'header',
      required: false,
    })),
    ...(query === undefined ? [] : inQuery(query)),
    ...(filtersByMetadata === true ? [metadataInQuery] : []),
  ]
}

function inPath(name: string, { description, id, example }: PathParameter): Parameter {
  const schema = { type: 'string', ...(id === undefined ? {} : { pattern: idPattern(id) }) }
  return { name, in: 'path', required: true, description, schema, example }
}

/**
 * The header counts as required where a key is, although the query parameter may replace it: so no
 * client that is generated from the document can forget the key.
 */
function keyParameters(need: 'required' | 'optional'): Parameter[] {
  return [
    { ...requestHeaders['idempotency-key'], in: 'header', required: need === 'required' },
    { ...keyInQuery, in: 'query', required: false },
  ]
}

function inQuery(name: QueryName): Parameter[] {
  const { properties = {}, required = [] } = toJsonSchema(queries[name])
  return Object.entries(properties).map(([member, json]) => {
    const { description = '', ...schema } = typeof json === 'object' ? json : {}
    return { name: member, in: 'query', required: required.includes(member), description, schema }
  })
}

function describeBody({ body }: Operation) {
  if (body === undefined) return undefined
  return {
    required: body.mayBeEmpty !== true,
    content: { 'application/json': contentOf(body.schema) },
  }
}

/** A named schema brings an example along; `example` is one that fits this place better. */
function contentOf(schema: string | readonly string[], example?: unknown) {
  const names = [schema].flat()
  const [only] = names
  return {
    schema:
      only !== undefined && names.length === 1 ? reference(only) : { oneOf: names.map(reference) },
    ...(example === undefined ? {} : { example }),
  }
}

type Response = { description: string; headers: object; content?: object }

function describeAnswers({ answers }: Operation): Record<string, Response> {
  const statuses = new Set(answers.map(({ status }) => status))
  return Object.fromEntries(
    [...statuses].map((status) => [
      status,
      describeResponse(answers.filter((answer) => answer.status === status)),
    ]),
  )
}

/** The answers of one status are one response: which of them it is, each says itself. */
function describeResponse(answers: readonly Answer[]): Response {
  const content = describeContent(answers)
  return {
    description: answers.map(({ description }) => description).join('\n\n'),
    headers: Object.assign({}, ...answers.map(describeHeaders)) as object,
    ...(Object.keys(content).length === 0 ? {} : { content }),
  }
}

function describeContent(answers: readonly Answer[]): object {
  const contents = answers.flatMap(({ content = [] }) => content)
  const json = contents.filter((content) => 'schema' in content)
  const others = contents.filter((content) => 'mediaType' in content)
  const example = json.find((content) => content.example !== undefined)?.example
  const schemas = json.map(({ schema }) => schema)
  return {
    ...(json.length === 0 ? {} : { 'application/json': contentOf(schemas, example) }),
    ...Object.fromEntries(
      others.map((other) => [
        other.mediaType,
        other.example === undefined ? {} : { schema: { type: 'string' }, example: other.example },
      ]),
    ),
  }
}

type Headers = Pick<Answer, 'headers' | 'optionalHeaders'>

function describeHeaders({ headers = [], optionalHeaders = [] }: Headers) {
  const names: AnswerHeader[] = ['request-id', ...headers, ...optionalHeaders]
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

/** The problems, one response per status: each names the codes that this operation may give. */
function describeRefusals(operation: Operation): Record<string, Response> {
  const answered = new Set(operation.answers.map(({ status }) => String(status)))
  const codes = problemsOf(operation)
  const statuses = new Set(codes.map((code) => String(problems[code].status)))
  return Object.fromEntries(
    [...statuses]
      .filter((status) => !answered.has(status))
      .map((status) => [
        status,
        describeProblem(codes.filter((code) => String(problems[code].status) === status)),
      ]),
  )
}

function describeProblem(codes: readonly ProblemCode[]): Response {
  return {
    description: codes.map((code) => `\`${code}\`: ${problems[code].title}.`).join('\n\n'),
    headers: describeHeaders({ optionalHeaders: headersOf(codes) }),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [reference('Problem')],
          properties: { code: { enum: codes } },
        },
        examples: Object.fromEntries(
          codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]),
        ),
      },
    },
  }
}

const toldWhenToRetry: ReadonlySet<ProblemCode> = new Set([
  'backlog_full',
  'idempotency_in_flight',
  'overloaded',
  'service_unavailable',
])

/** The headers that the problems of one status may have. */
export function headersOf(codes: readonly ProblemCode[]): AnswerHeader[] {
  const names = new Set<AnswerHeader>()
  for (const code of codes) {
    if (toldWhenToRetry.has(code)) names.add('retry-after')
    if (code === 'unauthorized') names.add('www-authenticate')
    if (code === 'idempotency_key_missing') names.add('link')
  }
  return [...names]
}
