import { describe, expect, it } from 'vitest'
import { openedAccount, type Account } from '@payonce/core/ledger/account'
import { viewAccount } from '@payonce/core/ledger/account-view'
import { answers } from '@payonce/api/openapi/answers'
import { MAX_AMOUNT } from '@payonce/core/money'
import {
  acceptedTransfer,
  type Transfer,
  type TransferCommand,
} from '@payonce/core/transfers/transfer'
import { viewTransfer } from '@payonce/core/transfers/transfer-view'
import {
  viewAcceptedBatch,
  viewBatch,
  viewDryRun,
  viewEntry,
  viewList,
  viewTrialBalance,
} from '@payonce/api/views'
import type { Batch } from '@payonce/core/transfers/batch'

const tenantId = '0190f0e0-0000-7000-8000-00000000000a'
const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
const merchant = '0190f0e0-0000-7000-8000-0000000a4c4a'
const transferId = '0190f0e0-0000-7000-8000-000000000001'
const batchId = '0190f0e0-0000-7000-8000-000000000b01'
const acceptedAt = new Date('2026-01-01T00:00:00.000Z')

const batch: Batch = {
  tenantId,
  id: batchId,
  idempotencyKey: 'pay',
  isAtomic: false,
  executeAt: null,
  expiresAt: null,
  createdAt: acceptedAt,
  items: [],
}

const command: TransferCommand = {
  kind: 'transfer',
  parentId: null,
  source: alice,
  destination: merchant,
  amount: 1_000n,
  currency: 'EUR',
  legs: null,
  description: null,
  metadata: {},
  isFinal: false,
  executeAt: null,
  expiresAt: null,
  retryFundsUntil: null,
  condition: null,
  atomicBatchId: null,
  callbackUrl: null,
}

function accepted(change: Partial<TransferCommand> = {}): Transfer {
  const idempotencyKey = 'order-7'
  return acceptedTransfer({
    tenantId,
    id: transferId,
    idempotencyKey,
    acceptedAt,
    command: { ...command, ...change },
  })
}

/*
 * A replay is rendered again from the request in hand, for years. The bytes below may never change:
 * where this fails, the code is wrong, and not the test.
 */
describe('the bytes of an answer to an acceptance', () => {
  it('are these for a transfer', () => {
    expect(JSON.stringify(viewTransfer(accepted()))).toBe(
      '{"id":"tr_0190f0e0000070008000000000000001","object":"transfer","kind":"transfer",' +
        '"status":"queued","source":"acc_0190f0e00000700080000000000a11ce",' +
        '"destination":"acc_0190f0e00000700080000000000a4c4a","amount":1000,"currency":"EUR",' +
        '"description":null,"metadata":{},"idempotency_key":"order-7","parent":null,' +
        '"refunded_amount":0,"failure":null,"created_at":"2026-01-01T00:00:00.000Z",' +
        '"settled_at":null}',
    )
  })

  it('are these for a transfer with everything', () => {
    const transfer = accepted({
      amount: MAX_AMOUNT,
      currency: 'JPY',
      description: 'Café 😀 "7" \\ <b>\r\n\u2028',
      metadata: { b: '2', a: '1', 10: 'ten', 9: 'nine', B: '3', é: '4', '😀': '5' },
    })
    expect(JSON.stringify(viewTransfer(transfer))).toBe(
      '{"id":"tr_0190f0e0000070008000000000000001","object":"transfer","kind":"transfer",' +
        '"status":"queued","source":"acc_0190f0e00000700080000000000a11ce",' +
        '"destination":"acc_0190f0e00000700080000000000a4c4a","amount":9007199254740991,' +
        '"currency":"JPY","description":"Café 😀 \\"7\\" \\\\ <b>\\r\\n\u2028",' +
        '"metadata":{"9":"nine","10":"ten","B":"3","a":"1","b":"2","é":"4","😀":"5"},' +
        '"idempotency_key":"order-7","parent":null,"refunded_amount":0,"failure":null,' +
        '"created_at":"2026-01-01T00:00:00.000Z","settled_at":null}',
    )
  })

  it('are these for a hold, which lasts 7 days unless something else is said', () => {
    expect(JSON.stringify(viewTransfer(accepted({ kind: 'hold' })))).toBe(
      '{"id":"tr_0190f0e0000070008000000000000001","object":"transfer","kind":"hold",' +
        '"status":"queued","source":"acc_0190f0e00000700080000000000a11ce",' +
        '"destination":"acc_0190f0e00000700080000000000a4c4a","amount":1000,"currency":"EUR",' +
        '"description":null,"metadata":{},"idempotency_key":"order-7","parent":null,' +
        '"captured_amount":0,"expires_at":"2026-01-08T00:00:00.000Z","failure":null,' +
        '"created_at":"2026-01-01T00:00:00.000Z","settled_at":null}',
    )
  })

  it('are these for several legs that wait for their time', () => {
    const transfer = accepted({
      source: null,
      destination: null,
      amount: null,
      currency: null,
      legs: [
        { source: alice, destination: merchant, amount: 5n, currency: 'EUR' },
        { source: merchant, destination: alice, amount: 7n, currency: 'USD' },
      ],
      executeAt: new Date('2026-02-01T00:00:00.000Z'),
      expiresAt: new Date('2026-02-02T00:00:00.000Z'),
    })
    expect(JSON.stringify(viewTransfer(transfer))).toBe(
      '{"id":"tr_0190f0e0000070008000000000000001","object":"transfer","kind":"transfer",' +
        '"status":"scheduled","source":null,"destination":null,"amount":null,"currency":null,' +
        '"legs":[{"source":"acc_0190f0e00000700080000000000a11ce",' +
        '"destination":"acc_0190f0e00000700080000000000a4c4a","amount":5,"currency":"EUR"},' +
        '{"source":"acc_0190f0e00000700080000000000a4c4a",' +
        '"destination":"acc_0190f0e00000700080000000000a11ce","amount":7,"currency":"USD"}],' +
        '"description":null,"metadata":{},"idempotency_key":"order-7","parent":null,' +
        '"execute_at":"2026-02-01T00:00:00.000Z","expires_at":"2026-02-02T00:00:00.000Z",' +
        '"failure":null,"created_at":"2026-01-01T00:00:00.000Z","settled_at":null}',
    )
  })

  it.each([
    ['capture', '"refunded_amount":0,'],
    ['release', ''],
    ['refund', ''],
  ] as const)('are these for a %s of all that is left', (kind, more) => {
    const transfer = accepted({ kind, parentId: batchId, amount: null })
    expect(JSON.stringify(viewTransfer(transfer))).toBe(
      `{"id":"tr_0190f0e0000070008000000000000001","object":"transfer","kind":"${kind}",` +
        '"status":"queued","source":"acc_0190f0e00000700080000000000a11ce",' +
        '"destination":"acc_0190f0e00000700080000000000a4c4a","amount":null,"currency":"EUR",' +
        '"description":null,"metadata":{},"idempotency_key":"order-7",' +
        `"parent":"tr_0190f0e0000070008000000000000b01",${more}"failure":null,` +
        '"created_at":"2026-01-01T00:00:00.000Z","settled_at":null}',
    )
  })

  it('are these for a batch', () => {
    const items = [
      { transferId, isReplay: false, idempotencyKey: 'pay,0' },
      { transferId: batchId, isReplay: true, idempotencyKey: 'order-7' },
    ]
    const head =
      '{"id":"tb_0190f0e0000070008000000000000b01","object":"transfer_batch","atomic":false,' +
      '"idempotency_key":"pay",'
    const tail =
      '"created_at":"2026-01-01T00:00:00.000Z","total":2,"transfers":[{"index":0,' +
      '"id":"tr_0190f0e0000070008000000000000001","idempotency_key":"pay,0"},{"index":1,' +
      '"id":"tr_0190f0e0000070008000000000000b01","idempotency_key":"order-7","replayed":true}]}'
    expect(JSON.stringify(viewAcceptedBatch(batch, items))).toBe(head + tail)
    const timed = {
      ...batch,
      executeAt: new Date('2026-02-01T00:00:00.000Z'),
      expiresAt: new Date('2026-02-02T00:00:00.000Z'),
    }
    const times = '"execute_at":"2026-02-01T00:00:00.000Z","expires_at":"2026-02-02T00:00:00.000Z",'
    expect(JSON.stringify(viewAcceptedBatch(timed, items))).toBe(head + times + tail)
  })

  it('are the same in whatever order metadata was sent or stored', () => {
    const pairs = Object.entries({ b: '2', a: '1', 10: 'ten', 9: 'nine', B: '3' })
    const one = accepted({ metadata: Object.fromEntries(pairs) })
    const other = accepted({ metadata: Object.fromEntries(pairs.toReversed()) })
    expect(JSON.stringify(viewTransfer(one))).toBe(JSON.stringify(viewTransfer(other)))
  })

  it('are these for an account', () => {
    const account = openedAccount(
      {
        tenantId,
        id: alice,
        kind: 'internal',
        currency: 'EUR',
        name: 'Alice',
        reference: 'customer-1',
        overdraftLimit: 500n,
        metadata: { tier: 'gold' },
      },
      acceptedAt,
    )
    expect(JSON.stringify(viewAccount(account))).toBe(
      '{"id":"acc_0190f0e00000700080000000000a11ce","object":"account","kind":"internal",' +
        '"currency":"EUR","status":"open","name":"Alice","reference":"customer-1","balance":0,' +
        '"held":0,"available":0,"overdraft_limit":500,"version":0,"metadata":{"tier":"gold"},' +
        '"created_at":"2026-01-01T00:00:00.000Z"}',
    )
  })
})

describe('what is shown', () => {
  const leg = { source: alice, destination: merchant, amount: 5n, currency: 'EUR' }

  it.each<[string, Transfer]>([
    ['a transfer', accepted()],
    ['a hold', { ...accepted({ kind: 'hold' }), status: 'held', settledAt: acceptedAt }],
    ['a capture', accepted({ kind: 'capture', parentId: transferId, amount: null })],
    ['several legs', accepted({ source: null, destination: null, legs: [leg, leg] })],
    ['a scheduled one', accepted({ executeAt: new Date('2026-02-01T00:00:00.000Z') })],
    ['an aborted one', { ...accepted(), status: 'failed', failureCode: 'batch_aborted' }],
  ])('of %s is as /openapi.json says', (_, transfer) => {
    const view = viewTransfer(transfer)
    expect(answers.Transfer.parse(view)).toEqual(view)
  })

  it('of a batch is as /openapi.json says', () => {
    const item = { transferId, isReplay: true, idempotencyKey: 'K' }
    const accepted = viewAcceptedBatch(batch, [item])
    expect(answers.AcceptedBatch.parse(accepted)).toEqual(accepted)
    const items = [{ ...item, status: 'failed', failureCode: 'condition_not_met' } as const]
    const settled = viewBatch({ ...batch, items })
    expect(answers.Batch.parse(settled)).toEqual(settled)
  })
})

describe('a settled transfer', () => {
  it('says when', () => {
    const settledAt = new Date('2026-01-01T00:00:00.007Z')
    const view = viewTransfer({ ...accepted(), status: 'succeeded', settledAt })
    expect(view).toMatchObject({
      status: 'succeeded',
      failure: null,
      settled_at: '2026-01-01T00:00:00.007Z',
    })
  })

  it('that failed says why', () => {
    const view = viewTransfer({
      ...accepted(),
      status: 'failed',
      failureCode: 'insufficient_funds',
      settledAt: acceptedAt,
    })
    expect(view.failure).toEqual({
      code: 'insufficient_funds',
      message: 'The source has less available than the amount.',
    })
  })

  it('shows nothing of its tenant', () => {
    expect(JSON.stringify(viewTransfer(accepted()))).not.toContain(tenantId.replaceAll('-', ''))
    expect(JSON.stringify(viewTransfer(accepted()))).not.toContain('tenant')
  })
})

describe('a batch', () => {
  const item: Batch['items'][number] = {
    transferId,
    isReplay: false,
    idempotencyKey: 'pay,0',
    status: 'succeeded',
    failureCode: null,
  }
  const failed = { ...item, status: 'failed', failureCode: 'batch_aborted' } as const
  const shown = { id: 'tr_0190f0e0000070008000000000000001', idempotency_key: 'pay,0' }

  it('counts what became of its transfers, and tells each', () => {
    expect(viewBatch({ ...batch, items: [item, failed, { ...item, isReplay: true }] })).toEqual({
      id: 'tb_0190f0e0000070008000000000000b01',
      object: 'transfer_batch',
      atomic: false,
      idempotency_key: 'pay',
      created_at: '2026-01-01T00:00:00.000Z',
      is_settled: true,
      total: 3,
      counts: { succeeded: 2, failed: 1 },
      transfers: [
        { ...shown, index: 0, status: 'succeeded', failure: null },
        {
          ...shown,
          index: 1,
          status: 'failed',
          failure: {
            code: 'batch_aborted',
            message: 'Another transfer of the same atomic batch was refused.',
          },
        },
        { ...shown, index: 2, replayed: true, status: 'succeeded', failure: null },
      ],
    })
  })

  it.each(['scheduled', 'queued'] as const)('is not settled while one is %s', (status) => {
    expect(viewBatch({ ...batch, items: [item, { ...item, status }] }).is_settled).toBe(false)
  })

  it('is settled once each is held or over', () => {
    const items = [item, { ...item, status: 'held' as const }]
    expect(viewBatch({ ...batch, items }).is_settled).toBe(true)
  })
})

describe('a dry run', () => {
  it('shows what would be, and the accounts as they would be', () => {
    const account = {
      tenantId,
      id: alice,
      kind: 'internal',
      status: 'open',
      balance: 90n,
      held: 40n,
      overdraftLimit: 0n,
      version: 3n,
      entryCount: 2n,
      lastEntryAt: null,
    } as const
    expect(viewDryRun({ transfers: [accepted()], accounts: [account] })).toEqual({
      object: 'dry_run',
      transfers: [viewTransfer(accepted())],
      accounts: [
        {
          id: 'acc_0190f0e00000700080000000000a11ce',
          balance: 90,
          held: 40,
          available: 50,
          version: 3,
        },
      ],
    })
  })
})

describe('amounts', () => {
  const account: Account = {
    tenantId,
    id: alice,
    kind: 'external',
    currency: 'EUR',
    status: 'open',
    name: null,
    reference: null,
    balance: -MAX_AMOUNT,
    held: 0n,
    overdraftLimit: MAX_AMOUNT,
    version: 3n,
    metadata: {},
    createdAt: acceptedAt,
  }

  it('are exact up to the largest', () => {
    const text = JSON.stringify(viewAccount(account))
    expect(text).toContain('"balance":-9007199254740991')
    expect(text).toContain('"overdraft_limit":9007199254740991')
  })

  it('that are available are the balance less what is held', () => {
    expect(viewAccount({ ...account, balance: 100n, held: 30n }).available).toBe(70)
  })

  it('of an entry are signed, with the balance after it', () => {
    const entry = { seq: 7n, transferId, amount: -5n, balanceAfter: 95n, createdAt: acceptedAt }
    expect(viewEntry(entry, account)).toEqual({
      object: 'entry',
      account: 'acc_0190f0e00000700080000000000a11ce',
      seq: 7,
      transfer: 'tr_0190f0e0000070008000000000000001',
      amount: -5,
      currency: 'EUR',
      balance_after: 95,
      created_at: '2026-01-01T00:00:00.000Z',
    })
  })

  it('of a trial balance are told per currency', () => {
    const row = { currency: 'EUR', balance: 0n, accounts: 2n, entries: 14n }
    expect(viewTrialBalance([row])).toEqual({
      object: 'trial_balance',
      data: [{ currency: 'EUR', balance: 0, accounts: 2, entries: 14 }],
    })
  })
})

describe('a list', () => {
  it('says whether there is more, and where', () => {
    expect(viewList([1], 'cursor')).toEqual({
      object: 'list',
      data: [1],
      has_more: true,
      next_cursor: 'cursor',
    })
    expect(viewList([], undefined)).toEqual({
      object: 'list',
      data: [],
      has_more: false,
      next_cursor: null,
    })
  })
})
