import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import {
  commitMessage,
  connectionOf,
  scriptMessage,
  type Proxy,
  type Weather,
} from '../harness/proxy.ts'
import type { Fault, Storm } from './fault.ts'
import type { PlannedFault } from '../plan.ts'

/** F7: what Redis can do to us. */
const ofRedis: readonly Fault[] = [
  redisFault('kill', 3_000, async (storm, { durationMs }) => {
    await redisOf(storm).crash()
    await sleep(durationMs)
    await redisOf(storm).start()
  }),
  redisFault('back empty', 3_000, async (storm, { durationMs }) => {
    await redisOf(storm).crash()
    redisOf(storm).forget()
    await sleep(durationMs)
    await redisOf(storm).start()
  }),
  redisFault('frozen', 20_000, async (storm, { durationMs }) => {
    redisOf(storm).freeze()
    await sleep(durationMs)
    redisOf(storm).thaw()
  }),
  redisFault('FLUSHALL', 500, (storm) => withRedis(storm, (redis) => redis.flushall())),
  redisFault('memory full', 5_000, async (storm, { durationMs }) => {
    await withRedis(storm, (redis) => redis.config('SET', 'maxmemory', '1mb'))
    await sleep(durationMs)
    await withRedis(storm, (redis) => redis.config('SET', 'maxmemory', '0'))
  }),
  redisFault('down at boot', 8_000, async (storm) => {
    await redisOf(storm).crash()
    for (const process of [storm.apis[0], storm.workers[0]]) {
      process?.kill()
      await process?.untilEnded(2_000)
    }
    // An API has to start and accept without it.
    await storm.apis[0]
      ?.untilReady()
      .catch(() => storm.find('F7: an API does not start without Redis'))
    await redisOf(storm).start()
    await storm.workers[0]?.untilReady()
  }),
]

/** F11: what Postgres can do to us. */
const ofPostgres: readonly Fault[] = [
  postgresFault('crash', 2_000, async ({ postgres }, { durationMs }) => {
    await postgres.crash()
    await sleep(durationMs)
    await postgres.start()
  }),
  // What no worker has settled, nobody's commit has carried to the disk but its own.
  postgresFault('crash while workers are frozen', 2_000, async (storm, { durationMs }) => {
    for (const worker of storm.workers) worker.freeze()
    await sleep(durationMs)
    await storm.postgres.crash()
    await storm.postgres.start()
    for (const worker of storm.workers) worker.thaw()
  }),
  postgresFault('sessions terminated', 5_000, async (storm, { durationMs }) => {
    const endsAtMs = performance.now() + durationMs
    while (performance.now() < endsAtMs) {
      await terminateSessions(storm)
      await sleep(500)
    }
  }),
  postgresFault('frozen', 15_000, async ({ postgres }, { durationMs }) => {
    postgres.freeze()
    await sleep(durationMs)
    postgres.thaw()
  }),
  postgresFault('out of connections', 5_000, takeAllConnections),
  {
    ...postgresFault('out of disk', 8_000, async ({ postgres }, { durationMs }) => {
      const endsAtMs = performance.now() + durationMs
      try {
        // Postgres gives files back now and then: what becomes free is taken again.
        while (performance.now() < endsAtMs) {
          await postgres.fillDisk()
          await sleep(500)
        }
      } finally {
        await postgres.freeDisk()
      }
    }),
    isSpecial: true,
  },
  networkFault('F11', 'network cut', 3_000, postgresProxies, { kind: 'cut' }),
  networkFault('F11', 'network silent', 6_000, postgresProxies, { kind: 'black hole' }),
  networkFault('F11', 'network slow', 6_000, postgresProxies, { kind: 'delay', delayMs: 60 }),
  networkFault('F11', 'network narrow', 6_000, postgresProxies, {
    kind: 'throttle',
    bytesPerSecond: 100_000,
  }),
]

const lossMs = 4_000
/** Every third: what is tried again must have a chance. */
const every = 3

/** F9, F12: messages that are lost just where it matters. */
const lost: readonly Fault[] = [
  {
    ...networkFault('F9', 'answer to a worker', lossMs, ({ worker }) => [worker.redis], {
      kind: 'lose',
      what: 'answer',
      message: scriptMessage,
      every: 7,
    }),
    queue: 'redis',
    recoveryMs: 25_000,
  },
  {
    ...networkFault('F9', 'answer to an API', lossMs, ({ api }) => [api.redis], {
      kind: 'lose',
      what: 'answer',
      message: scriptMessage,
      every,
    }),
    queue: 'redis',
    recoveryMs: 25_000,
  },
  ...(['answer', 'request'] as const).flatMap((what): Fault[] => [
    {
      ...networkFault('F12', `COMMIT ${what} of accept`, lossMs, ({ api }) => [api.postgres], {
        kind: 'lose',
        what,
        message: commitMessage,
        every,
        on: connectionOf('accept'),
      }),
      recoveryMs: 20_000,
    },
    {
      ...networkFault(
        'F12',
        `COMMIT ${what} of settle`,
        lossMs,
        ({ worker }) => [worker.postgres],
        {
          kind: 'lose',
          what,
          message: commitMessage,
          every,
          on: connectionOf('worker'),
        },
      ),
      recoveryMs: 20_000,
    },
  ]),
]

/** F13: what the standby had at the moment of the loss is all there is from then on. */
const failOver: Fault = {
  row: 'F13',
  name: 'primary lost, standby promoted',
  targets: ['postgres'],
  durationMs: 2_000,
  recoveryMs: 30_000,
  isSpecial: true,
  strike: async ({ postgres, proxies, observer }) => {
    const url = await postgres.failOver()
    for (const proxy of [...postgresProxies(proxies), observer]) proxy?.lead(url)
  },
}

export const outages: readonly Fault[] = [...ofRedis, ...ofPostgres, ...lost, failOver]

function redisFault(name: string, durationMs: number, strike: Fault['strike']): Fault {
  return {
    row: 'F7',
    name,
    targets: ['redis'],
    durationMs,
    recoveryMs: 30_000,
    queue: 'redis',
    strike,
  }
}

function postgresFault(name: string, durationMs: number, strike: Fault['strike']): Fault {
  return { row: 'F11', name, targets: ['postgres'], durationMs, recoveryMs: 30_000, strike }
}

type Proxies = Storm['proxies']

function postgresProxies({ api, worker }: Proxies): Proxy[] {
  return [api.postgres, worker.postgres]
}

function networkFault(
  row: string,
  name: string,
  durationMs: number,
  proxiesOf: (proxies: Proxies) => readonly (Proxy | undefined)[],
  weather: Weather,
): Fault {
  return {
    row,
    name,
    targets: ['network'],
    durationMs,
    recoveryMs: 30_000,
    strike: async (storm) => {
      const proxies = proxiesOf(storm.proxies).filter((proxy) => proxy !== undefined)
      const lostBefore = proxies.map((proxy) => proxy.losses())
      for (const proxy of proxies) proxy.set(weather)
      await sleep(durationMs)
      for (const proxy of proxies) proxy.set({ kind: 'fair' })
      const losses = proxies.reduce((sum, p, n) => sum + p.losses() - (lostBefore[n] ?? 0), 0)
      if (weather.kind !== 'lose') return
      storm.tell(`${losses} messages were lost`)
      if (losses === 0) storm.find(`${row} ${name}: nothing was lost, the fault did not happen`)
    },
  }
}

function redisOf({ redis }: Storm) {
  if (redis === undefined) throw new Error('this storm has no Redis')
  return redis
}

async function withRedis(storm: Storm, act: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = new Redis(redisOf(storm).url)
  try {
    await act(redis)
  } finally {
    redis.disconnect()
  }
}

/** Ends every session of the product; those of the storm itself go on. */
async function terminateSessions({ pool }: Storm): Promise<void> {
  await pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND application_name LIKE 'payonce-%' AND application_name <> 'payonce-storm'`,
  )
}

/** Takes every connection that Postgres has, those of the product included, and keeps them. */
async function takeAllConnections(storm: Storm, { durationMs }: PlannedFault): Promise<void> {
  const taken: Client[] = []
  const takeOne = async (): Promise<boolean> => {
    const client = new Client(storm.databaseUrl)
    client.on('error', () => undefined)
    try {
      await client.connect()
      taken.push(client)
      return true
    } catch {
      return false
    }
  }
  const endsAtMs = performance.now() + durationMs
  await terminateSessions(storm)
  while (performance.now() < endsAtMs) {
    const gained = await Promise.all(Array.from({ length: 10 }, takeOne))
    if (!gained.includes(true)) {
      await terminateSessions(storm).catch(() => undefined)
      await sleep(100)
    }
  }
  storm.tell(`${taken.length} connections were taken`)
  await Promise.all(taken.map((client) => client.end().catch(() => undefined)))
}
