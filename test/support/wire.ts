/*
 * What clients see, written down apart from the code that renders it: a member that is renamed
 * there does not compile here, or fails.
 */

export type AccountOnWire = {
  id: string
  object: 'account'
  kind: 'internal' | 'external'
  currency: string
  status: 'open' | 'frozen' | 'closed'
  name: string | null
  reference: string | null
  balance: number
  held: number
  available: number
  overdraft_limit: number
  version: number
  metadata: Record<string, string>
  created_at: string
}

export type TransferOnWire = {
  id: string
  object: 'transfer'
  kind: string
  status: string
  source: string
  destination: string
  amount: number
  currency: string
  description: string | null
  metadata: Record<string, string>
  idempotency_key: string
  parent: string | null
  failure: { code: string; message: string } | null
  created_at: string
  settled_at: string | null
}

export type EntryOnWire = {
  object: 'entry'
  account: string
  seq: number
  transfer: string
  amount: number
  currency: string
  balance_after: number
  created_at: string
}

export type ListOnWire<T> = {
  object: 'list'
  data: T[]
  has_more: boolean
  next_cursor: string | null
}

export type TrialBalanceOnWire = {
  object: 'trial_balance'
  data: { currency: string; balance: number; accounts: number; entries: number }[]
}

export type ProblemOnWire = {
  type: string
  title: string
  status: number
  detail: string
  code: string
  param?: string
  request_id: string
  retryable: boolean
}
