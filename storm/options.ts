import { parseArgs } from 'node:util'

export type Options = {
  seed: number
  /** How long the load lasts. */
  seconds: number
  /** How long it may take until nothing is open any more, after the load. */
  healSeconds: number
  queue: 'redis' | 'postgres'
  /** Rows or single faults; empty for all. */
  faults: readonly string[]
  /** Where history, plan, logs and verdict are written. */
  out: string
  /** The bug that is planted, by its name. */
  plant: string | undefined
  clients: number
  perSecond: number
}

export class UsageError extends Error {
  override name = 'UsageError'
}

export const usage = `Usage: npm run storm -- --seed N [options]
  --seed N               makes the plan of faults and the choices of the clients
  --seconds N            how long the load lasts (60)
  --heal-seconds N       how long it may take until nothing is open any more (60)
  --queue redis|postgres where the queue is (redis)
  --faults F3,'F7 kill'  rows of table F, or single faults (all)
  --plant NAME           plants a bug, which the verdict has to find
  --clients N            clients at a time (40)
  --rate N               requests in a second, of all clients together (200)
  --out FOLDER           where history, plan, logs and verdict are written (storm/results/SEED)
  --list                 tells the faults and the bugs that there are`

/** Throws `UsageError` for an option that is unknown or no number in its range. */
export function readOptions(argv: readonly string[]): Options | 'list' {
  const values = parse(argv)
  if (values.list) return 'list'
  const seed = number('seed', values.seed, 0, 0x7fff_ffff)
  const { queue } = values
  if (queue !== 'redis' && queue !== 'postgres') {
    throw new UsageError('--queue takes redis or postgres')
  }
  return {
    seed,
    seconds: number('seconds', values.seconds, 5, 3_600),
    healSeconds: number('heal-seconds', values['heal-seconds'], 1, 3_600),
    queue,
    faults: values.faults
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
    out: values.out ?? `storm/results/${seed}`,
    plant: values.plant,
    clients: number('clients', values.clients, 1, 1_000),
    perSecond: number('rate', values.rate, 1, 10_000),
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        seed: { type: 'string' },
        seconds: { type: 'string', default: '60' },
        'heal-seconds': { type: 'string', default: '60' },
        queue: { type: 'string', default: 'redis' },
        faults: { type: 'string', default: '' },
        plant: { type: 'string' },
        clients: { type: 'string', default: '40' },
        rate: { type: 'string', default: '200' },
        out: { type: 'string' },
        list: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function number(name: string, text: string | undefined, min: number, max: number): number {
  const value = Number(text ?? Number.NaN)
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new UsageError(`--${name} takes a whole number from ${min} to ${max}`)
}
