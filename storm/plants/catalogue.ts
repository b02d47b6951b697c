import type { Plant } from './plant.ts'

const accept = 'packages/core/src/transfers/accept.ts'
const settle = 'packages/core/src/transfers/settle.ts'
const lock = 'packages/core/src/transfers/lock.ts'
const transaction = 'packages/core/src/db/transaction.ts'

/** The mistakes that a checker of this product has to notice, each planted by itself. */
export const plants: readonly Plant[] = [
  {
    name: 'no-unique-constraint',
    bug: 'a job that runs twice settles its transfer twice',
    patches: [
      {
        file: settle,
        anchor: '  return !settled.has(id) && (dueAt === null || dueAt <= now)',
        put: 'instead',
        text: '  return dueAt === null || dueAt <= now',
      },
    ],
    statements: [
      'ALTER TABLE transfers DROP CONSTRAINT transfers_idempotency_key_unique',
      'ALTER TABLE transfers DROP CONSTRAINT transfers_primary',
      'CREATE INDEX transfers_primary ON transfers (tenant_id, id)',
      'ALTER TABLE events DROP CONSTRAINT events_sequence_unique',
    ],
    faults: ['F3 commit-acknowledged', 'F3 job-not-acknowledged', 'F4 frozen after the commit'],
    breaks: [2, 4],
  },
  {
    name: '202-before-commit',
    bug: 'the answer to an acceptance is sent 30 ms before its COMMIT',
    patches: [
      {
        file: transaction,
        anchor: '    await tx.query(beginStatement(options))\n    const result = await work(tx)\n',
        put: 'after',
        text:
          "    if (pool.options.application_name === 'payonce-accept') {\n" +
          '      const release = tx.release.bind(tx)\n' +
          '      tx.release = () => undefined\n' +
          '      setTimeout(() => commit(tx).then(() => release(), release), 30)\n' +
          '      return result\n    }\n',
      },
    ],
    faults: ['F1 kill', 'F11 sessions terminated', 'F1 enqueued-not-answered'],
    breaks: [3],
  },
  {
    name: 'no-locks',
    bug: 'accounts are read without a lock before their balances are written',
    patches: [
      {
        file: lock,
        anchor: "  return selectAccounts(tx, wanted, 'FOR NO KEY UPDATE OF accounts')",
        put: 'instead',
        text: "  return selectAccounts(tx, wanted, '')",
      },
    ],
    // The chain's key would refuse what the missing lock lets through.
    statements: [
      'ALTER TABLE entries DROP CONSTRAINT entries_primary',
      'CREATE INDEX entries_primary ON entries (tenant_id, account_id, seq)',
    ],
    faults: ['F14 A to B against B to A', 'F3 kill'],
    breaks: [1, 6, 7],
  },
  {
    name: 'unordered-locks',
    bug: 'accounts are locked in an order of each session’s own',
    patches: [
      {
        file: lock,
        anchor: '      ORDER BY accounts.tenant_id, accounts.id\n',
        put: 'instead',
        text: '      ORDER BY md5(accounts.id::text || pg_backend_pid()::text)\n',
      },
    ],
    faults: ['F14 A to B against B to A', 'F3 kill'],
    breaks: [],
    says: /Postgres broke \d+ deadlocks/,
  },
  {
    name: 'no-sweep',
    bug: 'nobody rings what the queue has lost',
    patches: [
      {
        file: 'apps/worker/src/main.ts',
        anchor: '  sweeper.start()\n',
        put: 'instead',
        text: '',
      },
    ],
    faults: ['F7 FLUSHALL', 'F7 back empty', 'F1 committed-not-enqueued'],
    breaks: [3],
  },
  {
    name: 'new-event-id-per-attempt',
    bug: 'an event that is sent again is called something else',
    patches: [
      {
        file: 'packages/core/src/webhooks/deliver.ts',
        anchor: '    const { body, eventId: id } = delivery\n',
        put: 'instead',
        text: '    const { body } = delivery\n    const id = `evt_${crypto.randomUUID().replaceAll("-", "")}`\n',
      },
    ],
    faults: ['F18 sent-not-recorded', 'F18 receiver fails in every way'],
    breaks: [13],
  },
  {
    name: 'asynchronous-acceptance',
    bug: 'acceptance commits with synchronous_commit = off, which no check of settings can see',
    patches: [
      {
        file: accept,
        anchor: '  return inTransaction(pool, { lockTimeoutMs }, async (tx) => {',
        put: 'instead',
        text: '  return inTransaction(pool, { lockTimeoutMs, mayBeUndone: true }, async (tx) => {',
      },
    ],
    // The longest that Postgres allows: else its writer carries everything to the disk at once.
    settings: { wal_writer_delay: '10s' },
    faults: ['F11 crash while workers are frozen'],
    breaks: [3],
  },
]
