import { accountOperations } from './operations/accounts.ts'
import { documentationOperations } from './operations/documentation.ts'
import { eventOperations } from './operations/events.ts'
import { idempotencyKeyOperations } from './operations/idempotency-keys.ts'
import { serviceOperations } from './operations/service.ts'
import { transferBatchOperations } from './operations/transfer-batches.ts'
import { transferOperations } from './operations/transfers.ts'
import { trialBalanceOperations } from './operations/trial-balance.ts'
import { webhookOperations } from './operations/webhooks.ts'
import type { Operation } from './operation.ts'

/** Every route of the API, in the order in which people read about them. */
export const operations: readonly Operation[] = [
  ...transferOperations,
  ...transferBatchOperations,
  ...accountOperations,
  ...eventOperations,
  ...webhookOperations,
  ...idempotencyKeyOperations,
  ...trialBalanceOperations,
  ...serviceOperations,
  ...documentationOperations,
]
