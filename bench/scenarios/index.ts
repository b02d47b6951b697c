import type { Scenario } from '../scenario.ts'
import { against } from './against.ts'
import { batches } from './batches.ts'
import { grown } from './grown.ts'
import { idle } from './idle.ts'
import { ready } from './ready.ts'
import { replayFlood } from './replay-flood.ts'
import { uniform } from './uniform.ts'

/** In the order in which they run: the quick ones first. */
export const scenarios: readonly Scenario[] = [
  ready,
  idle,
  replayFlood,
  uniform,
  batches,
  against,
  grown,
]
