import { isAmountMember, toPointer } from './json-body.ts'
import { Problem, type ProblemCode } from './problem.ts'
import type { z } from 'zod'

/** Checks a body against its schema. Throws the `Problem` of the first fault, with its pointer. */
export function validateBody<T extends z.ZodType>(schema: T, body: unknown): z.infer<T> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Problem('invalid_body', 'Send a JSON object.')
  }
  const result = schema.safeParse(body)
  if (result.success) return result.data
  throw toProblem(result.error.issues)
}

/** Checks query parameters. Unknown ones are refused: a misspelt filter must not show everything. */
export function validateQuery<T extends z.ZodType>(
  schema: T,
  query: Record<string, string[]>,
): z.infer<T> {
  const twice = Object.keys(query).find((name) => (query[name]?.length ?? 0) > 1)
  if (twice !== undefined) {
    throw new Problem('invalid_parameter', `Give the query parameter ${clip(twice)} once.`)
  }
  const single = Object.fromEntries(Object.entries(query).map(([name, [value]]) => [name, value]))
  const result = schema.safeParse(single)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new Problem(
    'invalid_parameter',
    issue?.code === 'unrecognized_keys'
      ? `The query parameter ${clip(issue.keys[0] ?? '')} is unknown here.`
      : `The query parameter ${String(issue?.path[0])} cannot be used: ${issue?.message}.`,
  )
}

const metadataParameter = /^metadata\[(.{1,40})\]$/su

/** Parts the pairs that are asked for (`metadata[order]=6735`) from all other parameters. */
export function metadataFilterIn(query: Record<string, string[]>): {
  metadata: Record<string, string> | undefined
  others: Record<string, string[]>
} {
  const pairs: [name: string, value: string][] = []
  const others: [name: string, values: string[]][] = []
  for (const [name, values] of Object.entries(query)) {
    const key = metadataParameter.exec(name)?.[1]
    const [value] = values
    if (key === undefined || value === undefined || values.length > 1) others.push([name, values])
    else pairs.push([key, value])
  }
  return {
    metadata: pairs.length === 0 ? undefined : Object.fromEntries(pairs),
    others: Object.fromEntries(others),
  }
}

function toProblem(issues: readonly z.core.$ZodIssue[]): Problem {
  const unknown = issues.find((issue) => issue.code === 'unrecognized_keys')
  if (unknown !== undefined) {
    const param = toPointer([...unknown.path, unknown.keys[0] ?? ''])
    return new Problem('unknown_field', 'This member is unknown here: leave it out.', { param })
  }
  const issue = issues[0]
  if (issue === undefined) return new Problem('invalid_body', 'The body cannot be used.')
  const param = toPointer(issue.path)
  const cause = innermost(issue)
  return new Problem(codeOf(cause), sentence(cause.message), { param })
}

/** What is wrong with the name of a pair is told inside the issue about the pair. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  return (issue.code === 'invalid_key' ? issue.issues[0] : undefined) ?? issue
}

const codeOfMember: Readonly<Record<string, ProblemCode>> = {
  currency: 'invalid_currency',
  destination: 'invalid_id',
  source: 'invalid_id',
}

/** A schema names its code with `params: { code }`; else the member decides, else the general one. */
function codeOf(issue: z.core.$ZodIssue): ProblemCode {
  if (issue.code === 'custom' && typeof issue.params?.['code'] === 'string') {
    return issue.params['code'] as ProblemCode
  }
  if (isAmountMember(issue.path)) return 'invalid_amount'
  if (issue.path.at(-2) === 'metadata') return 'invalid_field'
  return codeOfMember[String(issue.path.at(-1))] ?? 'invalid_field'
}

function sentence(message: string): string {
  return message.endsWith('.') ? message : `${message}.`
}

function clip(text: string): string {
  return JSON.stringify(text.slice(0, 40))
}
