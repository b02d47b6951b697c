import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createWatchdog, type Watchdog } from '../../apps/worker/src/watchdog.ts'

const patience = 3

let waiting: number | Error
let stuck: number[]
/** Looks that wait for the test to let them see the queue. */
let looking: (() => void)[]
let watchdog: Watchdog

beforeEach(() => {
  waiting = 0
  stuck = []
  looking = []
})

// One that looked on would take part in the next test.
afterEach(() => watchdog.stop())

function startWatchdog() {
  watchdog = createWatchdog({
    queue: {
      countWaiting: async () => {
        await new Promise<void>((resolve) => looking.push(resolve))
        if (waiting instanceof Error) throw waiting
        return waiting
      },
    },
    lookEveryMs: 1,
    patience,
    onStuck: (count) => stuck.push(count),
  })
  watchdog.start()
}

/** Lets it look so often, or as often as it still does. */
async function look(times = 1): Promise<void> {
  for (let number = 0; number < times; number++) {
    for (let tries = 0; looking.length === 0 && tries < 100; tries++) await sleep(1)
    looking.shift()?.()
  }
  await sleep(1)
}

describe('the watchdog', () => {
  it('barks once where jobs wait and none is taken, for as many looks as its patience lasts', async () => {
    startWatchdog()
    waiting = 7
    await look(patience - 1)
    expect(stuck).toEqual([])
    await look(10)
    expect(stuck).toEqual([7])
  })

  it('is silent where nothing waits', async () => {
    startWatchdog()
    await look(10)
    expect(stuck).toEqual([])
  })

  it('is silent as long as a job begins or ends now and then', async () => {
    startWatchdog()
    waiting = 7
    const { promise, end } = job()
    await look(patience - 1)
    const running = watchdog.watching(() => promise)({})
    await look(patience)
    end()
    await running
    await look(patience)
    expect(stuck).toEqual([])
    await look()
    expect(stuck).toEqual([7])
  })

  it('counts a job that fails as well, and passes its failure on', async () => {
    startWatchdog()
    waiting = 7
    await look(patience - 1)
    const failing = watchdog.watching(() => Promise.reject(new Error('an outage')))
    await expect(failing({})).rejects.toThrow('an outage')
    await look(patience)
    expect(stuck).toEqual([])
  })

  it('begins anew once nothing waits any more, and while the queue is away', async () => {
    startWatchdog()
    for (const relief of [0, new Error('away')]) {
      waiting = 7
      await look(patience - 1)
      waiting = relief
      await look()
    }
    waiting = 7
    await look(patience - 1)
    expect(stuck).toEqual([])
  })

  it('looks no more once it is stopped', async () => {
    startWatchdog()
    waiting = 7
    await look(patience - 1)
    watchdog.stop()
    await look(10)
    expect(stuck).toEqual([])
  })
})

function job() {
  let end: () => void = () => undefined
  const promise = new Promise<void>((resolve) => (end = resolve))
  return { promise, end: () => end() }
}
