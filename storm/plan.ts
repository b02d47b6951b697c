import { createRandom } from './random.ts'

/** A fault that a plan can have. */
export type FaultShape = {
  /** The row of table F. */
  row: string
  /** Which of its faults. */
  name: string
  /** What it may hit, of which the plan takes one. */
  targets: readonly string[]
  durationMs: number
  /** How long it may take until everything accepted before its end is settled, as the table says. */
  recoveryMs: number
  /** Which backend of the queue it is a fault of, where it is one of a single backend. */
  queue?: 'redis' | 'postgres'
  /** It needs an installation of its own kind, or can happen only once: left out unless it is named. */
  isSpecial?: boolean
}

export type PlannedFault = {
  number: number
  /** From the begin of the load; later where the fault before has not been recovered from by then. */
  atMs: number
  /** The row and the fault, as `F3 after-locks`. */
  name: string
  target: string
  durationMs: number
  recoveryMs: number
}

export type Plan = {
  seed: number
  durationMs: number
  queue: 'redis' | 'postgres'
  faults: readonly PlannedFault[]
}

export type PlanOptions<Shape extends FaultShape> = {
  seed: number
  /** How long the load lasts. */
  durationMs: number
  queue: 'redis' | 'postgres'
  shapes: readonly Shape[]
  /** Rows (`F3`) or single faults (`F3 after-locks`); all where it is empty. */
  wanted: readonly string[]
}

/** The load runs so long before the first fault, and between two of them. */
const calmMs = 2_000
/**
 * What a recovery takes most of the time, at most: the next fault is planned after that. One that
 * takes longer only makes the rest of the plan later.
 */
const usualRecoveryMs = 8_000

/**
 * Makes the plan of a storm before it begins, by nothing but its options: the same seed makes the
 * same plan, so that a storm can be repeated. Throws where a wanted fault does not exist.
 */
export function makePlan<Shape extends FaultShape>(options: PlanOptions<Shape>): Plan {
  const { seed, durationMs, queue } = options
  const random = createRandom(seed)
  const shapes = choose(options)
  const faults: PlannedFault[] = []
  let atMs = calmMs
  for (const shape of endlessly(shapes, random.shuffled)) {
    if (atMs + shape.durationMs > durationMs && faults.length > 0) break
    faults.push({
      number: faults.length + 1,
      atMs: Math.round(atMs),
      name: nameOf(shape),
      target: random.pick(shape.targets),
      durationMs: shape.durationMs,
      recoveryMs: shape.recoveryMs,
    })
    const calm = calmMs * (0.5 + random.fraction())
    atMs += shape.durationMs + Math.min(usualRecoveryMs, shape.recoveryMs) + calm
  }
  return { seed, durationMs, queue, faults }
}

export function nameOf({ row, name }: Pick<FaultShape, 'row' | 'name'>): string {
  return `${row} ${name}`
}

function choose<Shape extends FaultShape>(options: PlanOptions<Shape>): readonly Shape[] {
  const { shapes, wanted, queue } = options
  const isOf = (name: string) => (shape: FaultShape) => name === shape.row || name === nameOf(shape)
  for (const name of wanted) {
    if (!shapes.some(isOf(name))) throw new UnknownFaultError(`there is no fault ${name}`)
  }
  const chosen = shapes.filter((shape) =>
    wanted.length === 0 ? !shape.isSpecial : wanted.some((name) => isOf(name)(shape)),
  )
  const possible = chosen.filter((shape) => shape.queue === undefined || shape.queue === queue)
  if (possible.length === 0) throw new UnknownFaultError(`none of these is a fault of ${queue}`)
  return possible
}

export class UnknownFaultError extends Error {
  override name = 'UnknownFaultError'
}

/** Every fault once in some order, then every one again in another; special ones never again. */
function* endlessly<Shape extends FaultShape>(
  shapes: readonly Shape[],
  shuffled: (shapes: readonly Shape[]) => Shape[],
): Generator<Shape> {
  yield* shuffled(shapes)
  const again = shapes.filter((shape) => !shape.isSpecial)
  while (again.length > 0) yield* shuffled(again)
}
