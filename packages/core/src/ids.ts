import { V7Generator } from 'uuidv7'

/** What stands before the uuid on the wire, so that an id tells what it names. */
export const idPrefixes = {
  account: 'acc',
  batch: 'tb',
  apiKey: 'ak',
  delivery: 'dlv',
  endpoint: 'we',
  event: 'evt',
  idempotencyKey: 'key',
  recovery: 'wr',
  request: 'req',
  transfer: 'tr',
} as const

export type IdKind = keyof typeof idPrefixes

/** Names one command everywhere inside. */
export type TransferRef = { tenantId: string; transferId: string }

/** Names a batch whose items are settled together, or one after the other. */
export type BatchRef = { tenantId: string; batchId: string }

/** Names what events are sent to. */
export type EndpointRef = { tenantId: string; endpointId: string }

/** All that a settlement job carries. */
export type JobRef = TransferRef | BatchRef

/** Makes time-ordered uuids (RFC 9562, version 7), rising within one process. */
export type NewId = () => string

/** `nowMs` gives the time in the id: see clock.ts. */
export function createIdGenerator(nowMs: () => number): NewId {
  const generator = new V7Generator()
  return () => generator.generateOrResetWithTs(nowMs()).toString()
}

/** The wire form of a stored uuid: `tr_` and 32 hex digits, which sorts as the uuid does. */
export function encodeId(kind: IdKind, uuid: string): string {
  return `${idPrefixes[kind]}_${uuid.replaceAll('-', '')}`
}

const wireForm =
  /^([a-z]+)_([0-9a-f]{8})([0-9a-f]{4})(7[0-9a-f]{3})([89ab][0-9a-f]{3})([0-9a-f]{12})$/

/** The stored uuid of a wire id, or undefined where `text` is no id of this kind. */
export function decodeId(kind: IdKind, text: string): string | undefined {
  const match = wireForm.exec(text)
  if (match === null || match[1] !== idPrefixes[kind]) return undefined
  return match.slice(2).join('-')
}

/** The smallest uuid of version 7 made at or after this time: a lower bound for ranges of ids. */
export function lowestIdAt(time: Date): string {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}
