import { describe, expect, it } from 'vitest'
import { retrying } from '@payonce/core/db/retry'

const quick = { retries: 3, minDelayMs: 1, maxDelayMs: 2, maxTimeMs: 5_000 }

function outage(): Error {
  return Object.assign(new Error('shutting down'), { code: '57P01' })
}

/** Fails as often as there are errors, then works. */
function failingWith(errors: readonly unknown[]) {
  let calls = 0
  return {
    get calls() {
      return calls
    },
    work: async () => {
      calls += 1
      if (calls <= errors.length) throw errors[calls - 1]
      return 'done'
    },
  }
}

describe('work is repeated', () => {
  it('through a short outage', async () => {
    const attempt = failingWith([outage(), outage()])
    expect(await retrying(quick, attempt.work)).toBe('done')
    expect(attempt.calls).toBe(3)
  })

  it('only so often, and then fails with the last outage', async () => {
    const errors = Array.from({ length: 10 }, outage)
    const attempt = failingWith(errors)
    await expect(retrying(quick, attempt.work)).rejects.toBe(errors[3])
    expect(attempt.calls).toBe(4)
  })

  it('not after a bug', async () => {
    const bug = Object.assign(new Error('duplicate'), { code: '23505' })
    const attempt = failingWith([bug])
    await expect(retrying(quick, attempt.work)).rejects.toBe(bug)
    expect(attempt.calls).toBe(1)
  })

  it('after what its caller calls worth it, and after nothing else', async () => {
    const isRetryable = (error: unknown) => error instanceof Error && error.message === 'lost race'
    const attempt = failingWith([new Error('lost race'), outage()])
    await expect(retrying({ ...quick, isRetryable }, attempt.work)).rejects.toThrow('shutting down')
    expect(attempt.calls).toBe(2)
  })

  it('not begun again when the time is over', async () => {
    const attempt = failingWith(Array.from({ length: 10 }, outage))
    await expect(
      retrying({ retries: 10, minDelayMs: 30, maxDelayMs: 30, maxTimeMs: 20 }, attempt.work),
    ).rejects.toThrow('shutting down')
    expect(attempt.calls).toBeLessThan(4)
  })
})
