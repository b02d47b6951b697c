import { Problem } from './problem.ts'
import type { Context } from 'hono'
import type { Env } from './deps.ts'

/** The longest wait, in seconds: shorter than what proxies cut off. */
const longestWait = 30

/**
 * The seconds that a client wants to wait for (`Prefer: wait=N`, RFC 7240), cut to the longest wait;
 * undefined where it does not. Preferences that are not known are ignored, as the RFC asks.
 */
export function preferredWait(c: Context<Env>): number | undefined {
  const header = c.req.header('prefer')
  if (header === undefined) return undefined
  const match = /(?:^|[,;])\s*wait\s*=\s*"?([^",;\s]*)"?/i.exec(header)
  if (match === null) return undefined
  const seconds = match[1] ?? ''
  if (!/^\d{1,6}$/.test(seconds)) {
    throw new Problem('invalid_parameter', 'Send Prefer: wait=N with a whole number of seconds.')
  }
  return Math.min(Number(seconds), longestWait)
}
