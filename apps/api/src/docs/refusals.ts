import type { RefusalCode } from '@payonce/core/refusals'

/*
 * What stands on /docs/refusals about each code of `failure`. A new code does not compile until
 * somebody has written what it means.
 */

export type RefusalExplanation = {
  /** What the ledger found. */
  what: string
  /** What the client can do. */
  now: string
}

export const refusalExplanations: Readonly<Record<RefusalCode, RefusalExplanation>> = {
  account_closed: {
    what: 'The source or the destination was closed when the transfer was to be carried out.',
    now: 'Closing is final. Send a transfer between other accounts, under a new key.',
  },
  account_frozen: {
    what: 'The source or the destination was frozen when the transfer was to be carried out. A frozen account takes part in no transfer until it is opened again.',
    now: 'Open the account again with `PATCH /v1/accounts/{id}` and `{"status": "open"}`, then send the transfer again under a new key.',
  },
  balance_limit_exceeded: {
    what: 'The balance of an account would have passed ±9007199254740991 minor units, the largest number that every JSON reader keeps exact.',
    now: 'Move a smaller amount, or use another account, under a new key.',
  },
  insufficient_funds: {
    what: 'The source had less available (its balance, less what is held, plus its overdraft limit) than the amount.',
    now: 'Pay money in, then send the transfer again under a new key. To let the server wait for the money instead, send `on_insufficient_funds` with `retry_until`: the transfer is then tried again until that time.',
  },
  internal_error: {
    what: 'The transfer could not be carried out because of a fault on our side, and an operator has ended it.',
    now: 'No money has moved. Send the transfer again under a new key, after the operator of this server says that the fault is gone.',
  },
}
