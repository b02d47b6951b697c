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
  /** Source, destination, amount and currency are null where there are several legs. */
  source: string | null
  destination: string | null
  /** Null too where a capture or refund of all that is left was refused, or is not settled. */
  amount: number | null
  currency: string | null
  legs?: LegOnWire[]
  description: string | null
  metadata: Record<string, string>
  idempotency_key: string
  parent: string | null
  captured_amount?: number
  refunded_amount?: number
  execute_at?: string
  expires_at?: string
  failure: { code: string; message: string } | null
  created_at: string
  settled_at: string | null
}

export type LegOnWire = { source: string; destination: string; amount: number; currency: string }

export type BatchItemOnWire = {
  index: number
  id: string
  idempotency_key: string | null
  replayed?: true
  /** Only where the batch is read, not where it is accepted. */
  status?: string
  failure?: { code: string; message: string } | null
}

export type BatchOnWire = {
  id: string
  object: 'transfer_batch'
  atomic: boolean
  idempotency_key: string
  execute_at?: string
  expires_at?: string
  created_at: string
  is_settled?: boolean
  total: number
  counts?: Record<string, number>
  transfers: BatchItemOnWire[]
}

export type DryRunOnWire = {
  object: 'dry_run'
  transfers: TransferOnWire[]
  accounts: Pick<AccountOnWire, 'id' | 'balance' | 'held' | 'available' | 'version'>[]
}

export type BalanceOnWire = {
  object: 'balance'
  account: string
  currency: string
  balance: number
  seq: number
  at: string
}

export type TimelineOnWire = {
  object: 'timeline'
  data: ({ type: string; at: string } & Record<string, unknown>)[]
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
