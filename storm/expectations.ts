import type { HistoryRecord } from './history.ts'

type Without<Record> = Record extends HistoryRecord ? Omit<Record, 'at'> : never
export type Noted = Without<HistoryRecord>

export type Expectations = {
  /** Looks at a record in the moment in which it is written, `nowMs` on any steady clock. */
  see(record: Noted, nowMs: number): void
}

/** Answers that clients may get in a storm. A 404 is none of them: they ask for what they know. */
const allowed = new Set([200, 201, 202, 409, 422, 429, 503])
/** F7: whatever Redis does, an API answers within 2 s and accepts. */
const answerWithinMs = 2_000
/** F6: nobody listens while a process is started anew; a balancer would ask the other one. */
const nobodyListens = /ECONNREFUSED/

/**
 * What a record tells by itself, without the books: table F says what clients may see while a fault
 * lasts. The checker judges everything else.
 */
export function createExpectations(find: (finding: string) => void): Expectations {
  const asked = new Map<number, number>()
  let during: string | undefined
  let beganAtMs = 0
  let accepted = 0

  function see(record: Noted, nowMs: number): void {
    switch (record.type) {
      case 'invoked':
        asked.set(record.call, nowMs)
        return
      case 'answered': {
        const tookMs = takeCall(record.call, nowMs)
        if (record.status === 202) accepted += 1
        if (!allowed.has(record.status)) {
          find(`call ${record.call} was answered with ${record.status} ${record.code ?? ''}`)
        }
        if (isRow('F7') && tookMs > answerWithinMs) {
          find(`${during}: call ${record.call} was answered after ${Math.round(tookMs)} ms`)
        }
        return
      }
      case 'lost':
        takeCall(record.call, nowMs)
        if (isRow('F6') && !nobodyListens.test(record.reason)) {
          find(`${during}: call ${record.call} was cut off (${record.reason})`)
        }
        if (isRow('F7') && during !== 'F7 down at boot') {
          find(`${during}: call ${record.call} has no answer (${record.reason})`)
        }
        return
      case 'fault':
        if (record.phase === 'end' && isRow('F7') && accepted === 0 && lasted(nowMs)) {
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

  function isRow(row: string): boolean {
    return during?.startsWith(`${row} `) ?? false
  }

  /** Long enough for an acceptance: some faults are over in a moment. */
  function lasted(nowMs: number): boolean {
    return nowMs - beganAtMs >= answerWithinMs
  }

  function takeCall(call: number, nowMs: number): number {
    const askedAtMs = asked.get(call) ?? nowMs
    asked.delete(call)
    return nowMs - askedAtMs
  }

  return { see }
}
