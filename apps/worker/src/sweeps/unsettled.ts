import { setTimeout as sleep } from 'node:timers/promises'
import { failurePolicies } from '@payonce/core/failure-policies'
import {
  countDeferred,
  dropSweepLease,
  findDeferredDue,
  findExpiredHolds,
  findUnsettled,
  positionAt,
  readHorizon,
  readUnsettled,
  recordSweep,
  takeSweepLease,
  type Unsettled,
} from '@payonce/core/transfers/unsettled'
import { completeBatch, findBatchesToCheck } from '@payonce/core/transfers/batch-completion'
import type { Log } from '@payonce/core/log'
import type { Metrics } from '@payonce/core/metrics'
import type { Settler } from '@payonce/core/transfers/settle'
import type { Pool } from '@payonce/core/db/client'
import type { Ring, SettlementQueue } from '@payonce/core/queue/queues'

/**
 * The periodic search for what time has made due: it rings commands that are due and not settled, so
 * that no payment depends on the queue's memory, and expires holds. One process sweeps at a time, by a lease.
 */
export type Sweeper = {
  start(): void
  stop(): Promise<void>
}

export type SweeperOptions = {
  pool: Pool
  queue: Pick<SettlementQueue, 'add' | 'count'>
  settler: Pick<Settler, 'expireHolds'>
  /** Names this process as the holder of the lease. */
  holder: string
  metrics: Metrics
  log: Log
}

/** 1 s between two sweeps that found little; a full one is followed by the next at once. */
const pauseMs = 1_000
/** 3 s: a sweep also takes long where the database stood still, and then much waits for the next. */
const longestPauseMs = 3_000
const overdueMs = failurePolicies.overdue_transfer.retry.minDelayMs
/** While the queue holds plenty, its jobs are left to it: only what is a minute late is rung. */
const overdueInPlentyMs = 60_000
/** Jobs in the queue that count as plenty: more than the workers of one machine have in hand. */
const plenty = 2_000
const pageSize = 1_000
const batchesAtATime = 100
/** Deferred commands are counted up to here: beyond it, the number tells nobody more. */
const countedDeferred = 10_000
/**
 * Rings under the plain id of a job, before it gets a new one: a job that is lost, or in the hands of
 * a worker that is gone, may block the plain id. Where the queue holds plenty, it probably only waits.
 */
const ringsUnderPlainId = { usually: 1, inPlenty: 2 }
const { minDelayMs: shortestRingGapMs, maxDelayMs: longestRingGapMs } =
  failurePolicies.overdue_transfer.retry
const auditIntervalMs = 3_600_000
/** How far an audit looks behind the watermark, and behind where the last one ended. */
const auditReachMs = 3_600_000

type Rung = { count: number; nextAtMs: number; seenIn: number }

export function createSweeper(options: SweeperOptions): Sweeper {
  const { pool, queue, settler, holder, metrics, log } = options
  const rung = new Map<string, Rung>()
  const stopping = new AbortController()
  let running: Promise<void> | undefined
  let sweepNumber = 0
  let isInPlenty = false
  let lastAuditAtMs = performance.now()
  let auditedUntil: Date | undefined
  let audit: AsyncGenerator<Unsettled[], undefined> | undefined

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAt = performance.now()
      const isFull = await sweepOnce().catch((error: unknown) => {
        log.warn({ error }, 'a sweep failed and is repeated')
        return false
      })
      const durationMs = performance.now() - startedAt
      // A sweep takes no more than a third of the time, and half of it where more is to be rung.
      const pause = isFull ? durationMs : Math.max(pauseMs, 2 * durationMs)
      await sleep(Math.min(pause, longestPauseMs), undefined, { signal: stopping.signal }).catch(
        () => undefined,
      )
    }
    await dropSweepLease(pool, holder).catch(() => undefined)
  }

  /** Returns whether there is so much to ring that the next sweep should follow at once. */
  async function sweepOnce(): Promise<boolean> {
    const leased = await takeSweepLease(pool, holder)
    if (leased === undefined) return false
    const endTimer = metrics.sweepDuration.startTimer()
    sweepNumber += 1
    const { now, horizon } = await readHorizon(pool)
    const oldest = await findOldest(lookFrom(leased.watermark, horizon), horizon)
    const watermark = oldest?.dueAt ?? horizon
    // Before anything that needs the queue: a hold ends at its time, whatever the queue does.
    await expireHolds()
    await completeBatches()
    const isFull = await ringAll(watermark, now)
    const newAuditFinds = await auditSome(watermark)
    await recordSweep(pool, holder, {
      watermark,
      oldestUnsettledAt: oldest?.dueAt ?? null,
      deferredCount: await countDeferred(pool, countedDeferred),
      newAuditFinds,
    })
    forgetSettled()
    endTimer()
    return isFull
  }

  /** While the queue is away nothing can be rung; the next sweep tries again. */
  async function ringAll(watermark: Date, now: Date): Promise<boolean> {
    try {
      isInPlenty = (await queue.count()) > plenty
      const overdue = isInPlenty ? overdueInPlentyMs : overdueMs
      // First, since nothing else would ring them while there is very much to look at.
      await ringDeferred()
      return await ringUnsettled(watermark, now, new Date(now.getTime() - overdue))
    } catch (error) {
      log.warn({ error }, 'what is due could not be rung')
      return false
    }
  }

  async function findOldest(watermark: Date, horizon: Date): Promise<Unsettled | undefined> {
    const range = { after: positionAt(watermark), until: horizon, limit: 1 }
    const [oldest] = await findUnsettled(pool, range)
    return oldest
  }

  async function ringUnsettled(watermark: Date, until: Date, overdueSince: Date): Promise<boolean> {
    const range = { after: positionAt(watermark), until, overdueSince, limit: pageSize }
    let rangAny = false
    for await (const page of readUnsettled(pool, range)) {
      rangAny = (await ringEach(page)) > 0 || rangAny
      if (stopping.signal.aborted) return false
      if (page.length === pageSize && rangAny && (await queue.count()) > plenty) return true
      await takeSweepLease(pool, holder)
    }
    return false
  }

  /** What cannot be expired now is left to the next sweep: it keeps nothing from being rung. */
  async function expireHolds(): Promise<void> {
    try {
      for (;;) {
        const holds = await findExpiredHolds(pool, pageSize)
        if (holds.length > 0) await settler.expireHolds(holds)
        if (holds.length < pageSize) return
      }
    } catch (error) {
      log.warn({ error }, 'holds could not be expired')
    }
  }

  /** Most are complete when their last share is settled; here come those with a late item. */
  async function completeBatches(): Promise<void> {
    try {
      for (const batch of await findBatchesToCheck(pool, batchesAtATime)) {
        await completeBatch(pool, batch)
      }
    } catch (error) {
      log.warn({ error }, 'batches could not be completed')
    }
  }

  async function ringDeferred(): Promise<void> {
    await ring(await findDeferredDue(pool, pageSize))
  }

  /** What was rung at its acceptance and is not settled is rescued; the rest is rung at its time. */
  async function ringEach(commands: readonly Unsettled[]): Promise<number> {
    const scheduled = await ring(commands.filter(({ isScheduled }) => isScheduled))
    const overdue = await ring(commands.filter(({ isScheduled }) => !isScheduled))
    metrics.sweepRescues.inc(overdue)
    if (overdue > 0) log.warn({ count: overdue }, 'overdue transfers were rung again')
    return scheduled + overdue
  }

  /** Rings those whose last ring is long enough ago, and returns how many they were. */
  async function ring(commands: readonly Unsettled[]): Promise<number> {
    const nowMs = performance.now()
    const rings = commands.flatMap((command) => nextRing(command, nowMs) ?? [])
    if (rings.length === 0) return 0
    await queue.add(rings)
    return rings.length
  }

  function nextRing(command: Unsettled, nowMs: number): Ring | undefined {
    const { tenantId, resource, resourceId, idempotencyKey } = command
    // A deferred command that is due anew is rung anew, however often it was rung before.
    const name = `${resourceId}@${command.dueAt.getTime()}`
    const known = rung.get(name)
    if (known !== undefined) known.seenIn = sweepNumber
    if (known !== undefined && known.nextAtMs > nowMs) return undefined
    const count = (known?.count ?? 0) + 1
    const gapMs = Math.min(longestRingGapMs, shortestRingGapMs * 2 ** (count - 1))
    rung.set(name, { count, nextAtMs: nowMs + gapMs, seenIn: sweepNumber })
    const ref =
      resource === 'batch'
        ? { tenantId, batchId: resourceId }
        : { tenantId, transferId: resourceId }
    const plainRings = isInPlenty ? ringsUnderPlainId.inPlenty : ringsUnderPlainId.usually
    return { ref, idempotencyKey, ...(count > plainRings ? { attempt: count } : {}) }
  }

  /** What two sweeps in a row did not see any more has been settled. */
  function forgetSettled(): void {
    for (const [name, { seenIn, nextAtMs }] of rung) {
      if (seenIn < sweepNumber - 1 && nextAtMs < performance.now()) rung.delete(name)
    }
  }

  /**
   * Looks behind the watermark once an hour: whatever is found there has been missed by a bug. Each
   * sweep looks at a page, so that none takes long; what cannot be looked at waits for the next hour.
   */
  async function auditSome(watermark: Date): Promise<number> {
    if (audit === undefined) {
      if (performance.now() - lastAuditAtMs < auditIntervalMs) return 0
      lastAuditAtMs = performance.now()
      const since = earlier(auditedUntil ?? watermark, watermark).getTime() - auditReachMs
      const until = new Date(watermark.getTime() - 1)
      audit = readUnsettled(pool, { after: positionAt(new Date(since)), until, limit: pageSize })
      auditedUntil = watermark
    }
    try {
      const { value: page } = await audit.next()
      if (page === undefined) {
        audit = undefined
        return 0
      }
      if (page.length === 0) return 0
      await ringEach(page)
      log.error({ finds: page.length }, 'unsettled transfers were found behind the watermark')
      return page.length
    } catch (error) {
      log.warn({ error }, 'an audit behind the watermark could not be ended')
      audit = undefined
      return 0
    }
  }

  return {
    start: () => {
      running ??= run()
    },
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

/** A minute: within it somebody sweeps, also after a failover. */
const lookBackMs = 60_000

/**
 * A watermark ahead of the horizon is of a clock that was put back, as by a failover to a machine
 * whose clock is behind: what has been accepted since then lies below it.
 */
function lookFrom(watermark: Date, horizon: Date): Date {
  return watermark > horizon ? new Date(horizon.getTime() - lookBackMs) : watermark
}

function earlier(a: Date, b: Date): Date {
  return a < b ? a : b
}
