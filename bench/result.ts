import { isMetricName, type Measurement, type MetricName } from './metrics.ts'
import { median } from './statistics.ts'
import type { Ratio, Scenario, Target } from './scenario.ts'

/** What one scenario found out, as it is printed and kept. */
export type ScenarioResult = {
  name: string
  title: string
  contenders: readonly ContenderResult[]
  ratios: readonly (Ratio & { value: number })[]
  targets: readonly (Target & { value: number; isMet: boolean })[]
}

export type ContenderResult = {
  name: string
  rounds: readonly Measurement[]
  summary: Readonly<Partial<Record<MetricName, Spread>>>
  /** What they say, where the scenario explains it. */
  note?: string
}

/** Over the rounds. */
export type Spread = { median: number; min: number; max: number }

/** `rounds` holds the measurements of each contender, by its name. */
export function concludeScenario(
  { name, title, ratios, targets, explain }: Scenario,
  rounds: ReadonlyMap<string, readonly Measurement[]>,
): ScenarioResult {
  const contenders = [...rounds].map(([contender, measurements]) => {
    const summary = summarise(measurements)
    const note = explain?.(mediansOf(summary))
    return {
      name: contender,
      rounds: measurements,
      summary,
      ...(note === undefined ? {} : { note }),
    }
  })
  const roundsOf = (contender: string, metric: MetricName) =>
    (rounds.get(contender) ?? []).map((measurement) => measurement[metric] ?? Number.NaN)
  return {
    name,
    title,
    contenders,
    ratios: ratios.map((ratio) => ({
      ...ratio,
      value: medianRatio(roundsOf(ratio.of, ratio.metric), roundsOf(ratio.to, ratio.metric)),
    })),
    targets: targets.map((target) => {
      const value = median(roundsOf(target.of, target.metric))
      return { ...target, value, isMet: isMet(target, value) }
    }),
  }
}

/** Of what was measured side by side: two medians may come from rounds that nothing connects. */
function medianRatio(of: readonly number[], to: readonly number[]): number {
  return median(of.map((value, round) => value / (to[round] ?? Number.NaN)))
}

function isMet(target: Target, value: number): boolean {
  return 'atLeast' in target ? value >= target.atLeast : value <= target.atMost
}

function summarise(measurements: readonly Measurement[]): ContenderResult['summary'] {
  const names = new Set(measurements.flatMap((one) => Object.keys(one)).filter(isMetricName))
  return Object.fromEntries([...names].map((name) => [name, spreadOf(measurements, name)]))
}

function mediansOf(summary: ContenderResult['summary']): Measurement {
  return Object.fromEntries(
    Object.entries(summary).map(([metric, spread]) => [metric, spread.median]),
  )
}

function spreadOf(measurements: readonly Measurement[], name: MetricName): Spread {
  const values = measurements.flatMap((one) => one[name] ?? [])
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}
