import { applyAtomically, applyCommands } from '../ledger/apply.ts'
import { toLedgerCommand } from './ledger-command.ts'
import { readAccounts, readParents } from './lock.ts'
import {
  accountsOf,
  acceptedTransfer,
  expiryOf,
  type AcceptedCommand,
  type Transfer,
} from './transfer.ts'
import type { Queryable } from '../db/client.ts'
import type { AccountState } from '../ledger/books.ts'

export type DryRun = {
  /** The transfers as they would be, in the order of the commands. */
  transfers: Transfer[]
  /** The accounts that would change, as they would be. */
  accounts: AccountState[]
}

/**
 * What commands would do now, all or none where they are `isAtomic`. Writes nothing and takes no
 * lock, so that what is settled in the meantime may change the outcome.
 */
export async function dryRun(
  db: Queryable,
  commands: readonly AcceptedCommand[],
  options: { isAtomic: boolean; now: Date },
): Promise<DryRun> {
  const wanted = commands.map(({ tenantId, command }) => ({
    tenantId,
    accounts: accountsOf(command),
  }))
  const parents = commands.flatMap(({ tenantId, command: { parentId } }) =>
    parentId === null ? [] : [{ tenantId, transferId: parentId }],
  )
  const input = {
    accounts: await readAccounts(db, wanted),
    parents: await readParents(db, parents),
    commands: commands.map(toLedgerCommand),
    now: options.now,
  }
  const result = options.isAtomic ? applyAtomically(input) : applyCommands(input)
  const transfers = commands.map((accepted, index): Transfer => {
    const outcome = result.outcomes[index]
    const status = outcome?.status ?? 'deferred'
    const isDecided = status !== 'deferred'
    return {
      ...acceptedTransfer(accepted),
      expiresAt: expiryOf(accepted),
      status: isDecided ? status : 'queued',
      amount: outcome?.amount ?? accepted.command.amount,
      failureCode: isDecided ? (outcome?.failureCode ?? null) : null,
      settledAt: isDecided ? result.settledAt : null,
    }
  })
  return { transfers, accounts: result.changed }
}
