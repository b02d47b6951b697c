import type { HttpAnswer } from './http.ts'

/** Reads an RFC 9457 problem as Payonce writes it, or undefined if the answer is none. */
export function readProblem(answer: HttpAnswer): Problem | undefined {
  if (!answer.headers['content-type']?.startsWith('application/problem+json')) return undefined
  const body = readObject(answer.body)
  if (typeof body?.['code'] !== 'string') return undefined
  return {
    code: body['code'],
    detail: typeof body['detail'] === 'string' ? body['detail'] : '',
    param: typeof body['param'] === 'string' ? body['param'] : undefined,
    retryable: body['retryable'] === true,
  }
}

/** The JSON object in this text, or undefined where there is none. */
export function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export type Problem = {
  code: string
  detail: string
  param: string | undefined
  retryable: boolean
}
