import { problems } from '@payonce/api/problem'
import { expect } from 'vitest'
import { newKey } from './client.ts'
import { leavingNoTrace } from './footprint.ts'
import { RawConnection, type RawAnswer, type RawRequest } from './raw-connection.ts'
import type { Payonce, Tenant } from './payonce.ts'
import type { ProblemOnWire } from './wire.ts'

/** A request that has to be refused, and how. Without `param` the answer must have none. */
export type Refusal = {
  what: string
  request: RawRequest
  status: number
  code: string
  param?: string | undefined
}

/**
 * A request of a tenant (`POST /v1/transfers`) that has all it needs but perhaps a good body: text and
 * bytes are sent as they are, anything else as JSON. A header replaces the one of the same name, and
 * null leaves that out.
 */
export function requestOf(
  tenant: Pick<Tenant, 'apiKey'>,
  route: string,
  body?: unknown,
  headers: Readonly<Record<string, string | null>> = {},
): RawRequest {
  const [method = '', path = ''] = route.split(' ')
  const all: Record<string, string | null> = {
    authorization: `Bearer ${tenant.apiKey}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(method === 'POST' ? { 'idempotency-key': newKey() } : {}),
    ...headers,
  }
  const isAsItIs = body === undefined || typeof body === 'string' || body instanceof Uint8Array
  return {
    method,
    path,
    headers: Object.entries(all).filter((header): header is [string, string] => header[1] !== null),
    ...(body === undefined ? {} : { body: isAsItIs ? body : JSON.stringify(body) }),
  }
}

/**
 * Sends each request, and holds that each is refused as it should be, with a complete problem, and
 * leaves no trace. Between them the connection has to stay usable, or to be closed where that was said.
 */
export async function expectRefusals(
  payonce: Payonce,
  refusals: readonly Refusal[],
): Promise<void> {
  await leavingNoTrace(payonce, async () => {
    const seen: Omit<Refusal, 'request'>[] = []
    let connection = await RawConnection.open(payonce.api.url)
    for (const { what, request } of refusals) {
      connection.send(request)
      const answer = await connection.answer({ isHead: request.method === 'HEAD' })
      const { status, code, param } = expectProblem(answer)
      seen.push({ what, status, code, param })
      connection = await usableAfter(connection, answer, payonce.api.url)
    }
    connection.destroy()
    expect(seen).toEqual(
      refusals.map(({ what, status, code, param }) => ({ what, status, code, param })),
    )
  })
}

/** The problem in an answer, which has to be whole and to agree with its head. */
export function expectProblem(answer: RawAnswer): ProblemOnWire {
  const problem = answer.json as ProblemOnWire
  expect(answer.headers.get('content-type'), answer.text).toBe('application/problem+json')
  expect(problem).toMatchObject({
    type: `https://payonce.example/problems/${problem.code}`,
    status: answer.status,
    title: expect.stringMatching(/./),
    detail: expect.stringMatching(/./),
    request_id: answer.headers.get('request-id'),
    retryable: expect.any(Boolean),
  })
  expect(problem.request_id).toMatch(/^req_[0-9a-f]{32}$/)
  expect(Object.keys(problems)).toContain(problem.code)
  return problem
}

/** The connection after an answer: still good for another request, or a new one after its end. */
async function usableAfter(
  connection: RawConnection,
  answer: RawAnswer,
  url: string,
): Promise<RawConnection> {
  if (answer.headers.get('connection') === 'close') {
    await connection.untilClosed()
    return RawConnection.open(url)
  }
  connection.send({ method: 'GET', path: '/healthz' })
  expect((await connection.answer()).status).toBe(200)
  return connection
}
