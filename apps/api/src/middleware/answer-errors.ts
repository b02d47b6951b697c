import { isTransient } from '@payonce/core/db/transient'
import { failurePolicies } from '@payonce/core/failure-policies'
import { GroupCommitFull } from '@payonce/core/group-commit'
import { KeyInFlightError } from '@payonce/core/idempotency/known-key'
import { Problem, renderProblem } from '../problem.ts'
import type { ErrorHandler, NotFoundHandler } from 'hono'
import type { Deps, Env } from '../deps.ts'

/** Turns whatever a handler throws into an answer; bugs are logged, and tell the client nothing. */
export function answerErrors({
  log,
  publicUrl,
}: Pick<Deps, 'log' | 'publicUrl'>): ErrorHandler<Env> {
  return function answerError(error, c) {
    const problem = toProblem(error)
    const { requestId } = c.var
    if (problem.code === 'internal_error') log.error({ requestId, error }, 'request failed')
    else if (isOutage(problem)) log.warn({ requestId, error }, 'request could not be served')
    const body = renderProblem(problem, requestId, publicUrl)
    return c.body(body, problem.status, {
      'content-type': 'application/problem+json',
      ...problem.headers,
    })
  }
}

export function answerNotFound(): NotFoundHandler<Env> {
  return function refuseUnknownRoute() {
    throw new Problem('not_found', 'There is no such route.')
  }
}

/** A full backlog is told once, by whoever looks at it: a line each would be a load of its own. */
function isOutage({ status, code }: Problem): boolean {
  return status >= 500 && code !== 'backlog_full'
}

const retryAfter = { 'retry-after': String(failurePolicies.acceptance_outage.retryAfterSeconds) }

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof KeyInFlightError) {
    return new Problem(
      'idempotency_in_flight',
      'A request with this key is still being accepted: send the same request again.',
      { headers: retryAfter, cause: error },
    )
  }
  if (error instanceof GroupCommitFull) {
    return new Problem(
      'overloaded',
      'Too much is in progress: send the same request again later.',
      {
        headers: retryAfter,
        cause: error,
      },
    )
  }
  if (isTransient(error)) {
    return new Problem(
      'service_unavailable',
      'The database is away for a moment: send the same request, with the same key, again.',
      { headers: retryAfter, cause: error },
    )
  }
  return new Problem(
    'internal_error',
    'Something failed on our side. Sending the same request with the same key again is safe.',
    { cause: error },
  )
}
