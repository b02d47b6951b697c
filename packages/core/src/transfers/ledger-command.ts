import {
  expiryOf,
  type AcceptedCommand,
  type CurrencyLeg,
  type TransferCommand,
} from './transfer.ts'
import type { LedgerCommand } from '../ledger/apply.ts'
import type { Leg } from '../ledger/books.ts'

/** The part of an accepted command that the ledger judges. */
export function toLedgerCommand(accepted: AcceptedCommand): LedgerCommand {
  const { tenantId, id, command } = accepted
  const expiry = expiryOf(accepted)
  const base = { tenantId, id, executeBefore: expiry }
  switch (command.kind) {
    case 'transfer': {
      const { condition, retryFundsUntil } = command
      return { ...base, kind: 'transfer', legs: legsOf(accepted), condition, retryFundsUntil }
    }
    case 'hold': {
      const [leg] = legsOf(accepted)
      if (leg === undefined || expiry === null) throw new Error(`hold ${id} is incomplete`)
      const { condition, retryFundsUntil } = command
      return { ...base, kind: 'hold', leg, condition, retryFundsUntil, holdUntil: expiry }
    }
    case 'capture': {
      const { amount, isFinal } = command
      return { ...base, kind: 'capture', parentId: parentOf(accepted), amount, isFinal }
    }
    case 'release':
      return { ...base, kind: 'release', parentId: parentOf(accepted) }
    case 'refund':
      return { ...base, kind: 'refund', parentId: parentOf(accepted), amount: command.amount }
  }
}

function parentOf({ id, command }: AcceptedCommand): string {
  if (command.parentId === null) throw new Error(`${command.kind} ${id} has no parent`)
  return command.parentId
}

function legsOf({ id, command }: AcceptedCommand): readonly Leg[] {
  if (command.legs !== null) return command.legs
  const leg = singleLeg(command)
  if (leg === undefined) throw new Error(`transfer ${id} is incomplete`)
  return [leg]
}

/** The one leg of a command or transfer without several; undefined where its amount is not said. */
export function singleLeg({
  source,
  destination,
  amount,
  currency,
}: Pick<TransferCommand, 'source' | 'destination' | 'amount' | 'currency'>):
  | CurrencyLeg
  | undefined {
  if (source === null || destination === null || amount === null || currency === null) {
    return undefined
  }
  return { source, destination, amount, currency }
}
