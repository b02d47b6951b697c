import { Hono } from 'hono'
import { readTrialBalance } from '@payonce/core/ledger/entry'
import { noQuery } from '../schemas.ts'
import { validateQuery } from '../validate.ts'
import { viewTrialBalance } from '../views.ts'
import type { Deps, Env } from '../deps.ts'

export function trialBalanceRoutes({ pool }: Pick<Deps, 'pool'>): Hono<Env> {
  return new Hono<Env>().get('/', async function readBalances(c) {
    validateQuery(noQuery, c.req.queries())
    return c.json(viewTrialBalance(await readTrialBalance(pool, c.var.owner.tenantId)))
  })
}
