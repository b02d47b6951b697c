import type { EventType, NewEvent } from '../events/event.ts'
import type { LedgerFact } from '../ledger/apply.ts'
import type { SettledStatus } from './transfer.ts'

/** What an event keeps of a transfer: what later facts may change. All else its row tells for ever. */
export type TransferState = {
  status: SettledStatus
  captured_amount: number
  refunded_amount: number
}

/** How many events tell of a transfer by now, and where they are sent besides. */
export type EventRecord = { eventCount: number; callbackUrl: string | null }

/** How many of the facts are about each transfer, by its id. */
export function countFacts(facts: readonly LedgerFact[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { transfer } of facts) counts.set(transfer.id, (counts.get(transfer.id) ?? 0) + 1)
  return counts
}

/** The events of what happened, in order. `records` tells of every transfer what it has afterwards. */
export function transferEvents(
  facts: readonly LedgerFact[],
  records: ReadonlyMap<string, EventRecord>,
): NewEvent[] {
  const left = countFacts(facts)
  return facts.map(({ fact, transfer }) => {
    const { tenantId, id } = transfer
    const record = records.get(id)
    if (record === undefined) throw new Error(`transfer ${id} changed and has no record`)
    const stillToCome = (left.get(id) ?? 1) - 1
    left.set(id, stillToCome)
    return {
      tenantId,
      type: `transfer.${fact}` satisfies EventType,
      objectId: id,
      sequence: record.eventCount - stillToCome,
      state: stateOf(fact, transfer),
      callbackUrl: record.callbackUrl,
    }
  })
}

/** Most transfers are what their event's type says, and nothing was captured or refunded yet. */
function stateOf(
  fact: LedgerFact['fact'],
  { status, capturedAmount, refundedAmount }: LedgerFact['transfer'],
): string | null {
  if (status === fact && capturedAmount === 0n && refundedAmount === 0n) return null
  return JSON.stringify({
    status,
    captured_amount: Number(capturedAmount),
    refunded_amount: Number(refundedAmount),
  } satisfies TransferState)
}
