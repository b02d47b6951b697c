import { describe, expect, it } from 'vitest'
import { openedAccount, type Account } from '@payonce/core/ledger/account'
import { MAX_AMOUNT } from '@payonce/core/money'
import {
  queuedTransfer,
  type Transfer,
  type TransferCommand,
} from '@payonce/core/transfers/transfer'
import {
  viewAccount,
  viewEntry,
  viewList,
  viewTransfer,
  viewTrialBalance,
} from '@payonce/api/views'

const tenantId = '0190f0e0-0000-7000-8000-00000000000a'
const alice = '0190f0e0-0000-7000-8000-0000000a11ce'
const merchant = '0190f0e0-0000-7000-8000-0000000a4c4a'
const transferId = '0190f0e0-0000-7000-8000-000000000001'
const acceptedAt = new Date('2026-01-01T00:00:00.000Z')

const command: TransferCommand = {
  kind: 'transfer',
  source: alice,
  destination: merchant,
  amount: 1_000n,
  currency: 'EUR',
  description: null,
  metadata: {},
  retryFundsUntil: null,
}

function accepted(change: Partial<TransferCommand> = {}): Transfer {
  const idempotencyKey = 'order-7'
  return queuedTransfer({
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
        '"failure":null,"created_at":"2026-01-01T00:00:00.000Z","settled_at":null}',
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
        '"idempotency_key":"order-7","parent":null,"failure":null,' +
        '"created_at":"2026-01-01T00:00:00.000Z","settled_at":null}',
    )
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
