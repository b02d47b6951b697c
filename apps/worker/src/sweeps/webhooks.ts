import { setTimeout as sleep } from 'node:timers/promises'
import {
  createPublisher,
  dropFeedLease,
  findOldestWriter,
  takeFeedLease,
  type FeedState,
} from '@payonce/core/events/feed'
import { findDueEndpoints, skipForDeleted } from '@payonce/core/webhooks/delivery'
import { fanOut } from '@payonce/core/webhooks/fan-out'
import { advanceRecoveries } from '@payonce/core/webhooks/recovery'
import type { Clock } from '@payonce/core/clock'
import type { Pool } from '@payonce/core/db/client'
import type { EndpointRef, NewId } from '@payonce/core/ids'
import type { Log } from '@payonce/core/log'
import type { Metrics } from '@payonce/core/metrics'
import type { DeliveryQueue } from '@payonce/core/queue/queues'

/**
 * Publishes events, gives each its deliveries, and rings for what is due. One process does it at a
 * time, by a lease. All it knows is in Postgres: the queue's memory can be lost at any time.
 */
export type WebhookSweeper = {
  start(): void
  stop(): Promise<void>
}

export type WebhookSweeperOptions = {
  pool: Pool
  queue: Pick<DeliveryQueue, 'add'>
  newId: NewId
  /** The one that ids are made from: it is told the database's time. */
  clock: Pick<Clock, 'observe'>
  /** Names this process as the holder of the lease. */
  holder: string
  metrics: Metrics
  log: Log
}

/** 200 ms: an event is published and has its deliveries well within a second. */
const pauseMs = 200
/** 5 s of a lease of 15: one that is held need not be written every time. */
const leaseEveryMs = 5_000
/** A second: what has become due is rung within that time. */
const ringEveryMs = 1_000
/** A minute: after that an open transaction is named, again and again. */
const stallNamedAfterMs = 60_000
/** More endpoints that are due at once are rung a second later. */
const endpointsAtATime = 1_000

export function createWebhookSweeper(options: WebhookSweeperOptions): WebhookSweeper {
  const { pool, queue, newId, clock, holder, metrics, log } = options
  const publisher = createPublisher(pool, holder)
  const stopping = new AbortController()
  let running: Promise<void> | undefined
  let state: FeedState | undefined
  let leasedAtMs = Number.NEGATIVE_INFINITY
  let rungAtMs = Number.NEGATIVE_INFINITY
  let stallNamedAtMs = Number.NEGATIVE_INFINITY

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const isMore = await sweepOnce().catch((error: unknown) => {
        log.warn({ error }, 'events could not be handed on, and are again')
        state = undefined
        return false
      })
      if (!isMore)
        await sleep(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
    await dropFeedLease(pool, holder).catch(() => undefined)
  }

  /** Returns whether there is so much to hand on that the next sweep should follow at once. */
  async function sweepOnce(): Promise<boolean> {
    state = await keepLease()
    if (state === undefined) return false
    const published = await publisher.publish(state.published)
    state = { ...state, published }
    await tellStall()
    const isMore = await handOn(state)
    if (performance.now() - rungAtMs >= ringEveryMs) {
      rungAtMs = performance.now()
      await ring(await findDueEndpoints(pool, endpointsAtATime))
      await tidy()
    }
    return isMore
  }

  /** What cannot be done now is done a second later: it keeps nothing from being sent. */
  async function tidy(): Promise<void> {
    try {
      await skipForDeleted(pool, endpointsAtATime)
      await advanceRecoveries(pool)
    } catch (error) {
      log.warn({ error }, 'deliveries could not be recovered or skipped')
    }
  }

  /** Only the holder of the lease knows: what another process showed before is no longer true. */
  async function tellStall(): Promise<void> {
    const { forMs, positions } = publisher.stall()
    metrics.horizonStalled.set(forMs / 1_000)
    metrics.eventsWaiting.set({ for: 'horizon' }, positions)
    const isDue = performance.now() - stallNamedAtMs >= stallNamedAfterMs
    if (forMs < stallNamedAfterMs || !isDue) return
    stallNamedAtMs = performance.now()
    const transaction = await findOldestWriter(pool)
    log.warn({ transaction, forMs }, 'an open transaction keeps events from being published')
  }

  function forgetStall(): void {
    metrics.horizonStalled.set(0)
    metrics.eventsWaiting.reset()
  }

  async function keepLease(): Promise<FeedState | undefined> {
    const isFresh = performance.now() - leasedAtMs < leaseEveryMs
    if (state !== undefined && isFresh) return state
    const taken = await takeFeedLease(pool, holder)
    if (taken === undefined) {
      forgetStall()
      return undefined
    }
    leasedAtMs = performance.now()
    clock.observe(taken.now)
    return { published: taken.published, fannedOut: taken.fannedOut }
  }

  async function handOn({ published, fannedOut }: FeedState): Promise<boolean> {
    if (fannedOut >= published) return false
    const page = await fanOut(pool, { holder, newId, after: fannedOut, until: published })
    state = { published, fannedOut: page.fannedOut }
    metrics.deliveriesMade.inc(page.deliveries)
    metrics.eventsWaiting.set({ for: 'deliveries' }, Number(published - page.fannedOut))
    await ring(page.due)
    return page.fannedOut < published
  }

  /** What cannot be rung now, because the queue is away, is found due by the next sweep. */
  async function ring(endpoints: readonly EndpointRef[]): Promise<void> {
    if (endpoints.length === 0) return
    await queue.add(endpoints).catch((error: unknown) => {
      log.warn({ error, count: endpoints.length }, 'deliveries could not be rung')
    })
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
