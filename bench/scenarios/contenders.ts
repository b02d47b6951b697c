import { spawnSync } from 'node:child_process'
import { withDatabase } from '../database.ts'
import { openAccounts } from '../history.ts'
import { measureOneCommitEach } from '../rounds/one-commit-each.ts'
import { measurePayonce, type PayonceRoundOptions } from '../rounds/payonce.ts'
import { measureSynchronousEndpoint } from '../rounds/synchronous-endpoint.ts'
import type { Bench, Contender, Ratio } from '../scenario.ts'
import type { TrafficKind } from '../traffic.ts'

/** 200 accounts: enough that the transfers of a batch rarely meet, few enough that all are in use. */
export const accountCount = 200

/** Payonce as it is used in production, under a load of single transfers. */
export function payonceContender(
  bench: Bench,
  traffic: TrafficKind,
  more: Partial<PayonceRoundOptions> & { name?: string } = {},
): Contender {
  const { name = 'payonce', ...options } = more
  return {
    name,
    measure: (round) =>
      withDatabase(bench.databases, async (database) =>
        measurePayonce(bench, {
          ...round,
          database,
          accounts: await openAccounts(database, accountCount),
          traffic,
          queue: 'redis',
          connections: bench.options.connections,
          ...options,
        }),
      ),
  }
}

/** The endpoint that a team would write instead: it commits each transfer before it answers. */
export function synchronousContender(bench: Bench, traffic: TrafficKind): Contender {
  return {
    name: 'synchronous',
    measure: () =>
      withDatabase(bench.databases, (database) =>
        measureSynchronousEndpoint(bench, {
          database,
          accounts: accountCount,
          traffic,
          connections: bench.options.connections,
        }),
      ),
  }
}

/** One commit per transfer, by `pg` and, where it is installed, by `pgbench`. */
export function functionContenders(bench: Bench, traffic: TrafficKind): Contender[] {
  const contender = (name: string, by: 'pg' | 'pgbench'): Contender => ({
    name,
    measure: () =>
      withDatabase(bench.databases, (database) =>
        measureOneCommitEach(bench, { database, accounts: accountCount, traffic, by }),
      ),
  })
  const byPgbench = hasPgbench ? [contender('pgbench', 'pgbench')] : []
  return [contender('function', 'pg'), ...byPgbench]
}

const hasPgbench = spawnSync('pgbench', ['--version']).status === 0

export const pgbenchRatios: readonly Ratio[] = hasPgbench
  ? [{ metric: 'settledPerSecond', of: 'payonce', to: 'pgbench' }]
  : []
