import { transferIdOf, type Call } from './calls.ts'
import type { Evidence } from './evidence.ts'
import type { Report } from './finding.ts'
import type { Exited } from '../history.ts'

/** A fault with what came of it. */
export type FaultReport = {
  number: number
  name: string
  target: string
  /** Milliseconds since the storm began; null where it never ended. */
  beganAt: number
  endedAt: number | null
  /** How many accepted transfers were not settled when it began: a fault that hits none shows nothing. */
  inFlight: number
  /** From its end until all that was accepted before its end was settled; null where that never came. */
  recoveredAfterMs: number | null
  /** How long that may take; null where nobody said. */
  withinMs: number | null
}

/** How long a recovery may take, by row (`F3`) or by the whole name of a fault (`F3 after-locks`). */
export type RecoveryLimits = Readonly<Record<string, number>>

export function readFaults({ history }: Evidence, limits: RecoveryLimits): FaultReport[] {
  const faults = new Map<number, FaultReport>()
  for (const record of history) {
    if (record.type === 'fault' && record.phase === 'begin') {
      const { number, name, target, at, inFlight } = record
      const unknown = { endedAt: null, recoveredAfterMs: null }
      const withinMs = limits[name] ?? limits[name.split(' ')[0] ?? ''] ?? null
      faults.set(number, { number, name, target, beganAt: at, inFlight, withinMs, ...unknown })
    } else if (record.type === 'fault') {
      Object.assign(faults.get(record.number) ?? {}, { endedAt: record.at })
    } else if (record.type === 'recovered') {
      Object.assign(faults.get(record.number) ?? {}, { recoveredAfterMs: record.afterMs })
    }
  }
  return [...faults.values()]
}

export function readExits({ history }: Evidence): Exited[] {
  return history.filter((record) => record.type === 'exited')
}

/**
 * 0: what every row demands besides the invariants: clients saw nothing but successes, conflicts,
 * refusals, limits, an outage that says so, or a cut connection; no process ended by itself; and
 * after each fault everything was settled in time.
 */
export function checkDemands(
  evidence: Evidence,
  faults: readonly FaultReport[],
  report: Report,
): void {
  for (const call of evidence.calls) checkStatus(evidence, call, report)
  for (const { process, code, signal, isExpected, at } of readExits(evidence)) {
    report.saw()
    if (isExpected) continue
    report.breach(
      `process ${process}`,
      `it ended by itself at ${at} ms: ${signal ?? `exit ${code}`}`,
    )
  }
  for (const fault of faults) checkRecovery(fault, report)
}

const allowed: ReadonlySet<number> = new Set([409, 422, 429, 503])

/** Whether a client may be told so. Who looks for what is not his own is told 404. */
export function isAllowedStatus({ owners }: Pick<Evidence, 'owners'>, call: Call): boolean {
  const { answer, operation, tenant } = call
  if (answer === undefined || allowed.has(answer.status)) return true
  if (answer.status >= 200 && answer.status < 300) return true
  if (answer.status !== 404 || !('target' in operation)) return false
  // A read of what was accepted is the matter of an invariant of its own.
  const owner = owners.get(transferIdOf(operation.target) ?? '')
  return owner !== tenant || operation.kind === 'read'
}

function checkStatus(evidence: Evidence, call: Call, report: Report): void {
  if (call.answer === undefined) return
  report.saw()
  if (isAllowedStatus(evidence, call)) return
  const { status, code } = call.answer
  report.breach(
    `call ${call.call} of client ${call.client}, ${call.operation.kind}`,
    `answered ${status} ${code ?? ''}`.trim(),
  )
}

function checkRecovery(fault: FaultReport, report: Report): void {
  const { number, name, target, endedAt, recoveredAfterMs, withinMs } = fault
  report.saw()
  const where = `fault ${number}, ${name} on ${target}`
  if (endedAt === null) report.breach(where, 'it never ended')
  else if (recoveredAfterMs === null) report.breach(where, 'nothing tells that all was settled')
  else if (withinMs !== null && recoveredAfterMs > withinMs) {
    report.breach(where, `all was settled after ${recoveredAfterMs} ms, expected ${withinMs} ms`)
  }
}
