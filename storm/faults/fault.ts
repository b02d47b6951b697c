import type { Pool } from 'pg'
import type { FaultShape, PlannedFault } from '../plan.ts'
import type { ManagedProcess } from '../harness/managed-process.ts'
import type { Proxy } from '../harness/proxy.ts'
import type { Receiver } from '../harness/receiver.ts'
import type { PostgresStore, RedisStore } from '../harness/stores.ts'
import type { Caller } from '../load/caller.ts'
import type { Cast } from '../load/cast.ts'
import type { Load } from '../load/clients.ts'
import type { ApiConnection } from '../load/http.ts'
import type { Random } from '../random.ts'

/** Everything that a fault can do something to. */
export type Storm = {
  apis: readonly ManagedProcess[]
  workers: readonly ManagedProcess[]
  postgres: PostgresStore
  redis: RedisStore | undefined
  /** Between the processes of a role and a store. */
  proxies: {
    api: { postgres: Proxy; redis: Proxy | undefined }
    worker: { postgres: Proxy; redis: Proxy | undefined }
  }
  receiver: Receiver
  load: Load
  /** Straight to Postgres, for what a fault does there; after a fail-over, to the new primary. */
  pool: Pool
  /** Where the storm itself looks, by a proxy of its own, where there may be a fail-over. */
  observer: Proxy | undefined
  databaseUrl: string
  /** For what a fault has to send by itself. */
  caller: Caller
  connections: readonly ApiConnection[]
  casts: readonly Cast[]
  random: Random
  tell(line: string): void
  /** What is not as it should be: the storm fails. */
  find(finding: string): void
}

export type Fault = FaultShape & {
  /** Begins the fault and ends it: when it resolves, nothing of the fault goes on. */
  strike(storm: Storm, planned: PlannedFault): Promise<void>
}

export const apiNames = ['api-1', 'api-2'] as const
export const workerNames = ['worker-1', 'worker-2', 'worker-3'] as const

/** The process that the plan has chosen. */
export function targetOf(storm: Storm, { target }: PlannedFault): ManagedProcess {
  const found = [...storm.apis, ...storm.workers].find(({ name }) => name === target)
  if (found === undefined) throw new Error(`there is no process ${target}`)
  return found
}
