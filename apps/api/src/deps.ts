import type { Clock } from '@payonce/core/clock'
import type { Log } from '@payonce/core/log'
import type { Metrics } from '@payonce/core/metrics'
import type { NewId } from '@payonce/core/ids'
import type { Networks } from '@payonce/core/networks'
import type { Pool } from '@payonce/core/db/client'
import type { AccountFactsReader } from '@payonce/core/ledger/account-facts'
import type { ReplayCounter } from '@payonce/core/idempotency/replay-counter'
import type { Backlog } from '@payonce/core/queue/backlog'
import type { SettlementQueue } from '@payonce/core/queue/queues'
import type { ApiKeyOwner } from '@payonce/core/tenants/api-key'
import type { Accepter } from '@payonce/core/transfers/accept'
import type { BatchAcceptance, BatchRequest } from '@payonce/core/transfers/batch'
import type { Watcher } from '@payonce/core/transfers/watch'

/** What the API is made of; built in main.ts, passed to createApp. */
export type Deps = {
  log: Log
  metrics: Metrics
  newId: NewId
  /** Reads, account changes and cancels. */
  pool: Pool
  accountFacts: AccountFactsReader
  accepter: Accepter
  acceptBatch(request: BatchRequest): Promise<BatchAcceptance>
  replayCounter: Pick<ReplayCounter, 'count'>
  backlog: Backlog
  clock: Pick<Clock, 'nowMs'>
  watcher: Watcher
  queue: Pick<SettlementQueue, 'backend' | 'count'>
  /** What clients call this server, without a slash at the end. */
  publicUrl: string
  /** The origins whose scripts may use the API from a browser; `*` is any. */
  corsOrigins: readonly string[]
  metricsToken?: string | undefined
  ledgerSecret?: string | undefined
  /** Networks that webhooks may reach although they are not public: see config.ts. */
  allowedNetworks: Networks
  hasDefaultSecret(tenantId: string): Promise<boolean>
  /** Whether the process is stopping: then connections are asked to close. */
  isStopping(): boolean
}

/** What middleware finds out about a request. */
export type Variables = {
  requestId: string
  owner: ApiKeyOwner
}

export type Env = { Variables: Variables }
