import { kills } from './kills.ts'
import { outages } from './outages.ts'
import { pauses } from './pauses.ts'
import { shapes } from './shapes.ts'
import type { Fault } from './fault.ts'

/** Every fault that a storm can have. */
export const catalogue: readonly Fault[] = [...kills, ...pauses, ...outages, ...shapes]
