import pRetry from 'p-retry'
import { isTransient } from './transient.ts'

export type RetryOptions = {
  /** Repetitions after the first try. */
  retries: number
  minDelayMs: number
  maxDelayMs: number
  /** No repetition is begun later than this after the start. */
  maxTimeMs: number
  /** Which failures are worth another try; without it, outages. */
  isRetryable?(error: unknown): boolean
}

/** Repeats `work` through a short outage, at growing and randomised distances. */
export function retrying<T>(options: RetryOptions, work: () => Promise<T>): Promise<T> {
  const { isRetryable = isTransient } = options
  return pRetry(work, {
    retries: options.retries,
    minTimeout: options.minDelayMs,
    maxTimeout: options.maxDelayMs,
    maxRetryTime: options.maxTimeMs,
    randomize: true,
    shouldRetry: ({ error }) => isRetryable(error),
  })
}
