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
    what: 'The source or the destination was frozen when the transfer was to be carried out. A frozen account takes part in no transfer, hold, capture or refund until it is opened again; holds can still be released.',
    now: 'Open the account again with `PATCH /v1/accounts/{id}` and `{"status": "open"}`, then send the transfer again under a new key.',
  },
  already_refunded: {
    what: 'The whole of the transfer or capture was refunded before, in one refund or in several.',
    now: 'Nothing is left to send back: `refunded_amount` of the parent tells what went back. To send more, send a new transfer.',
  },
  balance_limit_exceeded: {
    what: 'The balance of an account, or what it holds, would have passed ±9007199254740991 minor units, the largest number that every JSON reader keeps exact.',
    now: 'Move a smaller amount, or use another account, under a new key.',
  },
  batch_aborted: {
    what: 'The transfer belongs to a batch with `"atomic": true`, and another transfer of it was refused. So none of the batch was carried out.',
    now: 'Read the batch with `GET /v1/transfer-batches/{id}`: the one with another code is the reason. Correct it, then send the batch again under new keys.',
  },
  capture_exceeds_remaining: {
    what: 'The amount was more than the hold still had: its amount, less what was captured before.',
    now: 'Read `amount` and `captured_amount` of the hold, then capture no more than the difference under a new key. Without an `amount`, a capture takes all that is left.',
  },
  condition_not_met: {
    what: 'The source had a lower balance than `source_balance_at_least`, or another version than `source_version`, when the transfer was to be carried out.',
    now: 'Read the account again, decide anew, then send the transfer under a new key.',
  },
  hold_already_captured: {
    what: 'The hold had been captured in full, or a capture with `"final": true` had given back the rest. It reserves nothing any more.',
    now: 'Its captures have moved the money: refund one of them to send money back. To move more, send a new transfer.',
  },
  hold_already_released: {
    what: 'What the hold reserved had been given back by a release.',
    now: 'Send a new hold or a transfer, under a new key.',
  },
  hold_expired: {
    what: 'The hold was past its `expires_at`, so that what it still reserved had gone back to the source. This is found out when the command is carried out, whether or not the status of the hold said `expired` yet.',
    now: 'Send a new hold or a transfer, under a new key. A hold lasts 7 days unless it is sent with another `expires_at`, and 90 days at most.',
  },
  insufficient_funds: {
    what: 'The source had less available (its balance, less what is held, plus its overdraft limit) than the amount.',
    now: 'Pay money in, then send the transfer again under a new key. To let the server wait for the money instead, send `on_insufficient_funds` with `retry_until`: the transfer is then tried again until that time.',
  },
  internal_error: {
    what: 'The transfer could not be carried out because of a fault on our side, and an operator has ended it.',
    now: 'No money has moved. Send the transfer again under a new key, after the operator of this server says that the fault is gone.',
  },
  parent_canceled: {
    what: 'The transfer or hold that this one builds on was canceled before it was carried out, so that there is nothing to capture, release or refund.',
    now: 'Nothing has to be done: no money of the parent has moved.',
  },
  parent_expired: {
    what: 'The transfer to be refunded was past its `expires_at` before it could be carried out, so that there is nothing to refund.',
    now: 'Nothing has to be done: no money of the parent has moved.',
  },
  parent_failed: {
    what: 'The transfer or hold that this one builds on was refused by the ledger, so that there is nothing to capture, release or refund.',
    now: 'Read `failure` of the parent. If it should still happen, send it again under a new key.',
  },
  parent_not_settled: {
    what: 'The transfer or hold that this one builds on was not carried out yet: its `execute_at` has not come, or it waits for funds. A parent that was only just sent is no obstacle; it is carried out first.',
    now: 'Wait until the parent has succeeded or is held, then send this again under a new key. To keep the parent from happening, cancel it.',
  },
  refund_exceeds_remaining: {
    what: 'The amount was more than is left to be refunded: the amount of the parent, less what was refunded before.',
    now: 'Read `amount` and `refunded_amount` of the parent, then refund no more than the difference under a new key. Without an `amount`, a refund sends back all that is left.',
  },
}
