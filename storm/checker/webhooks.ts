import { decodeId, encodeId } from '@payonce/core/ids'
import { isTerminalStatus } from './calls.ts'
import { groupBy, type Evidence } from './evidence.ts'
import type { BookedEndpoint, BookedEvent, Books } from '../books.ts'
import type { WebhookReceived } from '../history.ts'
import type { Report } from './finding.ts'

/**
 * 13: what happened to a transfer is told by an event, and reached every healthy endpoint at least
 * once: under one id, in the same bytes, with a valid signature, and without a contradiction.
 */
export function checkWebhooks(evidence: Evidence, report: Report): void {
  const received = evidence.history.filter((record) => record.type === 'webhook')
  checkEvents(evidence, report)
  checkReceived(evidence, received, report)
  checkReached(evidence, received, report)
}

const ends: ReadonlySet<string> = new Set(
  ['succeeded', 'failed', 'canceled', 'expired', 'released'].map((status) => `transfer.${status}`),
)

function checkEvents({ books }: Evidence, report: Report): void {
  const byTransfer = groupBy(books.events, ({ objectId }) => objectId)
  for (const { id, status } of books.transfers) {
    const events = byTransfer.get(id) ?? []
    const types = events.map(({ type }) => type)
    const terminal = types.filter((type) => ends.has(type))
    const isTold = types.includes(`transfer.${status}`)
    const where = `transfer ${id}, ${status}`
    if (!isTold) report.breach(where, `no event tells it, only: ${types.join(', ') || 'none'}`)
    const sequences = events.map(({ sequence }) => sequence).toSorted((a, b) => a - b)
    if (sequences.some((sequence, index) => sequence !== index + 1)) {
      report.breach(where, `its events are not numbered without a gap: ${sequences.join(', ')}`)
    }
    if (terminal.length > (isTerminalStatus(status) ? 1 : 0)) {
      report.breach(where, `several ends are told: ${terminal.join(', ')}`)
    }
  }
}

function checkReceived(
  { books }: Evidence,
  received: readonly WebhookReceived[],
  report: Report,
): void {
  const events = new Map(books.events.map((event) => [event.id, event]))
  const bodies = new Map<string, string>()
  for (const webhook of received) {
    const { eventId, bodyHash, endpoint } = webhook
    const where = `event ${eventId} at endpoint ${endpoint}`
    if (!webhook.isSignatureValid) report.breach(where, 'its signature is not valid')
    const first = bodies.get(eventId)
    if (first !== undefined && first !== bodyHash)
      report.breach(where, 'sent in other bytes before')
    bodies.set(eventId, first ?? bodyHash)
    const event = events.get(eventId)
    if (event === undefined) report.breach(where, 'the books have no event with this id')
    else checkContent(where, webhook, event, report)
  }
}

function checkContent(
  where: string,
  { eventType, objectId, objectStatus }: WebhookReceived,
  event: BookedEvent,
  report: Report,
): void {
  if (eventType !== event.type) report.breach(where, `sent as ${eventType}, it is ${event.type}`)
  if (!event.type.startsWith('transfer.')) return
  const told = objectId === undefined ? undefined : decodeId('transfer', objectId)
  if (told !== event.objectId) report.breach(where, `about ${told}, it is about ${event.objectId}`)
  const expected = statusAt(event)
  if (objectStatus !== expected) {
    report.breach(where, `${event.type} says status ${objectStatus}, expected ${expected}`)
  }
}

/** The status that a transfer had right after an event. */
function statusAt({ type, state }: BookedEvent): string {
  const { status } = (state ?? {}) as { status?: string }
  return status ?? type.slice('transfer.'.length)
}

function checkReached(
  { books }: Evidence,
  received: readonly WebhookReceived[],
  report: Report,
): void {
  const reached = new Set(received.map(({ eventId, endpoint }) => `${eventId} ${endpoint}`))
  const bad = new Set(received.flatMap(({ mode, endpoint }) => (mode === 'bad' ? [endpoint] : [])))
  const byTenant = groupBy(books.events, ({ tenantId }) => tenantId)
  for (const endpoint of books.endpoints) {
    const wireId = encodeId('endpoint', endpoint.id)
    // One that was disabled although it never behaved badly is healthy: it should not have been.
    if (endpoint.status === 'deleted' || bad.has(wireId)) continue
    for (const event of byTenant.get(endpoint.tenantId) ?? []) {
      if (!isWanted(event, endpoint)) continue
      report.saw()
      if (reached.has(`${event.id} ${wireId}`)) continue
      const where = `event ${event.id} (${event.type} of ${event.objectId})`
      report.breach(where, `it never reached endpoint ${wireId}`)
    }
  }
  checkDelivered(books, reached, report)
}

/** An event from before an endpoint was set up is none that it has to get. */
function isWanted({ type, createdAtMs }: BookedEvent, endpoint: BookedEndpoint): boolean {
  const { eventTypes } = endpoint
  if (!type.startsWith('transfer.') || createdAtMs < endpoint.createdAtMs) return false
  return eventTypes === null || eventTypes.includes(type)
}

/** Also at a bad endpoint nothing counts as delivered that never came. */
function checkDelivered(books: Books, reached: ReadonlySet<string>, report: Report): void {
  const events = new Map(books.events.map((event) => [event.position, event]))
  const known = new Set(books.endpoints.map(({ id }) => id))
  for (const { endpointId, eventPosition, status } of books.deliveries) {
    const event = events.get(eventPosition)
    if (status !== 'succeeded' || event === undefined || !known.has(endpointId)) continue
    const wireId = encodeId('endpoint', endpointId)
    if (reached.has(`${event.id} ${wireId}`)) continue
    report.breach(`event ${event.id} at endpoint ${wireId}`, 'noted as delivered, and never came')
  }
}
