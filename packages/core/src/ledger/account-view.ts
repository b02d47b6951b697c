import { encodeId } from '../ids.ts'
import { canonicalMetadata } from '../metadata.ts'
import type { Account } from './account.ts'

/** An account on the wire. Its members stand in a fixed order: see transfer-view.ts. */
export function viewAccount(account: Account) {
  return {
    id: encodeId('account', account.id),
    object: 'account',
    kind: account.kind,
    currency: account.currency,
    status: account.status,
    name: account.name,
    reference: account.reference,
    balance: Number(account.balance),
    held: Number(account.held),
    available: Number(account.balance - account.held),
    overdraft_limit: Number(account.overdraftLimit),
    version: Number(account.version),
    metadata: canonicalMetadata(account.metadata),
    created_at: account.createdAt.toISOString(),
  }
}
