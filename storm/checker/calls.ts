import { decodeId } from '@payonce/core/ids'
import type { Answered, HistoryRecord, Lost, Operation } from '../history.ts'

/**
 * One request with what became of it. Its moments are places in the history, whose order is that of
 * one clock: what was answered at a smaller place than another was invoked at came before it.
 */
export type Call = {
  call: number
  client: string
  tenant: string
  operation: Operation
  invokedPlace: number
  /** Infinity where there was no answer. */
  answeredPlace: number
  answer: Answered | undefined
  lost: Lost | undefined
}

export type Post = Call & { operation: Operation & { kind: 'post' } }

/** Joins each request with its answer. A request without any is one that nobody knows the end of. */
export function readCalls(history: readonly HistoryRecord[]): Call[] {
  const calls = new Map<number, Call>()
  history.forEach((record, place) => {
    if (record.type === 'invoked') {
      const { call, client, tenant, operation } = record
      const unanswered = { answeredPlace: Infinity, answer: undefined, lost: undefined }
      calls.set(call, { call, client, tenant, operation, invokedPlace: place, ...unanswered })
    } else if (record.type === 'answered') {
      Object.assign(calls.get(record.call) ?? {}, { answer: record, answeredPlace: place })
    } else if (record.type === 'lost') {
      Object.assign(calls.get(record.call) ?? {}, { lost: record })
    }
  })
  return [...calls.values()]
}

export function isPost(call: Call): call is Post {
  return call.operation.kind === 'post'
}

/** A key among those of all tenants. No UUID has a slash in it. */
export function keyName(tenantId: string, idempotencyKey: string): string {
  return `${tenantId}/${idempotencyKey}`
}

/** Told that the request is accepted, now or before. */
export function isAccepted({ answer }: Call): boolean {
  return answer !== undefined && (answer.status === 202 || answer.status === 200)
}

/** Codes that promise nothing: the request may be carried out all the same. */
const isOpenEnded = (status: number) => status >= 500 || status === 408

/**
 * Told for certain that the request has no effect. A `503` is none of these, since the answer to a
 * commit may have been lost; nor is a key in flight, which belongs to a twin.
 */
export function isRefused({ answer }: Call): boolean {
  if (answer === undefined || answer.status < 400 || isOpenEnded(answer.status)) return false
  return answer.code !== 'idempotency_in_flight'
}

/** The stored id of a transfer that an operation names, or an answer gives. */
export function transferIdOf(wireId: string | undefined): string | undefined {
  return wireId === undefined ? undefined : decodeId('transfer', wireId)
}

/** The transfer that a call is about: what was asked for, or what was answered. */
export function subjectOf({ operation, answer }: Call): string | undefined {
  return transferIdOf(operation.kind === 'post' ? answer?.id : operation.target)
}

/** What a client was told about a transfer, as it was somewhere between two places. */
export type Sighting = {
  id: string
  status: string
  invokedPlace: number
  answeredPlace: number
  client: string
  call: number
}

/** Everything that clients were told about the status of transfers: by reads, cancels, and replays. */
export function sightingsOf(calls: readonly Call[]): Sighting[] {
  return calls.flatMap((call) => {
    const { operation, answer, invokedPlace, answeredPlace, client } = call
    if (answer === undefined || answer.status >= 300) return []
    const id = operation.kind === 'read' ? transferIdOf(operation.target) : subjectOf(call)
    const isPlain202 = operation.kind === 'post' && answer.status === 202
    const status = isPlain202 ? answer.payonceStatus : answer.transferStatus
    if (id === undefined || status === undefined) return []
    return [{ id, status, invokedPlace, answeredPlace, client, call: call.call }]
  })
}

const unsettled: ReadonlySet<string> = new Set(['scheduled', 'queued'])

export function isSettledStatus(status: string): boolean {
  return !unsettled.has(status)
}

export function isTerminalStatus(status: string): boolean {
  return isSettledStatus(status) && status !== 'held'
}
