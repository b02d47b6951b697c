import { stringify } from 'csv-stringify/sync'
import type { z } from 'zod'
import type { answers, AnswerName } from './answers.ts'
import type { bodies, BodyName } from './requests.ts'

/* Examples of every body and answer. A test holds each against its schema. */

const alice = 'acc_0190f0e000007000800000000000a11c'
const merchant = 'acc_0190f0e000007000800000000000ca5e'
const transferId = 'tr_0190f0e0d80070008000000000000001'
const batchId = 'tb_0190f0e0d80070008000000000000b01'
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
  refunded_amount: 0,
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

/** What a capture, release or refund of this transfer is answered with at its acceptance. */
export function queuedChild(
  kind: 'capture' | 'release' | 'refund',
): z.infer<typeof answers.Transfer> {
  const { refunded_amount: refunded, ...transfer } = queuedTransfer
  const [source, destination] = kind === 'refund' ? [merchant, alice] : [alice, merchant]
  return {
    ...transfer,
    id: 'tr_0190f0e0d80070008000000000000002',
    kind,
    source,
    destination,
    amount: kind === 'release' ? null : 500,
    description: null,
    metadata: {},
    idempotency_key: `${key}-${kind}`,
    parent: transferId,
    ...(kind === 'capture' ? { refunded_amount: refunded } : {}),
  }
}

const acceptedBatch: z.infer<typeof answers.AcceptedBatch> = {
  id: batchId,
  object: 'transfer_batch',
  atomic: false,
  idempotency_key: 'payroll-2026-01',
  created_at: acceptedAt,
  total: 2,
  transfers: [
    {
      index: 0,
      id: 'tr_0190f0e0d80070008000000000000003',
      idempotency_key: 'payroll-2026-01,0',
    },
    { index: 1, id: transferId, idempotency_key: key, replayed: true },
  ],
}

const batch: z.infer<typeof answers.Batch> = {
  ...acceptedBatch,
  is_settled: true,
  counts: { failed: 1, succeeded: 1 },
  transfers: [
    {
      index: 0,
      id: 'tr_0190f0e0d80070008000000000000003',
      idempotency_key: 'payroll-2026-01,0',
      status: 'failed',
      failure: {
        code: 'insufficient_funds',
        message: 'The source has less available than the amount.',
      },
    },
    {
      index: 1,
      id: transferId,
      idempotency_key: key,
      replayed: true,
      status: 'succeeded',
      failure: null,
    },
  ],
}

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

/** The entry as a page of CSV. */
export const csvExample = stringify([entry], { header: true })

const endpointId = 'we_0190f0e0d80070008000000000000e01'
const eventId = 'evt_0190f0e0d80070008000000000000007'

const endpoint: z.infer<typeof answers.Endpoint> = {
  id: endpointId,
  object: 'webhook_endpoint',
  url: 'https://shop.example.com/payonce',
  description: 'The shop',
  event_types: ['transfer.succeeded', 'transfer.failed'],
  rate_limit: 100,
  ed25519: false,
  public_key: null,
  status: 'enabled',
  disabled_reason: null,
  disabled_at: null,
  health: {
    state: 'healthy',
    failures: 0,
    failing_since: null,
    next_probe_at: null,
    last_success_at: settledAt,
    last_failure_at: null,
  },
  created_at: '2026-01-05T08:30:00.000Z',
}

const secret = 'whsec_ZXhhbXBsZS1zZWNyZXQtb2YtMzItYnl0ZXMtaGVyZSE='

const event: z.infer<typeof answers.Event> = {
  id: eventId,
  type: 'transfer.succeeded',
  timestamp: settledAt,
  sequence: 1,
  data: settled,
}

const delivery: z.infer<typeof answers.Delivery> = {
  id: 'dlv_0190f0e0d80070008000000000000d01',
  object: 'webhook_delivery',
  endpoint: endpointId,
  url: endpoint.url,
  event: eventId,
  event_type: 'transfer.succeeded',
  status: 'succeeded',
  next_due_at: null,
  created_at: '2026-01-31T12:00:00.301Z',
  ended_at: '2026-01-31T12:00:00.344Z',
  attempts: [
    {
      attempt: 1,
      started_at: '2026-01-31T12:00:00.310Z',
      duration_ms: 31,
      status_code: 204,
      error: null,
      answer: '',
    },
  ],
}

const newTransfer = {
  source: alice,
  destination: merchant,
  amount: 1_250,
  currency: 'EUR',
  description: 'Order 4711',
  metadata: { order: '4711' },
}

const newMultiLegTransfer = {
  legs: [
    { source: alice, destination: merchant, amount: 1_250, currency: 'EUR' },
    {
      source: merchant,
      destination: 'acc_0190f0e00000700080000000000fee00',
      amount: 25,
      currency: 'EUR',
    },
  ],
  description: 'Order 4711 with its fee',
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
  NewTransfer: newTransfer,
  NewMultiLegTransfer: newMultiLegTransfer,
  NewBatch: {
    transfers: [
      { ...newTransfer, amount: 98_000 },
      { ...newTransfer, idempotency_key: key },
    ],
  },
  NewBatchItem: { ...newTransfer, idempotency_key: key },
  NewMultiLegBatchItem: newMultiLegTransfer,
  CaptureRequest: { amount: 500, final: true },
  RefundRequest: { amount: 500 },
  ReleaseRequest: {},
  NewEndpoint: {
    url: endpoint.url,
    description: 'The shop',
    event_types: ['transfer.succeeded', 'transfer.failed'],
  },
  EndpointChange: { status: 'enabled' },
  SecretRotation: { overlap_seconds: 3_600 },
  NewRecovery: { since: acceptedAt },
  NewIdempotencyKey: { purpose: 'POST /v1/transfers' },
  Nothing: {},
}

export const answerExamples: {
  [Name in Exclude<AnswerName, 'Problem'>]: z.infer<(typeof answers)[Name]>
} = {
  AcceptedBatch: acceptedBatch,
  Account: account,
  AccountList: listOf(account),
  Balance: {
    object: 'balance',
    account: alice,
    currency: 'EUR',
    balance: 98_750,
    seq: 7,
    at: '2026-02-01T00:00:00.000Z',
  },
  Batch: batch,
  DryRun: {
    object: 'dry_run',
    transfers: [{ ...settled, idempotency_key: '' }],
    accounts: [
      { id: alice, balance: 98_750, held: 0, available: 98_750, version: 7 },
      { id: merchant, balance: 1_250, held: 0, available: 1_250, version: 1 },
    ],
  },
  Delivery: delivery,
  DeliveryList: listOf(delivery),
  Endpoint: endpoint,
  EndpointList: listOf(endpoint),
  EndpointWithSecret: { ...endpoint, secret },
  Event: event,
  EventList: listOf(event),
  Recovery: {
    id: 'wr_0190f0e0d80070008000000000000f01',
    object: 'webhook_recovery',
    endpoint: endpointId,
    since: acceptedAt,
    status: 'completed',
    examined: 1_204,
    recovered: 37,
    created_at: settledAt,
    ended_at: '2026-01-31T12:00:01.512Z',
  },
  WebhookSecret: { object: 'webhook_secret', secret },
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
  Leg: { source: alice, destination: merchant, amount: 1_250, currency: 'EUR' },
  Readiness: { status: 'ready', database: 'up', queue: 'up', queue_backend: 'redis' },
  Refusal: {
    code: 'insufficient_funds',
    message: 'The source has less available than the amount.',
  },
  Timeline: {
    object: 'timeline',
    data: [
      { type: 'accepted', at: acceptedAt, idempotency_key: key },
      {
        type: 'attempted',
        at: '2026-01-31T12:00:00.130Z',
        attempt: 1,
        worker: 'worker-1',
        code: 'insufficient_funds',
      },
      {
        type: 'settled',
        at: settledAt,
        status: 'succeeded',
        settlement: '0190f0e0-d800-7000-8000-0000000005e7',
      },
    ],
  },
  Transfer: settled,
  TransferList: listOf(settled),
  TrialBalance: {
    object: 'trial_balance',
    data: [{ currency: 'EUR', balance: 0, accounts: 3, entries: 14 }],
  },
}

export const keyExample = key
