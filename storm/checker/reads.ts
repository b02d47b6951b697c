import {
  isAccepted,
  isPost,
  isSettledStatus,
  isTerminalStatus,
  sightingsOf,
  subjectOf,
  transferIdOf,
  type Sighting,
} from './calls.ts'
import { groupBy, type Evidence } from './evidence.ts'
import type { Report } from './finding.ts'

/**
 * 9: what clients are told of a transfer never goes backwards, and a terminal status is the one in
 * the books. Holds across clients too: what one was told before another asked, the other sees.
 */
export function checkMonotony({ calls, transfers }: Evidence, report: Report): void {
  for (const [id, sightings] of groupBy(sightingsOf(calls), (sighting) => sighting.id)) {
    report.saw(sightings.length)
    checkOrder(id, sightings, report)
    const booked = transfers.get(id)?.status
    if (booked === undefined) continue
    const wasNeverHeld = booked === 'failed' || booked === 'canceled'
    for (const { status, call } of sightings) {
      const isOther = isTerminalStatus(status) && status !== booked
      if (!isOther && !(status === 'held' && wasNeverHeld)) continue
      report.breach(`transfer ${id}`, `call ${call} saw it ${status}, the books say ${booked}`)
    }
  }
}

/** Walks asking and answering in the order of time: each asks under what was answered before. */
function checkOrder(id: string, sightings: readonly Sighting[], report: Report): void {
  const asked = sightings.toSorted((a, b) => a.invokedPlace - b.invokedPlace)
  const answered = sightings.toSorted((a, b) => a.answeredPlace - b.answeredPlace)
  let furthest: Sighting | undefined
  let next = 0
  for (const sighting of asked) {
    for (; next < answered.length; next += 1) {
      const earlier = answered[next]
      if (earlier === undefined || earlier.answeredPlace > sighting.invokedPlace) break
      if (furthest === undefined || stageOf(earlier) > stageOf(furthest)) furthest = earlier
    }
    if (furthest === undefined) continue
    const isBack = stageOf(sighting) < stageOf(furthest)
    const isOther = isTerminalStatus(furthest.status) && sighting.status !== furthest.status
    if (!isBack && !isOther) continue
    report.breach(
      `transfer ${id}`,
      `client ${sighting.client} saw it ${sighting.status} (call ${sighting.call}) after client ${furthest.client} saw it ${furthest.status} (call ${furthest.call})`,
    )
  }
}

function stageOf({ status }: Sighting): number {
  if (status === 'scheduled') return 0
  if (!isSettledStatus(status)) return 1
  return isTerminalStatus(status) ? 3 : 2
}

/** 12: what was accepted can be read. */
export function checkReadability({ calls }: Evidence, report: Report): void {
  const acceptedAt = new Map<string, { place: number; tenant: string }>()
  for (const call of calls) {
    const id = isPost(call) && isAccepted(call) ? transferIdOf(call.answer?.id) : undefined
    if (id === undefined) continue
    const known = acceptedAt.get(id)
    if (known === undefined || call.answeredPlace < known.place) {
      acceptedAt.set(id, { place: call.answeredPlace, tenant: call.tenant })
    }
  }
  for (const call of calls) {
    if (call.operation.kind !== 'read' || call.answer === undefined) continue
    const id = subjectOf(call)
    const accepted = acceptedAt.get(id ?? '')
    if (accepted === undefined || accepted.tenant !== call.tenant) continue
    if (accepted.place > call.invokedPlace) continue
    report.saw()
    if (call.answer.status !== 404) continue
    report.breach(`transfer ${id}`, `call ${call.call} read 404 after it had been accepted`)
  }
}
