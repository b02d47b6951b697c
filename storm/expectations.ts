import type { HistoryRecord } from './history.ts'

type Without<Record> = Record extends HistoryRecord ? Omit<Record, 'at'> : never
export type Noted = Without<HistoryRecord>

export type Expectations = {
  /** Looks at a record in the moment in which it is written, `nowMs` on any steady clock. */
  see(record: Noted, nowMs: number): void
}

/** Answers that clients may get in a storm. Whether a 404 was right is judged with the books. */
const allowed = new Set([200, 201, 202, 404, 409, 422, 429, 503])
/** F7: whatever Redis does, an API answers within 2 s and accepts. */
const answerWithinMs = 2_000
/** F6: nobody listens while a process is started anew; a balancer would ask the other one. */
const nobodyListens = /ECONNREFUSED/

/**
 * What a record tells by itself, without the books: table F says what clients may see while a fault
 * lasts. The checker judges everything else.
 */
export function createExpectations(find: (finding: string) => void): Expectations {
  const asked = new Map<number, { atMs: number; during: string | undefined }>()
  let during: string | undefined
  let beganAtMs = 0
  let accepted = 0

  function see(record: Noted, nowMs: number): void {
    switch (record.type) {
      case 'invoked':
        asked.set(record.call, { atMs: nowMs, during })
        return
      case 'answered': {
        const { tookMs, fault } = takeCall(record.call, nowMs)
        if (record.status === 202 && fault !== undefined) accepted += 1
        if (!allowed.has(record.status)) {
          find(`call ${record.call} was answered with ${record.status} ${record.code ?? ''}`)
        }
        if (isOf('F7', fault) && tookMs > answerWithinMs) {
          find(`${fault}: call ${record.call} was answered after ${Math.round(tookMs)} ms`)
        }
        return
      }
      case 'lost': {
        const { fault } = takeCall(record.call, nowMs)
        if (isOf('F6', during) && !nobodyListens.test(record.reason)) {
          find(`${during}: call ${record.call} was cut off (${record.reason})`)
        }
        if (isOf('F7', fault) && fault !== 'F7 down at boot') {
          find(`${fault}: call ${record.call} has no answer (${record.reason})`)
        }
        return
      }
      case 'fault':
        if (record.phase === 'end' && isOf('F7', during) && accepted === 0 && lasted(nowMs)) {
          find(`${during}: nothing was accepted`)
        }
        during = record.phase === 'begin' ? record.name : undefined
        accepted = 0
        beganAtMs = nowMs
        return
      case 'exited':
        if (record.isExpected) return
        find(`${record.process} ended by itself, with ${record.signal ?? record.code}`)
        return
      case 'snapshot':
      case 'webhook':
      case 'recovered':
      case 'gauge':
        return
    }
  }

  /** Long enough for an acceptance: some faults are over in a moment. */
  function lasted(nowMs: number): boolean {
    return nowMs - beganAtMs >= answerWithinMs
  }

  /** What a fault has done to a call may show when it is over: a call belongs to where it began. */
  function takeCall(call: number, nowMs: number): { tookMs: number; fault: string | undefined } {
    const { atMs, during } = asked.get(call) ?? { atMs: nowMs, during: undefined }
    asked.delete(call)
    return { tookMs: nowMs - atMs, fault: during }
  }

  return { see }
}

function isOf(row: string, fault: string | undefined): boolean {
  return fault?.startsWith(`${row} `) ?? false
}
