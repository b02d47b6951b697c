import { checkBodies, checkDurability, checkOneEffect, checkRefusals } from './acceptance.ts'
import { isAccepted, isPost } from './calls.ts'
import { checkChains, checkLimits } from './chains.ts'
import { checkBalances, checkConservation, checkPairs } from './conservation.ts'
import {
  checkDemands,
  isAllowedStatus,
  readExits,
  readFaults,
  type FaultReport,
  type RecoveryLimits,
} from './demands.ts'
import { gatherEvidence, type Evidence } from './evidence.ts'
import { collect, type Finding, type Report } from './finding.ts'
import { checkMonotony, checkReadability } from './reads.ts'
import { checkRealTime } from './real-time.ts'
import { checkReplay } from './replay.ts'
import { checkTenants } from './tenants.ts'
import { checkWebhooks } from './webhooks.ts'
import type { Counts, Verdict } from './verdict.ts'
import type { Books } from '../books.ts'
import type { HistoryRecord } from '../history.ts'

export type Expectations = {
  /** Invariants that this storm does not exercise, as 13 where nobody receives webhooks. */
  unexercised?: readonly number[]
  /** How long recoveries may take. */
  recoveryLimitsMs?: RecoveryLimits
}

type Invariant = {
  invariant: number
  title: string
  look: (evidence: Evidence, report: Report) => void
}

/** Numbered as in the list of what must hold after every fault. */
const invariants: readonly Invariant[] = [
  { invariant: 1, title: 'Balances sum to zero in every read', look: checkConservation },
  { invariant: 2, title: 'Two entries per leg, none for what was refused', look: checkPairs },
  { invariant: 3, title: 'Everything accepted is stored and settled', look: checkDurability },
  { invariant: 4, title: 'One transfer per key, one id in all answers', look: checkOneEffect },
  { invariant: 5, title: 'Never carried out with another body', look: checkBodies },
  { invariant: 6, title: 'A balance is the sum of its entries', look: checkBalances },
  { invariant: 7, title: 'Chains without a gap', look: checkChains },
  { invariant: 8, title: 'Never below the limit, at any step', look: checkLimits },
  { invariant: 9, title: 'Status never goes backwards', look: checkMonotony },
  { invariant: 10, title: 'Outcomes agree with a single-threaded model', look: checkReplay },
  { invariant: 11, title: 'Chains agree with real time', look: checkRealTime },
  { invariant: 12, title: 'What was accepted can be read', look: checkReadability },
  { invariant: 13, title: 'Events reach every healthy endpoint', look: checkWebhooks },
  { invariant: 14, title: 'What was refused has no effect', look: checkRefusals },
  { invariant: 15, title: 'Nothing of one tenant for another', look: checkTenants },
]

/**
 * Judges a storm by what its observers wrote down and what stands in the books afterwards. Pure, and
 * no more than a sort above linear. An invariant that looked at nothing while there was load does not
 * hold: it is reported as not exercised, unless that was expected.
 */
export function check(
  history: readonly HistoryRecord[],
  books: Books,
  expectations: Expectations = {},
): Verdict {
  const evidence = gatherEvidence(history, books)
  const faults = readFaults(evidence, expectations.recoveryLimitsMs ?? {})
  const findings = [
    collect({ invariant: 0, title: 'Answers, exits and recoveries' }, (report) =>
      checkDemands(evidence, faults, report),
    ),
    ...invariants.map(({ look, ...named }) => collect(named, (report) => look(evidence, report))),
  ]
  const notExercised = findNotExercised(evidence, findings, expectations)
  return {
    isGood: notExercised.length === 0 && findings.every(({ count }) => count === 0),
    counts: count(evidence, faults),
    findings,
    notExercised,
    faults,
    exits: readExits(evidence),
  }
}

function findNotExercised(
  { calls }: Evidence,
  findings: readonly Finding[],
  { unexercised = [] }: Expectations,
): number[] {
  if (calls.length === 0) return []
  return findings
    .filter(({ facts, invariant }) => facts === 0 && !unexercised.includes(invariant))
    .map(({ invariant }) => invariant)
}

function count(evidence: Evidence, faults: readonly FaultReport[]): Counts {
  const { calls, posts, books } = evidence
  const answered = calls.filter(({ answer }) => answer !== undefined)
  const statuses: Record<string, number> = {}
  for (const { answer } of answered) {
    const status = String(answer?.status)
    statuses[status] = (statuses[status] ?? 0) + 1
  }
  return {
    calls: calls.length,
    keys: posts.size,
    accepted: calls.filter((call) => isPost(call) && isAccepted(call)).length,
    unknown: calls.length - answered.length,
    replays: answered.filter(({ answer }) => answer?.isReplay === true).length,
    transfers: books.transfers.length,
    entries: books.entries.length,
    statuses,
    serverErrors: answered.filter(({ answer }) => (answer?.status ?? 0) >= 500).length,
    unexpectedStatuses: answered.filter((call) => !isAllowedStatus(evidence, call)).length,
    faults: faults.length,
    faultsThatHit: faults.filter(({ inFlight }) => inFlight > 0).length,
    unexpectedExits: readExits(evidence).filter(({ isExpected }) => !isExpected).length,
    webhooks: evidence.history.filter(({ type }) => type === 'webhook').length,
  }
}
