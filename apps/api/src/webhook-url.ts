import { judgeUrl } from '@payonce/core/webhooks/url'
import { Problem } from './problem.ts'
import type { Networks } from '@payonce/core/networks'

/** Why nothing is ever sent to a URL, by its form alone; what its name resolves to is judged later. */
export function refusalOfUrl(url: string, allowed: Networks, param: string): Problem | undefined {
  const judged = judgeUrl(url, allowed)
  if (judged.result === 'allowed') return undefined
  return new Problem('url_not_allowed', `Send another URL: ${judged.reason}.`, { param })
}
