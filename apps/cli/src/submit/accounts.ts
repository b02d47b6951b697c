import { accountName, accountReference, type AccountIdentity } from './keys.ts'
import type { Account, AccountKind, Payonce, Refusal } from './payonce.ts'

/**
 * Opens each account once per run, or finds it where an earlier run opened it. It remembers the
 * `maxAccounts` used last, so that memory stays bounded; one that was forgotten is asked for
 * again under the same key, and the answer is the same account.
 */
export function createAccountBook({
  payonce,
  currency,
  kinds,
  maxAccounts = MAX_ACCOUNTS,
}: AccountBookOptions): AccountBook {
  const opened = new Map<string, Promise<Account | Refusal>>()

  return {
    open(identity) {
      const reference = accountReference(identity, currency)
      const known = opened.get(reference)
      const account =
        known ??
        payonce.openAccount({
          currency,
          kind: kinds[identity.role],
          name: accountName(identity),
          reference,
        })
      // A map keeps the order of insertion: what was used last goes to the end.
      opened.delete(reference)
      opened.set(reference, account)
      if (opened.size > maxAccounts) opened.delete(opened.keys().next().value ?? reference)
      return account
    },
  }
}

export type AccountBook = { open(identity: AccountIdentity): Promise<Account | Refusal> }

export type AccountBookOptions = {
  payonce: Payonce
  currency: string
  kinds: Record<AccountIdentity['role'], AccountKind>
  maxAccounts?: number
}

// About 300 bytes each, 30 MB in all.
const MAX_ACCOUNTS = 100_000
