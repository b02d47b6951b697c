import { failurePolicies, type FailurePolicy, type Retry } from '@payonce/core/failure-policies'

export const failureColumns = ['What fails', 'Policy', 'Tried again', 'In the end'] as const

/** The table of failure policies in words, one row per class of failure. */
export function describeFailurePolicies(): string[][] {
  return Object.values<FailurePolicy>(failurePolicies).map((row) => [
    row.failure,
    row.policy,
    row.policy === 'retry' ? describeRetry(row.retry, row.by) : 'never',
    row.inTheEnd,
  ])
}

const agents = {
  caller: 'by the same process',
  queue: 'by the worker and its queue',
  sweep: 'by the sweep',
}

function describeRetry(retry: Retry, by: keyof typeof agents): string {
  const { retries, minDelayMs, maxDelayMs, maxTimeMs } = retry
  const gaps = `at gaps of ${duration(minDelayMs)} growing to ${duration(maxDelayMs)}`
  const often = Number.isFinite(retries) ? `up to ${retries} times` : 'without an end'
  const within = Number.isFinite(maxTimeMs) ? `, within ${duration(maxTimeMs)}` : ''
  return `${often}, ${agents[by]}, ${gaps}${within}`
}

function duration(ms: number): string {
  if (ms < 1_000) return `${ms} ms`
  if (ms < 3_600_000) return `${ms / 1_000} s`
  return ms === 3_600_000 ? 'an hour' : `${ms / 3_600_000} hours`
}
