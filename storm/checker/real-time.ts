import { isSettledStatus, sightingsOf } from './calls.ts'
import { chainsOf, nameOf, placeSteps, rankOf, type Placed } from './placements.ts'
import type { Evidence } from './evidence.ts'
import type { Report } from './finding.ts'

/**
 * 11: where A was seen settled before B was asked for, A stands before B in the chain of every
 * account that both touch. One walk per account, from its end: the earliest moment at which anything
 * later in the chain was seen must not lie before the request of what comes earlier.
 */
export function checkRealTime(evidence: Evidence, report: Report): void {
  const seen = firstSeen(evidence)
  const asked = firstAsked(evidence)
  for (const [account, chain] of chainsOf(placeSteps(evidence))) {
    const moments = chain.map((placed) => momentsOf(placed, seen, asked))
    const firstOfAll = moments.reduce((least, one) => Math.min(least, one.seenPlace), Infinity)
    report.saw(moments.filter(({ askedPlace }) => askedPlace > firstOfAll).length)
    walkBack(account, moments, report)
  }
}

type Moments = { placed: Placed; seenPlace: number; askedPlace: number }

function walkBack(account: string, moments: readonly Moments[], report: Report): void {
  let laterSeen: Moments | undefined
  for (let end = moments.length; end > 0;) {
    let begin = end - 1
    while (begin > 0 && isSameRank(moments[begin - 1], moments[end - 1])) begin -= 1
    const group = moments.slice(begin, end)
    for (const one of group) {
      if (laterSeen === undefined || laterSeen.seenPlace >= one.askedPlace) continue
      report.breach(
        `account ${account}`,
        `${nameOf(laterSeen.placed.step)} was seen settled before ${nameOf(one.placed.step)} was asked for, and stands after it: versions ${laterSeen.placed.placement.version} and ${one.placed.placement.version}`,
      )
    }
    for (const one of group) {
      if (laterSeen === undefined || one.seenPlace < laterSeen.seenPlace) laterSeen = one
    }
    end = begin
  }
}

function isSameRank(a: Moments | undefined, b: Moments | undefined): boolean {
  return (
    a !== undefined && b !== undefined && rankOf(a.placed.placement) === rankOf(b.placed.placement)
  )
}

/** What nobody asked for, or nobody saw, is bound to no order. */
function momentsOf(
  placed: Placed,
  seen: ReadonlyMap<string, number>,
  asked: ReadonlyMap<string, number>,
): Moments {
  const { cause } = placed.step
  const id = cause.type === 'transfer' ? cause.transfer.id : ''
  return { placed, seenPlace: seen.get(id) ?? Infinity, askedPlace: asked.get(id) ?? -Infinity }
}

/** The place of the first answer that told a transfer settled. */
function firstSeen({ calls }: Evidence): Map<string, number> {
  const seen = new Map<string, number>()
  for (const { id, status, answeredPlace } of sightingsOf(calls)) {
    if (!isSettledStatus(status)) continue
    seen.set(id, Math.min(seen.get(id) ?? Infinity, answeredPlace))
  }
  return seen
}

/** The place at which a key was first sent. */
function firstAsked({ posts, keys }: Evidence): Map<string, number> {
  const asked = new Map<string, number>()
  for (const [name, calls] of posts) {
    const id = keys.get(name)?.resourceId
    const first = calls.reduce((least, call) => Math.min(least, call.invokedPlace), Infinity)
    if (id !== undefined) asked.set(id, first)
  }
  return asked
}
