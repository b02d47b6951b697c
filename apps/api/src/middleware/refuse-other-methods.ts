import { Problem } from '../problem.ts'
import type { Hono } from 'hono'
import type { Env } from '../deps.ts'

/** Answers 405, with what would be allowed, on every path that the app serves with other methods. */
export function refuseOtherMethods(app: Hono<Env>): void {
  const methods = new Map<string, Set<string>>()
  for (const { path, method } of app.routes) {
    if (method === 'ALL') continue
    methods.set(path, (methods.get(path) ?? new Set()).add(method))
  }
  for (const [path, served] of methods) {
    if (served.has('GET')) served.add('HEAD')
    const allow = [...served].toSorted().join(', ')
    app.all(path, function refuseMethod() {
      throw new Problem('method_not_allowed', `Use ${allow}.`, { headers: { allow } })
    })
  }
}
