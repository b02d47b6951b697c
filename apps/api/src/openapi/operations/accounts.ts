import { csvExample } from '../examples.ts'
import type { Operation } from '../operation.ts'

const accountId = {
  id: {
    description: 'The id of the account.',
    id: 'account',
    example: 'acc_0190f0e000007000800000000000a11c',
  },
} as const

export const accountOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/accounts',
    operationId: 'createAccount',
    tag: 'Accounts',
    summary: 'Open an account',
    description:
      'Opens an account with a balance of 0. Money enters it by a transfer, in the beginning from an `external` account. With an idempotency key, a repetition answers with the account as it was opened.',
    access: 'write',
    idempotencyKey: 'optional',
    body: { schema: 'NewAccount' },
    answers: [
      {
        status: 201,
        description: 'The account, as it was opened.',
        content: { schema: 'Account' },
        headers: ['location'],
        optionalHeaders: ['idempotent-replayed'],
      },
    ],
    problems: ['invalid_currency', 'invalid_text', 'reference_taken'],
  },
  {
    method: 'get',
    path: '/v1/accounts',
    operationId: 'listAccounts',
    tag: 'Accounts',
    summary: 'List accounts',
    description: 'The accounts of the tenant, newest first; or the one that has your `reference`.',
    access: 'read',
    query: 'accounts',
    answers: [{ status: 200, description: 'One page.', content: { schema: 'AccountList' } }],
    problems: ['invalid_cursor'],
  },
  {
    method: 'get',
    path: '/v1/accounts/:id',
    operationId: 'getAccount',
    tag: 'Accounts',
    summary: 'Read an account',
    description: 'The account with its present balance.',
    access: 'read',
    pathParameters: accountId,
    answers: [{ status: 200, description: 'The account.', content: { schema: 'Account' } }],
    problems: ['not_found'],
  },
  {
    method: 'patch',
    path: '/v1/accounts/:id',
    operationId: 'updateAccount',
    tag: 'Accounts',
    summary: 'Change an account',
    description:
      'Changes what is sent and nothing else. Freezing stops everything that moves or reserves money from or to the account, while holds can still be released; closing is final and asks for an empty account.',
    access: 'write',
    pathParameters: accountId,
    body: { schema: 'AccountChange' },
    answers: [
      { status: 200, description: 'The account after the change.', content: { schema: 'Account' } },
    ],
    problems: [
      'account_closed',
      'account_not_empty',
      'invalid_text',
      'not_found',
      'overdraft_in_use',
    ],
  },
  {
    method: 'get',
    path: '/v1/accounts/:id/entries',
    operationId: 'listEntries',
    tag: 'Accounts',
    summary: 'List the entries of an account',
    description:
      'Every line that makes up the balance, newest first, each with the balance after it. Entries are numbered without a gap and never change. With `created_after` and `created_before` it is the statement of a range of time, with `format=csv` as CSV.',
    access: 'read',
    pathParameters: accountId,
    query: 'entries',
    answers: [
      { status: 200, description: 'One page.', content: { schema: 'EntryList' } },
      {
        status: 200,
        description:
          'With `format=csv`, the same page as CSV. `Link` leads to the next page, while there is one.',
        content: { mediaType: 'text/csv', example: csvExample },
        optionalHeaders: ['link'],
      },
    ],
    problems: ['invalid_cursor', 'not_found'],
  },
  {
    method: 'get',
    path: '/v1/accounts/:id/balance',
    operationId: 'getBalance',
    tag: 'Accounts',
    summary: 'Read the balance at a time',
    description:
      'The balance as it was at a moment, from the entries up to then. Entries never change, so the balance at a moment in the past is the same for ever.',
    access: 'read',
    pathParameters: accountId,
    query: 'balance',
    answers: [{ status: 200, description: 'The balance.', content: { schema: 'Balance' } }],
    problems: ['not_found'],
  },
]
