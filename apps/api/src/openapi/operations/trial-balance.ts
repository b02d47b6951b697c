import type { Operation } from '../operation.ts'

export const trialBalanceOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/trial-balance',
    operationId: 'getTrialBalance',
    tag: 'Ledger',
    summary: 'Read the trial balance',
    description:
      'The sum over all accounts of the tenant, per currency. It is 0: money moves between accounts, the world outside included, and never appears or vanishes.',
    access: 'read',
    answers: [
      { status: 200, description: 'One line per currency.', content: { schema: 'TrialBalance' } },
    ],
    problems: [],
  },
]
