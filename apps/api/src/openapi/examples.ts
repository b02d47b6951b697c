import type { z } from 'zod'
import type { answers, AnswerName } from './answers.ts'
import type { bodies, BodyName } from './requests.ts'

/* Examples of every body and answer. A test holds each against its schema. */

const alice = 'acc_0190f0e000007000800000000000a11c'
const merchant = 'acc_0190f0e000007000800000000000ca5e'
const transferId = 'tr_0190f0e0d80070008000000000000001'
const key = 'order-4711-payment'
const acceptedAt = '2026-01-31T12:00:00.123Z'
const settledAt = '2026-01-31T12:00:00.137Z'

const account: z.infer<typeof answers.Account> = {
  id: alice,
  object: 'account',
  kind: 'internal',
  currency: 'EUR',
  status: 'open',
  name: 'Alice',
  reference: 'customer-1042',
  balance: 98_750,
  held: 0,
  available: 98_750,
  overdraft_limit: 0,
  version: 7,
  metadata: { segment: 'retail' },
  created_at: '2026-01-05T08:30:00.000Z',
}

const settled: z.infer<typeof answers.Transfer> = {
  id: transferId,
  object: 'transfer',
  kind: 'transfer',
  status: 'succeeded',
  source: alice,
  destination: merchant,
  amount: 1_250,
  currency: 'EUR',
  description: 'Order 4711',
  metadata: { order: '4711' },
  idempotency_key: key,
  parent: null,
  failure: null,
  created_at: acceptedAt,
  settled_at: settledAt,
}

/** The transfer as it is answered at its acceptance, and at every replay of it. */
export const queuedTransfer: z.infer<typeof answers.Transfer> = {
  ...settled,
  status: 'queued',
  settled_at: null,
}

export const canceledTransfer: z.infer<typeof answers.Transfer> = { ...settled, status: 'canceled' }

const entry: z.infer<typeof answers.Entry> = {
  object: 'entry',
  account: alice,
  seq: 7,
  transfer: transferId,
  amount: -1_250,
  currency: 'EUR',
  balance_after: 98_750,
  created_at: settledAt,
}

function listOf<Item>(...data: Item[]) {
  return { object: 'list' as const, data, has_more: false, next_cursor: null }
}

export const bodyExamples: { [Name in BodyName]: z.input<(typeof bodies)[Name]['schema']> } = {
  NewAccount: {
    currency: 'EUR',
    name: 'Alice',
    reference: 'customer-1042',
    metadata: { segment: 'retail' },
  },
  AccountChange: { name: 'Alice Example', metadata: { segment: null } },
  NewTransfer: {
    source: alice,
    destination: merchant,
    amount: 1_250,
    currency: 'EUR',
    description: 'Order 4711',
    metadata: { order: '4711' },
  },
  NewIdempotencyKey: { purpose: 'POST /v1/transfers' },
  Nothing: {},
}

export const answerExamples: {
  [Name in Exclude<AnswerName, 'Problem'>]: z.infer<(typeof answers)[Name]>
} = {
  Account: account,
  AccountList: listOf(account),
  Entry: entry,
  EntryList: listOf(entry),
  Health: { status: 'ok' },
  IdempotencyKey: {
    object: 'idempotency_key',
    key,
    purpose: 'POST /v1/transfers',
    state: 'settled',
    first_seen_at: acceptedAt,
    expires_at: null,
    replays: 2,
    resource: { object: 'transfer', id: transferId },
  },
  Readiness: { status: 'ready', database: 'up', queue: 'up', queue_backend: 'redis' },
  Refusal: {
    code: 'insufficient_funds',
    message: 'The source has less available than the amount.',
  },
  Transfer: settled,
  TransferList: listOf(settled),
  TrialBalance: {
    object: 'trial_balance',
    data: [{ currency: 'EUR', balance: 0, accounts: 3, entries: 14 }],
  },
}

export const keyExample = key
