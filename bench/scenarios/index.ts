import type { Scenario } from '../scenario.ts'
import { against } from './against.ts'
import { backlog } from './backlog.ts'
import { batches } from './batches.ts'
import { checkpoint } from './checkpoint.ts'
import { grown } from './grown.ts'
import { idle } from './idle.ts'
import { latency } from './latency.ts'
import { neighbours } from './neighbours.ts'
import { overloaded } from './overload.ts'
import { patterns } from './patterns.ts'
import { ready } from './ready.ts'
import { replayFlood } from './replay-flood.ts'
import { replayStorm } from './replay-storm.ts'
import { slowDisk } from './slow-disk.ts'
import { uniform } from './uniform.ts'
import { webhooks } from './webhooks.ts'
import { workers } from './workers.ts'

/** In the order in which they run: the quick ones first. */
export const scenarios: readonly Scenario[] = [
  ready,
  idle,
  replayFlood,
  replayStorm,
  uniform,
  ...patterns,
  ...slowDisk,
  workers,
  batches,
  webhooks,
  neighbours,
  overloaded,
  latency,
  backlog,
  checkpoint,
  against,
  grown,
]
