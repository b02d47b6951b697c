import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

export type Options = {
  /** Names of scenarios; empty for all. */
  scenarios: readonly string[]
  /** How long a load is measured in each round, after its warm-up. */
  measuredMs: number
  warmUpMs: number
  /** Rounds of each contender. */
  repeat: number
  connections: number
  /** Settled transfers that a grown database holds. */
  rows: number
  /** Transfers that wait before the worker of the scenario backlog starts. */
  backlog: number
  /** Another checkout of this repository, to be measured beside this one. */
  against: string | undefined
  /** Where the results are written. */
  out: string
  /** Kept results to be drawn on one page, instead of measuring. */
  charts: readonly string[]
  /** Where CPU profiles and statement costs are written; they slow down what they look at. */
  profile: string | undefined
  /** Flags of node for API and worker, to try them out. */
  nodeFlags: readonly string[]
}

export class UsageError extends Error {
  override name = 'UsageError'
}

export const usage = `Usage: npm run bench -- [options]
  --scenario A,B       which ones to run (all)
  --seconds N          measured in each round (10)
  --warm-up N          seconds of load before that (3)
  --repeat N           rounds of each contender (3)
  --connections N      clients at a time (64)
  --rows N             settled transfers in the grown database (1000000)
  --backlog N          transfers that wait until the worker starts (200000)
  --against FOLDER     another checkout, for the scenario of that name
  --out FOLDER         where the results are written (bench/results)
  --chart FILE         draws a kept result instead, several with one --chart each
  --profile FOLDER     also writes CPU profiles and the costs of statements there
  --node-flags FLAGS   flags of node for API and worker, to try them out`

/** Throws `UsageError` for an option that is unknown or no number in its range. */
export function readOptions(argv: readonly string[]): Options {
  const values = parse(argv)
  return {
    scenarios: split(values.scenario, ','),
    measuredMs: 1_000 * number('seconds', values.seconds, 1, 3_600),
    warmUpMs: 1_000 * number('warm-up', values['warm-up'], 1, 600),
    repeat: number('repeat', values.repeat, 1, 100),
    connections: number('connections', values.connections, 1, 10_000),
    rows: number('rows', values.rows, 1_000, 100_000_000),
    backlog: number('backlog', values.backlog, 10_000, 1_000_000),
    against: values.against === undefined ? undefined : resolve(values.against),
    out: values.out,
    charts: values.chart,
    profile: values.profile,
    nodeFlags: split(values['node-flags'], ' '),
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        scenario: { type: 'string', default: '' },
        seconds: { type: 'string', default: '10' },
        'warm-up': { type: 'string', default: '3' },
        repeat: { type: 'string', default: '3' },
        connections: { type: 'string', default: '64' },
        rows: { type: 'string', default: '1000000' },
        backlog: { type: 'string', default: '200000' },
        against: { type: 'string' },
        out: { type: 'string', default: 'bench/results' },
        chart: { type: 'string', multiple: true, default: [] },
        profile: { type: 'string' },
        'node-flags': { type: 'string', default: '' },
      },
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function split(text: string, separator: string): string[] {
  return text.split(separator).filter((part) => part !== '')
}

function number(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new UsageError(`--${name} takes a whole number from ${min} to ${max}`)
}
