import { describe, expect, it } from 'vitest'
import { Problem, problems, renderProblem, type ProblemCode } from '@payonce/api/problem'
import { refusalMessages } from '@payonce/core/refusals'

const codes = Object.keys(problems) as ProblemCode[]

function render(problem: Problem): Record<string, unknown> {
  return JSON.parse(renderProblem(problem, 'req_1', 'https://pay.example')) as Record<
    string,
    unknown
  >
}

describe('the codes of problems', () => {
  /** Clients switch on these: a code that changes its status, or leaves, breaks them. */
  it('have these statuses on the wire', () => {
    const statuses = codes.map((code) => `${new Problem(code, 'x').status} ${code}`)
    expect(statuses.toSorted()).toMatchInlineSnapshot(`
      [
        "400 duplicate_member",
        "400 idempotency_key_invalid",
        "400 idempotency_key_missing",
        "400 incomplete_body",
        "400 invalid_amount",
        "400 invalid_body",
        "400 invalid_currency",
        "400 invalid_cursor",
        "400 invalid_field",
        "400 invalid_id",
        "400 invalid_json",
        "400 invalid_parameter",
        "400 invalid_text",
        "400 malformed_request",
        "400 unknown_field",
        "401 unauthorized",
        "403 insufficient_scope",
        "404 not_found",
        "405 method_not_allowed",
        "408 request_timeout",
        "409 account_closed",
        "409 account_not_empty",
        "409 endpoint_deleted",
        "409 hold_already_held",
        "409 idempotency_in_flight",
        "409 overdraft_in_use",
        "409 part_of_atomic_batch",
        "409 reference_taken",
        "409 too_many_endpoints",
        "409 transfer_already_settled",
        "413 body_too_large",
        "415 unsupported_media_type",
        "422 account_not_found",
        "422 callback_secret_missing",
        "422 currency_mismatch",
        "422 idempotency_key_expired",
        "422 idempotency_key_purpose",
        "422 idempotency_key_reused",
        "422 idempotency_key_unknown",
        "422 not_capturable",
        "422 not_refundable",
        "422 not_releasable",
        "422 partial_refund",
        "422 same_account",
        "422 url_not_allowed",
        "431 headers_too_large",
        "500 internal_error",
        "503 backlog_full",
        "503 overloaded",
        "503 service_unavailable",
      ]
    `)
  })

  it('say that a retry helps for these, and for no others', () => {
    const retryable = codes.filter((code) => render(new Problem(code, 'x'))['retryable'] === true)
    expect(retryable.toSorted()).toMatchInlineSnapshot(`
      [
        "backlog_full",
        "idempotency_in_flight",
        "incomplete_body",
        "internal_error",
        "overloaded",
        "request_timeout",
        "service_unavailable",
      ]
    `)
  })

  it('each have an error status, a title that ends without a full stop, and a name for clients', () => {
    for (const code of codes) {
      const { status, title } = problems[code]
      expect(status).toBeGreaterThanOrEqual(400)
      expect(status).toBeLessThan(600)
      expect(title).toMatch(/^[A-Z].*[^.]$/)
      expect(code).toMatch(/^[a-z_]+$/)
    }
  })

  it('keep server errors for what is not the client’s doing: each of them may be sent again', () => {
    for (const code of codes.filter((one) => problems[one].status >= 500)) {
      expect(render(new Problem(code, 'x'))['retryable']).toBe(true)
    }
  })

  it('do not mean something else as the failure of a transfer', () => {
    const both = codes.filter((code) => code in refusalMessages)
    expect(both.toSorted()).toEqual(['account_closed', 'internal_error'])
  })
})

describe('a problem on the wire', () => {
  it('is RFC 9457 with our members, in this order', () => {
    const problem = new Problem('invalid_amount', 'Send a whole number.', { param: '/amount' })
    expect(renderProblem(problem, 'req_1', 'https://pay.example')).toBe(
      '{"type":"https://pay.example/problems/invalid_amount","title":"The amount cannot be used",' +
        '"status":400,"detail":"Send a whole number.","code":"invalid_amount","param":"/amount",' +
        '"request_id":"req_1","retryable":false}',
    )
  })

  it('has no param where no member is at fault', () => {
    expect(render(new Problem('not_found', 'There is no such route.'))).not.toHaveProperty('param')
  })

  it('tells nothing of its cause', () => {
    const cause = new Error('canary', { cause: new Error('canary') })
    const text = renderProblem(
      new Problem('internal_error', 'Something failed.', { cause }),
      'r',
      'u',
    )
    expect(text).not.toContain('canary')
  })
})
