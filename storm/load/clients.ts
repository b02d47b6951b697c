import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTraffic, type TenantMemory, type Traffic } from './traffic.ts'
import type { Operation } from '../history.ts'
import type { Random } from '../random.ts'
import type { Caller } from './caller.ts'
import type { Cast } from './cast.ts'
import type { ApiConnection, Reply } from './http.ts'

export type Load = {
  /** The share of the posts whose client leaves after the body. */
  leaveAfterBody(share: number): void
  /** Ends when every client has its last answer, or has given up. */
  stop(): Promise<void>
}

export type LoadOptions = {
  casts: readonly Cast[]
  apis: readonly ApiConnection[]
  caller: Caller
  random: Random
  clients: number
  /** Calls that are begun in a second, of all clients together. */
  perSecond: number
}

/** Of the calls whose outcome nobody knows, so many are never repeated: the client gives up. */
const neverRetriedShare = 0.2
const shortestRetryMs = 100
const longestRetryMs = 2_000
/** 60 s after the load has ended nobody tries any more: see main.ts. */
const givenUpAfterMs = 60_000
/** Looks at a transfer that is followed, 200 ms apart. */
const looks = 10
const lookEveryMs = 200

/** Puts clients on the APIs that pay, repeat, give up and look, each one call at a time. */
export function startLoad(options: LoadOptions): Load {
  const { casts, apis, caller, random, clients, perSecond } = options
  const stopping = new AbortController()
  // Every client sleeps on it.
  setMaxListeners(0, stopping.signal)
  let leaveShare = 0
  let stoppedAtMs = Number.POSITIVE_INFINITY

  async function runClient(number: number, own: Random, place: number) {
    const [cast, memory] = [casts[place], memories[place]]
    const strangers = memories[(place + 1) % memories.length]
    if (cast === undefined || memory === undefined || strangers === undefined) {
      throw new Error('there is no tenant')
    }
    const { tenant } = cast
    const client = `client-${number}`
    const traffic = createTraffic(own, { cast, memory, strangers })
    let turn = number

    function nextApi(): ApiConnection {
      const api = apis[turn % apis.length]
      if (api === undefined) throw new Error('there is no API')
      return api
    }

    async function call(operation: Operation, leaves = false): Promise<Reply | undefined> {
      const reply = await caller.call({
        client,
        tenant,
        operation,
        api: nextApi(),
        leaves,
      })
      // Whoever was cut off asks the other API next, as behind a balancer; and sometimes anyway.
      if (reply === undefined || own.fraction() < 0.1) turn += 1
      return reply
    }

    async function post(operation: Extract<Operation, { kind: 'post' }>): Promise<void> {
      for (let pauseMs = shortestRetryMs; ; pauseMs = Math.min(longestRetryMs, 2 * pauseMs)) {
        const reply = await call(operation, own.fraction() < leaveShare)
        if (reply !== undefined && !isWorthRepeating(reply)) {
          noteReply(traffic, operation, reply)
          return
        }
        if (reply === undefined && own.fraction() < neverRetriedShare) return
        if (performance.now() - stoppedAtMs > givenUpAfterMs) return
        await sleep(pauseMs * (0.5 + own.fraction()))
      }
    }

    async function follow(operation: Operation): Promise<void> {
      for (let look = 0; look < looks && !stopping.signal.aborted; look++) {
        const reply = await call(operation)
        const isOver = reply?.status === 200 && !openStatuses.has(String(reply.body.status))
        if (isOver) return
        await sleep(lookEveryMs)
      }
    }

    const meanPauseMs = (1_000 * clients) / perSecond
    while (!stopping.signal.aborted) {
      const step = traffic.next()
      if (step.kind === 'cancel' || step.kind === 'pry') await call(step.operation)
      else if (step.kind === 'follow') await follow(step.operation)
      else await post(step.operation)
      await sleep(meanPauseMs * 2 * own.fraction(), undefined, { signal: stopping.signal }).catch(
        () => undefined,
      )
    }
  }

  const memories = casts.map((): TenantMemory => ({ accepted: [], keys: 0 }))
  const running = Array.from({ length: clients }, (_, number) => {
    return runClient(number + 1, random.fork(), number % casts.length)
  })

  return {
    leaveAfterBody: (share) => (leaveShare = share),
    stop: async () => {
      stoppedAtMs = performance.now()
      leaveShare = 0
      stopping.abort()
      await Promise.all(running)
    },
  }
}

const openStatuses = new Set(['scheduled', 'queued'])

/** Refused for now: the same request under the same key may be accepted later. */
export function isWorthRepeating({ status, body }: Reply): boolean {
  return status === 503 || status === 429 || (status === 409 && body.code === inFlight)
}

const inFlight = 'idempotency_in_flight'

function noteReply(
  traffic: Traffic,
  operation: Extract<Operation, { kind: 'post' }>,
  { status, body }: Reply,
): void {
  if (status === 202 && typeof body.id === 'string')
    traffic.noteAccepted({ id: body.id, operation })
}
