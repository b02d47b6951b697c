import { columnOf } from '../db/parameters.ts'
import type { Tx } from '../db/client.ts'

/** Every type of event: a fact in the past tense, about the object that is named first. */
export const eventTypes = [
  'transfer.succeeded',
  'transfer.failed',
  'transfer.canceled',
  'transfer.expired',
  'transfer.held',
  'transfer.captured',
  'transfer.released',
  'transfer.refunded',
  'transfer_batch.completed',
  'account.created',
  'account.updated',
  'webhook_endpoint.disabled',
  'webhook_endpoint.tested',
] as const

export type EventType = (typeof eventTypes)[number]

/** A fact to be recorded. */
export type NewEvent = {
  tenantId: string
  type: EventType
  objectId: string
  /** Counts the events of the object. */
  sequence: number
  /** What the object was like, where its row does not tell for ever. JSON. */
  state: string | null
  callbackUrl: string | null
}

/** A fact as it was recorded. Its id is `eventIdOf` its time and position. */
export type StoredEvent = Omit<NewEvent, 'type' | 'state'> & {
  /** As it was written: a type that this version does not know was written by a newer one. */
  type: string
  position: bigint
  state: unknown
  createdAt: Date
}

/**
 * Records events in their order, in the transaction of their cause. Call it after the locks, so that
 * the positions order what happened to one object, and after another write of the same transaction,
 * so that readers of the feed know of the transaction before it takes a position (see feed.ts).
 */
export async function recordEvents(
  tx: Tx,
  recorded: readonly NewEvent[],
  createdAt: Date,
): Promise<void> {
  if (recorded.length === 0) return
  const column = <K extends keyof NewEvent>(name: K) => columnOf(recorded, (event) => event[name])
  await tx.query(
    `INSERT INTO events (tenant_id, type, object_id, sequence, state, callback_url, created_at)
     SELECT tenant_id, type, object_id, sequence, state::json, callback_url, $7
       FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::integer[], $5::text[], $6::text[])
         AS recorded (tenant_id, type, object_id, sequence, state, callback_url)`,
    [
      column('tenantId'),
      column('type'),
      column('objectId'),
      column('sequence'),
      column('state'),
      column('callbackUrl'),
      createdAt,
    ],
  )
}

/*
 * The id of an event is a uuid of version 7 (RFC 9562) made of what is stored anyway: its time, and
 * its position in the 62 bits that are random elsewhere. So it needs no column and no index of its own.
 */

const positionBits = 62n
const variant = 0b10n

/** The id of an event: the same for ever, since neither its time nor its position changes. */
export function eventIdOf({ createdAt, position }: Pick<StoredEvent, 'createdAt' | 'position'>) {
  const time = createdAt.getTime().toString(16).padStart(12, '0')
  const tail = ((variant << positionBits) | position).toString(16).padStart(16, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-${tail.slice(0, 4)}-${tail.slice(4)}`
}

/** The position that an event's id carries. */
export function positionOf(eventId: string): bigint {
  const tail = BigInt(`0x${eventId.replaceAll('-', '').slice(16)}`)
  return tail & ((1n << positionBits) - 1n)
}
