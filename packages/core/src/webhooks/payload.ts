import { eventIdOf, type StoredEvent } from '../events/event.ts'
import { encodeId } from '../ids.ts'
import { findAccounts, type Account, type AccountFacts } from '../ledger/account.ts'
import { viewAccount } from '../ledger/account-view.ts'
import { findBatchHeads } from '../transfers/batch.ts'
import { findSettled } from '../transfers/find.ts'
import { viewBatchHead, viewTransfer, type BatchHead } from '../transfers/transfer-view.ts'
import type { Queryable } from '../db/client.ts'
import type { BatchFacts } from '../transfers/batch-completion.ts'
import type { Transfer } from '../transfers/transfer.ts'
import type { TransferState } from '../transfers/transfer-event.ts'
import type { EndpointFacts } from './endpoint.ts'

/**
 * An event on the wire: in the feed and in every delivery the same bytes, whenever it is rendered.
 * What an object was like at that moment is what never changes of it and what the event kept.
 */
export type EventView = {
  id: string
  type: string
  timestamp: string
  /** Counts the events of the object in `data`: the higher one is the later one. */
  sequence: number
  data: Record<string, unknown>
}

/** 20,000 bytes: what every receiver and every queue behind it takes. */
export const MAX_EVENT_BYTES = 20_000

/** Renders events in their order; the objects that they tell of are read together. */
export async function renderEvents(
  db: Queryable,
  events: readonly StoredEvent[],
): Promise<EventView[]> {
  const about = (object: string) => {
    const found = events.filter(({ type }) => type.startsWith(`${object}.`))
    return [...new Map(found.map((event) => [event.objectId, event])).values()]
  }
  const objects: Objects = {
    transfers: byId(
      await findSettled(
        db,
        about('transfer').map(({ tenantId, objectId }) => ({ tenantId, transferId: objectId })),
      ),
    ),
    accounts: byId(await findAccounts(db, about('account').map(toRef))),
    batches: byId(await findBatchHeads(db, about('transfer_batch').map(toRef))),
  }
  return events.map((event) => {
    const data = readableDataOf(event, objects) ?? { object: event.type.split('.')[0] }
    return fitting({
      id: encodeId('event', eventIdOf(event)),
      type: event.type,
      timestamp: event.createdAt.toISOString(),
      sequence: event.sequence,
      data,
    })
  })
}

type Objects = {
  transfers: ReadonlyMap<string, Transfer>
  accounts: ReadonlyMap<string, Account>
  batches: ReadonlyMap<string, BatchHead>
}

function toRef({ tenantId, objectId }: StoredEvent): { tenantId: string; id: string } {
  return { tenantId, id: objectId }
}

function byId<T extends { id: string }>(objects: readonly T[]): Map<string, T> {
  return new Map(objects.map((object) => [object.id, object]))
}

/** An event that cannot be read must not keep those behind it from being sent. */
function readableDataOf(event: StoredEvent, objects: Objects): Record<string, unknown> | undefined {
  try {
    return dataOf(event, objects)
  } catch {
    return undefined
  }
}

function dataOf(event: StoredEvent, objects: Objects): Record<string, unknown> | undefined {
  const { objectId, type, state } = event
  const [object = '', fact] = type.split('.')
  switch (object) {
    case 'transfer': {
      const transfer = objects.transfers.get(objectId)
      return transfer && viewTransfer(asOfEvent(transfer, fact, state as TransferState | null))
    }
    case 'account': {
      const account = objects.accounts.get(objectId)
      return account && viewAccount(withFacts(account, state as AccountFacts))
    }
    case 'transfer_batch': {
      const batch = objects.batches.get(objectId)
      return batch && { ...viewBatchHead(batch), ...(state as BatchFacts) }
    }
    case 'webhook_endpoint':
      return {
        id: encodeId('endpoint', objectId),
        object: 'webhook_endpoint',
        ...(state as EndpointFacts),
      }
    default:
      // Only a newer version can tell more of it.
      return undefined
  }
}

function asOfEvent(
  transfer: Transfer,
  fact: string | undefined,
  state: TransferState | null,
): Transfer {
  return {
    ...transfer,
    status: state?.status ?? (fact as Transfer['status']),
    capturedAmount: BigInt(state?.captured_amount ?? 0),
    refundedAmount: BigInt(state?.refunded_amount ?? 0),
  }
}

function withFacts(account: Account, facts: AccountFacts): Account {
  return {
    ...account,
    status: facts.status,
    name: facts.name,
    balance: BigInt(facts.balance),
    held: BigInt(facts.held),
    overdraftLimit: BigInt(facts.overdraft_limit),
    version: BigInt(facts.version),
    metadata: facts.metadata,
  }
}

/** What does not fit is left out, member by member, and named: the object itself has it. */
function fitting(event: EventView): EventView {
  const omitted: string[] = []
  let data = event.data
  for (const member of ['metadata', 'legs', 'description']) {
    if (Buffer.byteLength(JSON.stringify({ ...event, data })) < MAX_EVENT_BYTES) break
    if (!(member in data)) continue
    const { [member]: _, ...rest } = data
    omitted.push(member)
    data = { ...rest, omitted }
  }
  return { ...event, data }
}
