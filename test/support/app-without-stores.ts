import { createApp } from '@payonce/api/app'
import { createClock } from '@payonce/core/clock'
import { createPool } from '@payonce/core/db/client'
import { createIdGenerator } from '@payonce/core/ids'
import { createLog } from '@payonce/core/log'
import { createMetrics } from '@payonce/core/metrics'
import type { Deps } from '@payonce/api/deps'

/**
 * The app for what needs neither Postgres nor a queue: the documentation, and the routes themselves.
 * Whatever would ask one of them fails.
 */
export function createAppWithoutStores(deps: Partial<Deps> = {}) {
  const absent = async () => {
    throw new Error('this app has no stores')
  }
  const clock = createClock()
  return createApp({
    log: createLog({ name: 'test', level: 'silent' }),
    metrics: createMetrics(),
    newId: createIdGenerator(clock.nowMs),
    // It connects only when it is asked something, and then to a port where nobody listens.
    pool: createPool({
      databaseUrl: 'postgres://nobody@127.0.0.1:1/nothing',
      name: 'absent',
      maxConnections: 1,
      onError: () => undefined,
    }),
    accountFacts: { read: absent },
    accepter: { accept: absent, drained: absent, pending: 0 },
    acceptBatch: absent,
    replayCounter: { count: () => undefined },
    backlog: { isFull: () => false },
    clock,
    watcher: { wait: absent, waiting: 0, stop: () => undefined },
    queue: { backend: 'postgres', count: absent },
    publicUrl: 'https://payonce.example',
    corsOrigins: ['*'],
    isStopping: () => false,
    allowedNetworks: [],
    hasDefaultSecret: absent,
    ...deps,
  })
}
