import type { DatabaseMaker } from './database.ts'
import type { Measurement, MetricName } from './metrics.ts'
import type { Options } from './options.ts'
import type { Stack } from './stack.ts'

/** A question that the bench answers with numbers. A new one is a file and a line in scenarios/. */
export type Scenario = {
  name: string
  /** What is measured, in one sentence for the reader of the report. */
  title: string
  /** Prepares what all rounds of a contender share. */
  contenders(bench: Bench): Promise<Contender[]>
  ratios: readonly Ratio[]
  targets: readonly Target[]
  /** What the medians of a contender say, in words. */
  explain?(medians: Measurement): string
}

/** One side of a comparison. Contenders are measured in turns, so that noise hits all of them. */
export type Contender = {
  name: string
  /** Measures one round: whatever it starts has ended when it resolves. */
  measure(round: Round): Promise<Measurement>
  /** Gives back what was prepared for it. */
  close?(): Promise<void>
}

/** Names one round of one contender, for files that belong to it. */
export type Round = { label: string }

/** How many times what one contender measured is what another did in the same round. */
export type Ratio = { metric: MetricName; of: string; to: string } & Partial<Limits>

/** What it should come to. */
type Limits = { atLeast: number; atMost: number }

export type Target = { metric: MetricName; of: string } & ({ atLeast: number } | { atMost: number })

/** What a scenario may use. */
export type Bench = {
  options: Options
  stack: Stack
  databases: DatabaseMaker
  /** Tells whoever waits what is going on. */
  tell(line: string): void
}
