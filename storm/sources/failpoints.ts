import type { Patch } from './patch.ts'

/*
 * Places in the product where a process can be killed or frozen, named after the step that has just
 * been done. The product's sources know nothing of them: see patch.ts and register.mjs.
 */

const accept = 'packages/core/src/transfers/accept.ts'
const acceptance = 'apps/api/src/acceptance.ts'
const settle = 'packages/core/src/transfers/settle.ts'
const transaction = 'packages/core/src/db/transaction.ts'
const queues = 'packages/core/src/queue/queues.ts'
const worker = 'apps/worker/src/main.ts'
const deliver = 'packages/core/src/webhooks/deliver.ts'
const sweep = 'apps/worker/src/sweeps/unsettled.ts'
const feed = 'apps/worker/src/sweeps/webhooks.ts'

/** 30 ms: what was sent to the queue has been carried out by then, and no answer to it is waited for. */
const enqueuedAfterMs = 30

export const failpoints = {
  'accept:after-begin': before(
    accept,
    '    const accepted = await insertRequests(tx, requests.map(toInsert))',
    "    globalThis.stormFailpoint('accept:after-begin')\n",
  ),
  'accept:after-insert': after(
    accept,
    '    const accepted = await insertRequests(tx, requests.map(toInsert))',
    "\n    globalThis.stormFailpoint('accept:after-insert')",
  ),
  'accept:committed-not-enqueued': before(
    accept,
    '    ringAccepted(requests, acceptances, performance.now() - startedAt)\n    return acceptances\n  }',
    "    globalThis.stormFailpoint('accept:committed-not-enqueued')\n",
  ),
  'accept:enqueued-not-answered': after(
    acceptance,
    '    const acceptance = await accepter.accept(request)',
    `\n    await globalThis.stormLateFailpoint('accept:enqueued-not-answered', ${enqueuedAfterMs})`,
  ),
  'settle:job-received': {
    file: worker,
    anchor: '    process: watchdog.watching(settler.settle),',
    put: 'instead',
    text:
      "    process: watchdog.watching(async (ref) => {\n      globalThis.stormFailpoint('settle:job-received')\n" +
      "      await settler.settle(ref)\n      globalThis.stormFailpoint('settle:job-not-acknowledged')\n    }),",
  },
  'settle:after-begin': before(
    settle,
    '    const { commands, unknown } = await load(tx)',
    "    globalThis.stormFailpoint('settle:after-begin')\n",
  ),
  'settle:after-locks': before(
    settle,
    '    const progress = await readProgress(tx, commands, accounts.values())',
    "    globalThis.stormFailpoint('settle:after-locks')\n",
  ),
  'settle:after-insert': before(
    settle,
    '    await insertEntries(tx, result)\n',
    "    globalThis.stormFailpoint('settle:after-insert')\n",
  ),
  'settle:after-seal': after(
    settle,
    '    await seal(tx, { settlementId, ledgerSecret, decided, result })',
    "\n    globalThis.stormFailpoint('settle:after-seal')",
  ),
  // Both kinds of transaction commit here; the pool's name tells whose it is.
  commits: {
    file: transaction,
    anchor: '    await commit(tx)\n    return result',
    put: 'instead',
    text:
      '    const committing = commit(tx)\n' +
      '    globalThis.stormFailpoint(`${pool.options.application_name}:commit-sent`)\n' +
      '    await committing\n' +
      '    globalThis.stormFailpoint(`${pool.options.application_name}:commit-acknowledged`)\n' +
      '    return result',
  },
  'settle:job-acknowledged on Redis': before(
    queues,
    '  return controlled(worker, options, () => redis.disconnect())',
    '  worker.on("completed", () => globalThis.stormFailpoint(`${queueName}:job-acknowledged`))\n',
  ),
  'settle:job-acknowledged on Postgres': after(
    queues,
    "        connection: postgresConnection(options, 4),\n      }).on('error', options.onError)",
    '.on("completed", () => globalThis.stormFailpoint(`${queueName}:job-acknowledged`))',
  ),
  'deliver:before-send': before(
    deliver,
    '    const result = await this.#options.sender.send({',
    "    globalThis.stormFailpoint('deliver:before-send')\n",
  ),
  'deliver:sent-not-recorded': before(
    deliver,
    '    this.#noteHealth(result)\n',
    "    globalThis.stormFailpoint('deliver:sent-not-recorded')\n",
  ),
  'deliver:recorded': after(
    deliver,
    '    await this.#records.submit(record)\n',
    "    globalThis.stormFailpoint('deliver:recorded')\n",
  ),
  'sweep:leased': before(
    sweep,
    '    const endTimer = metrics.sweepDuration.startTimer()',
    "    globalThis.stormFailpoint('sweep:leased')\n",
  ),
  'sweep:rung-not-recorded': before(
    sweep,
    '    await recordSweep(pool, holder, {',
    "    globalThis.stormFailpoint('sweep:rung-not-recorded')\n",
  ),
  'feed:published': before(
    feed,
    '    state = { ...state, published }',
    "    globalThis.stormFailpoint('feed:published')\n",
  ),
  'feed:fanned-out': before(
    feed,
    '    state = { published, fannedOut: page.fannedOut }',
    "    globalThis.stormFailpoint('feed:fanned-out')\n",
  ),
} as const satisfies Readonly<Record<string, Patch>>

export const failpointPatches: readonly Patch[] = Object.values(failpoints)

/** What a fault can be aimed at, by the step it is named after and by what the process calls it. */
export const apiFailpoints = {
  'after-begin': 'accept:after-begin',
  'after-insert': 'accept:after-insert',
  'commit-sent': 'payonce-accept:commit-sent',
  'commit-acknowledged': 'payonce-accept:commit-acknowledged',
  'committed-not-enqueued': 'accept:committed-not-enqueued',
  'enqueued-not-answered': 'accept:enqueued-not-answered',
} as const

export const settlementFailpoints = {
  'job-received': 'settle:job-received',
  'after-begin': 'settle:after-begin',
  'after-locks': 'settle:after-locks',
  'after-insert': 'settle:after-insert',
  'after-seal': 'settle:after-seal',
  'commit-sent': 'payonce-worker:commit-sent',
  'commit-acknowledged': 'payonce-worker:commit-acknowledged',
  'job-not-acknowledged': 'settle:job-not-acknowledged',
  'job-acknowledged': 'settlement:job-acknowledged',
} as const

/** Only one process sweeps at a time: these are armed in all of them, and whoever comes by dies. */
export const sweepFailpoints = {
  'sweep leased': 'sweep:leased',
  'sweep rung-not-recorded': 'sweep:rung-not-recorded',
  'feed published': 'feed:published',
  'feed fanned-out': 'feed:fanned-out',
} as const

export const deliveryFailpoints = {
  'before-send': 'deliver:before-send',
  'sent-not-recorded': 'deliver:sent-not-recorded',
  recorded: 'deliver:recorded',
} as const

function before(file: string, anchor: string, text: string): Patch {
  return { file, anchor, put: 'before', text }
}

function after(file: string, anchor: string, text: string): Patch {
  return { file, anchor, put: 'after', text }
}
