import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  GroupCommitFull,
  createGroupCommit,
  type GroupCommit,
  type GroupCommitOptions,
} from '@payonce/core/group-commit'

class Outage extends Error {
  override name = 'Outage'
}
class LockTimeout extends Error {
  override name = 'LockTimeout'
}
class Poison extends Error {
  override name = 'Poison'
}

type Flush = {
  items: readonly string[]
  succeed(): Promise<void>
  fail(error: Error): Promise<void>
}

/** Flushes that the test ends by hand. An item's outcome is its own name, marked as done. */
class Flushes {
  readonly started: Flush[] = []
  readonly #ended = new Set<Flush>()

  readonly run = (items: readonly string[]): Promise<string[]> =>
    new Promise((resolve, reject) => {
      const end = async (settle: () => void): Promise<void> => {
        this.#ended.add(flush)
        settle()
        await turns()
      }
      const flush: Flush = {
        items,
        succeed: () => end(() => resolve(items.map(done))),
        fail: (error) => end(() => reject(error)),
      }
      this.started.push(flush)
    })

  get items(): readonly (readonly string[])[] {
    return this.started.map(({ items }) => items)
  }

  get inFlight(): number {
    return this.started.length - this.#ended.size
  }

  at(index: number): Flush {
    const flush = this.started.at(index)
    if (flush === undefined) throw new Error(`there was no flush ${index}`)
    return flush
  }
}

function done(item: string): string {
  return `${item} done`
}

/** Long enough for every promise that is ready to tell its followers. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve()
}

type Group = { group: GroupCommit<string, string>; shared: Flushes; alone: Flushes }

/** Items are named like `key:n`; the part before the colon is what they may wait for. */
function createGroup(options: Partial<GroupCommitOptions<string, string>> = {}): Group {
  const shared = new Flushes()
  const alone = new Flushes()
  const group = createGroupCommit<string, string>({
    flush: shared.run,
    maxItems: 100,
    maxPending: 1_000,
    isTransient: (error) => error instanceof Outage,
    contention: {
      isContended: (error) => error instanceof LockTimeout,
      nameOf,
      flushAlone: alone.run,
      maxParallel: 2,
    },
    ...options,
  })
  return { group, shared, alone }
}

function nameOf(item: string): string {
  return item.split(':')[0] ?? ''
}

/** Submits items, whose outcomes are looked at later: none may go unhandled meanwhile. */
function submitAll(group: GroupCommit<string, string>, items: readonly string[]) {
  const settled = Promise.allSettled(items.map((item) => group.submit(item)))
  return { outcomes: () => settled.then((results) => results.map(tell)) }
}

function tell(result: PromiseSettledResult<string>): string {
  if (result.status === 'fulfilled') return result.value
  const reason: unknown = result.reason
  return reason instanceof Error ? reason.name : String(reason)
}

describe('callers gather', () => {
  it('only while a flush is in flight: an idle submit is flushed in the same turn, without a timer', () => {
    vi.useFakeTimers()
    try {
      const { group, shared } = createGroup()
      submitAll(group, ['a'])
      expect(shared.items).toEqual([['a']])
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  it('and the next flush takes them all, in the order in which they came', async () => {
    const { group, shared } = createGroup()
    const all = submitAll(group, ['a', 'b', 'c', 'd'])
    await shared.at(0).succeed()
    expect(shared.items).toEqual([['a'], ['b', 'c', 'd']])
    await shared.at(1).succeed()
    expect(await all.outcomes()).toEqual(['a done', 'b done', 'c done', 'd done'])
  })

  it('and the next flush starts in the turn in which the last one ends', async () => {
    vi.useFakeTimers()
    try {
      const { group, shared } = createGroup()
      submitAll(group, ['a', 'b'])
      await shared.at(0).succeed()
      expect(shared.items).toEqual([['a'], ['b']])
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  it('and are flushed by at most so many at a time', async () => {
    const { group, shared } = createGroup({ maxItems: 2 })
    submitAll(group, ['a', 'b', 'c', 'd'])
    await shared.at(0).succeed()
    await shared.at(1).succeed()
    await shared.at(2).succeed()
    expect(shared.items).toEqual([['a'], ['b', 'c'], ['d']])
    expect(group.pending).toBe(0)
  })

  it('with one flush at a time, unless more are allowed', async () => {
    const one = createGroup()
    submitAll(one.group, ['a', 'b', 'c'])
    await turns()
    expect(one.shared.inFlight).toBe(1)

    const two = createGroup({ maxParallel: 2 })
    submitAll(two.group, ['a', 'b', 'c'])
    await turns()
    expect(two.shared.items).toEqual([['a'], ['b']])
    await two.shared.at(1).succeed()
    expect(two.shared.items).toEqual([['a'], ['b'], ['c']])
  })

  it('and one that comes when all is done is flushed at once again', async () => {
    const { group, shared } = createGroup()
    submitAll(group, ['a'])
    await shared.at(0).succeed()
    submitAll(group, ['b'])
    expect(shared.items).toEqual([['a'], ['b']])
  })
})

describe('the limit of pending items', () => {
  it('rejects one more at once, which reaches no flush', async () => {
    const { group, shared } = createGroup({ maxPending: 2 })
    const all = submitAll(group, ['a', 'b', 'c'])
    await expect(group.submit('d')).rejects.toBeInstanceOf(GroupCommitFull)
    await shared.at(0).succeed()
    await shared.at(1).succeed()
    expect(shared.items).toEqual([['a'], ['b']])
    expect(await all.outcomes()).toEqual(['a done', 'b done', 'GroupCommitFull'])
  })

  it('lets the next one in as soon as one has its outcome', async () => {
    const { group, shared } = createGroup({ maxPending: 1 })
    const first = submitAll(group, ['a'])
    await shared.at(0).succeed()
    expect(await first.outcomes()).toEqual(['a done'])
    const second = submitAll(group, ['b'])
    await shared.at(1).succeed()
    expect(await second.outcomes()).toEqual(['b done'])
  })

  it('counts what waits, what is in flight and what waits alone', async () => {
    const { group, shared, alone } = createGroup()
    submitAll(group, ['held:1', 'free:1'])
    expect(group.pending).toBe(2)
    await shared.at(0).fail(new LockTimeout())
    expect(group.pending).toBe(2)
    await shared.at(1).succeed()
    expect(group.pending).toBe(1)
    await alone.at(0).succeed()
    expect(group.pending).toBe(0)
  })
})

describe('a flush that fails', () => {
  it('by an outage rejects all of its items and is not split', async () => {
    const { group, shared } = createGroup()
    const all = submitAll(group, ['a', 'b', 'c', 'd'])
    await shared.at(0).succeed()
    await shared.at(1).fail(new Outage())
    expect(await all.outcomes()).toEqual(['a done', 'Outage', 'Outage', 'Outage'])
    expect(shared.items).toEqual([['a'], ['b', 'c', 'd']])
  })

  it('by an outage does not keep the next flush', async () => {
    const { group, shared } = createGroup({ maxItems: 1 })
    const all = submitAll(group, ['a', 'b'])
    await shared.at(0).fail(new Outage())
    await shared.at(1).succeed()
    expect(await all.outcomes()).toEqual(['Outage', 'b done'])
  })

  it('by a culprit is split until the culprit stands alone, and its neighbours succeed', async () => {
    const flushed: string[][] = []
    const { group } = createGroup({
      flush: async (items) => {
        flushed.push([...items])
        await turns()
        if (items.includes('culprit')) throw new Poison()
        return items.map(done)
      },
    })
    const all = submitAll(group, ['first', 'a', 'b', 'culprit', 'c'])
    expect(await all.outcomes()).toEqual(['first done', 'a done', 'b done', 'Poison', 'c done'])
    expect(flushed).toEqual([
      ['first'],
      ['a', 'b', 'culprit', 'c'],
      ['a', 'b'],
      ['culprit', 'c'],
      ['culprit'],
      ['c'],
    ])
  })

  it('lets one part at a time be searched, and what comes later be flushed meanwhile', async () => {
    const { group, shared } = createGroup()
    submitAll(group, ['a', 'culprit', 'b'])
    await shared.at(0).succeed()
    submitAll(group, ['later'])
    await shared.at(1).fail(new Poison())
    expect(shared.inFlight).toBe(2)
    expect(shared.items.slice(2)).toEqual([['culprit'], ['later']])
  })

  it('by an outage while it is split rejects that part alone', async () => {
    const { group, shared } = createGroup()
    const all = submitAll(group, ['first', 'a', 'b'])
    await shared.at(0).succeed()
    await shared.at(1).fail(new Poison())
    await shared.at(2).fail(new Outage())
    await shared.at(3).succeed()
    expect(await all.outcomes()).toEqual(['first done', 'Outage', 'b done'])
  })

  it('gives the caller the very error that was thrown', async () => {
    const { group, shared } = createGroup()
    const error = new Poison('this one')
    const rejected = expect(group.submit('a')).rejects.toBe(error)
    await shared.at(0).fail(error)
    await rejected
  })

  it('before it returns a promise is a failure like any other', async () => {
    const { group } = createGroup({
      flush: () => {
        throw new Outage()
      },
    })
    await expect(group.submit('a')).rejects.toBeInstanceOf(Outage)
    await expect(group.submit('b')).rejects.toBeInstanceOf(Outage)
    expect(group.pending).toBe(0)
  })
})

describe('a flush that meets a lock', () => {
  it('has its items run alone by name, those of one name together', async () => {
    const { group, shared, alone } = createGroup()
    const all = submitAll(group, ['first:1', 'x:1', 'y:1', 'x:2'])
    await shared.at(0).succeed()
    await shared.at(1).fail(new LockTimeout())
    expect(alone.items).toEqual([['x:1'], ['y:1']])
    await alone.at(0).succeed()
    expect(alone.items).toEqual([['x:1'], ['y:1'], ['x:2']])
    await alone.at(1).succeed()
    await alone.at(2).succeed()
    expect(await all.outcomes()).toEqual(['first:1 done', 'x:1 done', 'y:1 done', 'x:2 done'])
  })

  it('has those of one name that came meanwhile flushed together, up to the limit', async () => {
    const { group, shared, alone } = createGroup({ maxItems: 3 })
    submitAll(group, ['x:1'])
    await shared.at(0).fail(new LockTimeout())
    submitAll(group, ['x:2', 'x:3', 'x:4', 'x:5'])
    await alone.at(0).succeed()
    await alone.at(1).succeed()
    expect(alone.items).toEqual([['x:1'], ['x:2', 'x:3', 'x:4'], ['x:5']])
  })

  it('runs alone at most so many names at a time', async () => {
    const { group, shared, alone } = createGroup()
    submitAll(group, ['first:1', 'x:1', 'y:1', 'z:1'])
    await shared.at(0).succeed()
    await shared.at(1).fail(new LockTimeout())
    expect(alone.items).toEqual([['x:1'], ['y:1']])
    await alone.at(0).succeed()
    expect(alone.items).toEqual([['x:1'], ['y:1'], ['z:1']])
    expect(alone.inFlight).toBe(2)
  })

  it('lets names take turns: one with many items does not keep the others waiting', async () => {
    const { group, shared, alone } = createGroup({ maxItems: 1 })
    submitAll(group, ['x:1', 'y:1', 'z:1'])
    for (const index of [0, 1, 2]) await shared.at(index).fail(new LockTimeout())
    submitAll(group, ['x:2', 'x:3'])
    await alone.at(0).succeed()
    expect(alone.items).toEqual([['x:1'], ['y:1'], ['z:1']])
    await alone.at(1).succeed()
    expect(alone.items.at(-1)).toEqual(['x:2'])
  })

  it('keeps later items of that name out of the shared flush, so that the others flow', async () => {
    const { group, shared, alone } = createGroup()
    submitAll(group, ['x:1'])
    await shared.at(0).fail(new LockTimeout())
    const later = submitAll(group, ['x:2', 'free:1', 'free:2'])
    await shared.at(1).succeed()
    await shared.at(2).succeed()
    expect(shared.items).toEqual([['x:1'], ['free:1'], ['free:2']])
    await alone.at(0).succeed()
    await alone.at(1).succeed()
    expect(await later.outcomes()).toEqual(['x:2 done', 'free:1 done', 'free:2 done'])
  })

  it('lets later items of that name join those who wait, without waiting for the shared flush', async () => {
    const { group, shared, alone } = createGroup()
    submitAll(group, ['x:1'])
    await shared.at(0).fail(new LockTimeout())
    submitAll(group, ['free:1'])
    const later = submitAll(group, ['x:2'])
    await alone.at(0).succeed()
    expect(alone.items).toEqual([['x:1'], ['x:2']])
    await alone.at(1).succeed()
    expect(await later.outcomes()).toEqual(['x:2 done'])
    expect(shared.inFlight).toBe(1)
  })

  it('keeps those of that name out that had gathered before it failed', async () => {
    const { group, shared, alone } = createGroup()
    const all = submitAll(group, ['x:1', 'x:2', 'free:1', 'x:3'])
    await shared.at(0).fail(new LockTimeout())
    expect(shared.items).toEqual([['x:1'], ['free:1']])
    await alone.at(0).succeed()
    expect(alone.items).toEqual([['x:1'], ['x:2', 'x:3']])
    await alone.at(1).succeed()
    await shared.at(1).succeed()
    expect(await all.outcomes()).toEqual(['x:1 done', 'x:2 done', 'free:1 done', 'x:3 done'])
  })

  it('and nothing but that name gathered starts no empty flush', async () => {
    const { group, shared, alone } = createGroup()
    submitAll(group, ['x:1', 'x:2'])
    await shared.at(0).fail(new LockTimeout())
    expect(shared.items).toEqual([['x:1']])
    await alone.at(0).succeed()
    await alone.at(1).succeed()
    expect(group.pending).toBe(0)
  })

  it('releases the name when nothing of it waits any more', async () => {
    const { group, shared, alone } = createGroup()
    submitAll(group, ['x:1'])
    await shared.at(0).fail(new LockTimeout())
    await alone.at(0).succeed()
    submitAll(group, ['x:2'])
    expect(shared.items).toEqual([['x:1'], ['x:2']])
    expect(alone.items).toEqual([['x:1']])
  })

  it('releases the name also where the lock was held to the end', async () => {
    const { group, shared, alone } = createGroup()
    const all = submitAll(group, ['x:1'])
    await shared.at(0).fail(new LockTimeout())
    await alone.at(0).fail(new LockTimeout())
    expect(await all.outcomes()).toEqual(['LockTimeout'])
    submitAll(group, ['x:2'])
    expect(shared.items).toEqual([['x:1'], ['x:2']])
  })

  it('rejects the items of the one name that failed alone, and no others', async () => {
    const { group, shared, alone } = createGroup()
    const all = submitAll(group, ['first:1', 'x:1', 'y:1'])
    await shared.at(0).succeed()
    await shared.at(1).fail(new LockTimeout())
    await alone.at(0).fail(new LockTimeout())
    await alone.at(1).succeed()
    expect(await all.outcomes()).toEqual(['first:1 done', 'LockTimeout', 'y:1 done'])
  })

  it('fails as any other where nothing says how to treat a lock', async () => {
    const shared = new Flushes()
    const group = createGroupCommit<string, string>({
      flush: shared.run,
      maxItems: 10,
      maxPending: 10,
      isTransient: () => false,
    })
    const all = submitAll(group, ['x:1'])
    await shared.at(0).fail(new LockTimeout())
    expect(await all.outcomes()).toEqual(['LockTimeout'])
  })
})

describe('drained', () => {
  it('resolves at once where nothing is pending', async () => {
    await createGroup().group.drained()
  })

  it('resolves when the last outcome is told, for everybody who asked', async () => {
    const { group, shared } = createGroup()
    submitAll(group, ['a', 'b'])
    const resolved: string[] = []
    const one = group.drained().then(() => resolved.push('one'))
    const two = group.drained().then(() => resolved.push('two'))
    await shared.at(0).succeed()
    expect(resolved).toEqual([])
    await shared.at(1).fail(new Outage())
    await Promise.all([one, two])
    expect(resolved).toEqual(['one', 'two'])
  })

  it('waits for what waits alone', async () => {
    const { group, shared, alone } = createGroup()
    submitAll(group, ['x:1'])
    let isDrained = false
    void group.drained().then(() => (isDrained = true))
    await shared.at(0).fail(new LockTimeout())
    expect(isDrained).toBe(false)
    await alone.at(0).succeed()
    expect(isDrained).toBe(true)
  })
})

type Fate = 'works' | 'outage' | 'locked'

type Drawn = {
  items: { name: string; isPoison: boolean; pausesFirst: boolean }[]
  fates: Fate[]
  maxItems: number
  maxParallel: number
  maxAlone: number
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  items: fc.array(
    fc.record({
      name: fc.constantFrom('x', 'y', 'z', 'w'),
      isPoison: fc.constantFrom(false, false, false, false, true),
      pausesFirst: fc.boolean(),
    }),
    { minLength: 1, maxLength: 20 },
  ),
  fates: fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constant<Fate>('works') },
      { weight: 1, arbitrary: fc.constantFrom<Fate>('outage', 'locked') },
    ),
    { maxLength: 30 },
  ),
  maxItems: fc.integer({ min: 1, max: 5 }),
  maxParallel: fc.integer({ min: 1, max: 2 }),
  maxAlone: fc.integer({ min: 1, max: 2 }),
})

type Flight = { items: readonly string[]; isAlone: boolean }

/** Notes everything that the group does under one schedule, and looks at its limits meanwhile. */
class Observer {
  readonly succeeded: string[] = []
  readonly flushedInOutage = new Set<string>()
  readonly lockedAlone = new Set<string>()
  readonly breaches: string[] = []
  readonly #inFlight = new Set<Flight>()
  readonly #drawn: Drawn

  constructor(scenario: Drawn) {
    this.#drawn = scenario
  }

  begin(flight: Flight): void {
    this.#inFlight.add(flight)
    const { items, isAlone } = flight
    const running = [...this.#inFlight].filter((one) => one.isAlone === isAlone)
    // One more of the shared ones: the part of a failed flush in which the culprit is searched.
    const limit = isAlone ? this.#drawn.maxAlone : this.#drawn.maxParallel + 1
    if (running.length > limit) this.breaches.push(`${running.length} flushes at a time`)
    if (items.length > this.#drawn.maxItems) this.breaches.push(`${items.length} items`)
    if (items.length === 0) this.breaches.push('an empty flush')
    if (isAlone && new Set(items.map(nameOf)).size > 1) this.breaches.push('names were mixed')
  }

  end(flight: Flight): void {
    this.#inFlight.delete(flight)
  }
}

function poison(item: string): boolean {
  return item.endsWith('!')
}

describe('whatever the schedule and the failures of flushes', () => {
  it('each item gets one outcome, its own, and is carried out once at most', async () => {
    await fc.assert(
      fc.asyncProperty(drawn, fc.scheduler(), async (scenario, scheduler) => {
        const observer = new Observer(scenario)
        const fates = [...scenario.fates]
        const run = (isAlone: boolean) => async (items: readonly string[]) => {
          const flight = { items, isAlone }
          observer.begin(flight)
          try {
            await scheduler.schedule(Promise.resolve(), `flush of ${items.join(' ')}`)
            const fate = fates.shift() ?? 'works'
            if (fate === 'outage') {
              for (const item of items) observer.flushedInOutage.add(item)
              throw new Outage()
            }
            if (fate === 'locked') {
              if (isAlone) for (const item of items) observer.lockedAlone.add(item)
              throw new LockTimeout()
            }
            const culprit = items.find(poison)
            if (culprit !== undefined) throw new Poison(culprit)
            observer.succeeded.push(...items)
            return items.map(done)
          } finally {
            observer.end(flight)
          }
        }
        const group = createGroupCommit<string, string>({
          flush: run(false),
          maxItems: scenario.maxItems,
          maxPending: 1_000,
          maxParallel: scenario.maxParallel,
          isTransient: (error) => error instanceof Outage,
          contention: {
            isContended: (error) => error instanceof LockTimeout,
            nameOf,
            flushAlone: run(true),
            maxParallel: scenario.maxAlone,
          },
        })

        const names = scenario.items.map(
          ({ name, isPoison }, index) => `${name}:${index}${isPoison ? '!' : ''}`,
        )
        const outcomes = names.map(async (name, index) => {
          if (scenario.items[index]?.pausesFirst) {
            await scheduler.schedule(Promise.resolve(), `submit of ${name}`)
          }
          return group.submit(name)
        })
        const settled = Promise.allSettled(outcomes)
        await scheduler.waitIdle()
        const told = (await settled).map(tell)

        expect(observer.breaches).toEqual([])
        expect(group.pending).toBe(0)
        await group.drained()
        expect(observer.succeeded.toSorted()).toEqual(
          names.filter((name, index) => told[index] === done(name)).toSorted(),
        )
        names.forEach((name, index) => {
          const outcome = told[index]
          if (outcome === 'Outage') expect(observer.flushedInOutage).toContain(name)
          else if (outcome === 'LockTimeout') expect(observer.lockedAlone).toContain(name)
          else if (outcome === 'Poison')
            expect(poison(name) || wasAloneWithPoison(name, names)).toBe(true)
          else expect(outcome).toBe(done(name))
        })
      }),
      { numRuns: 500 },
    )
  })

  it('and without locks, only the culprits themselves are rejected for what they are', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 8 }),
        async (culprits, maxItems) => {
          const { group } = createGroup({
            maxItems,
            flush: async (items) => {
              await turns()
              if (items.some(poison)) throw new Poison()
              return items.map(done)
            },
          })
          const names = culprits.map((isCulprit, index) => `${index}${isCulprit ? '!' : ''}`)
          const told = await submitAll(group, names).outcomes()
          expect(told).toEqual(names.map((name) => (poison(name) ? 'Poison' : done(name))))
        },
      ),
      { numRuns: 200 },
    )
  })
})

/** Items of one name that wait for a lock share one flush, and so the failure of one of them. */
function wasAloneWithPoison(name: string, names: readonly string[]): boolean {
  return names.some((other) => poison(other) && nameOf(other) === nameOf(name))
}
