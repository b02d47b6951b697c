import { isDeepStrictEqual } from 'node:util'
import type { Answer } from './client.ts'

/** The server did something else than a row expects; the message says what was seen. */
export class Deviation extends Error {
  override name = 'Deviation'
}

export function expectThat(isSo: boolean, seen: string): asserts isSo {
  if (!isSo) throw new Deviation(seen)
}

export function expectEqual(what: string, seen: unknown, wanted: unknown): void {
  if (isDeepStrictEqual(seen, wanted)) return
  throw new Deviation(`${what}: ${show(seen)} instead of ${show(wanted)}`)
}

export function expectStatus(what: string, answer: Answer, status: number): void {
  if (answer.status === status) return
  throw new Deviation(`${what}: ${answer.describe()} instead of ${status}`)
}

export function expectProblem(what: string, answer: Answer, status: number, code: string): void {
  if (answer.status === status && answer.code === code) {
    expectEqual(`${what}: its content type`, mediaType(answer), 'application/problem+json')
    return
  }
  throw new Deviation(`${what}: ${answer.describe()} instead of ${status} ${code}`)
}

/** Also where nothing can be compared, a refusal is never marked as a replay of one. */
export function expectUnmarked(what: string, answer: Answer): void {
  expectEqual(`${what}: its replay marker`, answer.header('idempotent-replayed'), undefined)
}

function mediaType(answer: Answer): string | undefined {
  return answer.header('content-type')?.split(';')[0]?.trim()
}

/** 120 characters: enough of a body to tell what is wrong with it. */
function show(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value)
  return text.length <= 120 ? text : `${text.slice(0, 120)}…`
}
