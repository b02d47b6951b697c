/**
 * Lets many concurrent callers share one flush: while one is in flight the others gather, and the
 * next flush takes them all, up to a limit. There is no timer, so an idle system answers at once.
 * Acceptance and settlement both stand on it.
 */
export type GroupCommit<I, O> = {
  /** Resolves with the outcome of this item once its flush is durable. */
  submit(item: I): Promise<O>
  /** Items that wait for a flush or are in one. */
  readonly pending: number
  /** Resolves when nothing is pending any more. */
  drained(): Promise<void>
}

export type GroupCommitOptions<I, O> = {
  /**
   * Carries the items out together, all or none, and returns an outcome per item in their order.
   * Throws for outages and for a culprit among the items.
   */
  flush(items: readonly I[]): Promise<readonly O[]>
  /** At most so many items in one flush. */
  maxItems: number
  /** At most so many items pending; one more is rejected with `GroupCommitFull`. */
  maxPending: number
  /** At most so many flushes at a time; 1 where one writer is fastest. */
  maxParallel?: number
  /**
   * An outage rejects the whole flush, since splitting it would only prolong the outage. Any other
   * error splits the flush until the culprit stands alone; others are flushed meanwhile.
   */
  isTransient(error: unknown): boolean
  /** How to treat items whose flush met a lock that somebody holds. Without it: as any error. */
  contention?: Contention<I, O>
}

export type Contention<I, O> = {
  isContended(error: unknown): boolean
  /** Names what an item may wait for. Items of a contended name stay out of the shared flush. */
  nameOf(item: I): string
  /** As `flush`, for items of one name, waiting for the lock as long as it takes. */
  flushAlone(items: readonly I[]): Promise<readonly O[]>
  /** At most so many names at a time. */
  maxParallel: number
}

/** More items are pending than the limit: the caller answers that it is busy. */
export class GroupCommitFull extends Error {
  override name = 'GroupCommitFull'
}

type Waiting<I, O> = {
  item: I
  resolve(outcome: O): void
  reject(error: unknown): void
}

export function createGroupCommit<I, O>(options: GroupCommitOptions<I, O>): GroupCommit<I, O> {
  const { flush, maxItems, maxPending, maxParallel = 1, isTransient, contention } = options
  const gathered: Waiting<I, O>[] = []
  // A name is contended as long as it stands here: its items gather, and are flushed name by name.
  const contended = new Map<string, Waiting<I, O>[]>()
  const contendedQueue: string[] = []
  // Parts of flushes that failed for a culprit among them, one of which is flushed at a time.
  const suspected: (readonly Waiting<I, O>[])[] = []
  let isSearching = false
  let drainWaiters: (() => void)[] = []
  let pending = 0
  let flushing = 0
  let runningAlone = 0

  function submit(item: I): Promise<O> {
    if (pending >= maxPending) {
      return Promise.reject(new GroupCommitFull(`${pending} items are pending already`))
    }
    pending += 1
    return new Promise<O>((resolve, reject) => {
      const waiting: Waiting<I, O> = {
        item,
        resolve: (outcome) => {
          settleOne()
          resolve(outcome)
        },
        reject: (error) => {
          settleOne()
          // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- passed on as it came
          reject(error)
        },
      }
      const neighbours = contention && contended.get(contention.nameOf(item))
      if (neighbours !== undefined) {
        neighbours.push(waiting)
      } else {
        gathered.push(waiting)
        flushGathered()
      }
    })
  }

  function settleOne(): void {
    pending -= 1
    if (pending > 0) return
    const waiters = drainWaiters
    drainWaiters = []
    for (const resolve of waiters) resolve()
  }

  function flushGathered(): void {
    while (flushing < maxParallel && gathered.length > 0) {
      const taken = withoutContended(gathered.splice(0, maxItems))
      if (taken.length === 0) continue
      flushing += 1
      void flushTaken(taken).finally(() => {
        flushing -= 1
        flushGathered()
      })
    }
  }

  async function flushTaken(taken: readonly Waiting<I, O>[], isSuspected = false): Promise<void> {
    try {
      const outcomes = await flush(taken.map(({ item }) => item))
      taken.forEach((waiting, index) => waiting.resolve(outcomes[index] as O))
    } catch (error) {
      if (contention?.isContended(error)) {
        for (const waiting of taken) waitAlone(waiting, contention)
      } else if (taken.length === 1 || isTransient(error)) {
        for (const waiting of taken) waiting.reject(error)
      } else {
        const middle = taken.length >> 1
        const halves = [taken.slice(0, middle), taken.slice(middle)]
        // A search is ended before the next one begins: who waits longest comes first.
        if (isSuspected) suspected.unshift(...halves)
        else suspected.push(...halves)
        void search()
      }
    }
  }

  async function search(): Promise<void> {
    if (isSearching) return
    isSearching = true
    for (let part = suspected.shift(); part !== undefined; part = suspected.shift()) {
      await flushTaken(part, true)
    }
    isSearching = false
  }

  /** Moves those to their neighbours whose name became contended after they were gathered. */
  function withoutContended(taken: Waiting<I, O>[]): Waiting<I, O>[] {
    if (contention === undefined || contended.size === 0) return taken
    return taken.filter((waiting) => {
      const neighbours = contended.get(contention.nameOf(waiting.item))
      neighbours?.push(waiting)
      return neighbours === undefined
    })
  }

  function waitAlone(waiting: Waiting<I, O>, rules: Contention<I, O>): void {
    const name = rules.nameOf(waiting.item)
    const neighbours = contended.get(name)
    if (neighbours !== undefined) {
      neighbours.push(waiting)
      return
    }
    contended.set(name, [waiting])
    contendedQueue.push(name)
    flushContended(rules)
  }

  function flushContended(rules: Contention<I, O>): void {
    while (runningAlone < rules.maxParallel) {
      const name = contendedQueue.shift()
      if (name === undefined) return
      const taken = contended.get(name)?.splice(0, maxItems) ?? []
      runningAlone += 1
      void flushNeighbours(taken, rules).finally(() => {
        runningAlone -= 1
        if (contended.get(name)?.length === 0) contended.delete(name)
        else contendedQueue.push(name)
        flushContended(rules)
      })
    }
  }

  async function flushNeighbours(
    taken: readonly Waiting<I, O>[],
    rules: Contention<I, O>,
  ): Promise<void> {
    try {
      const outcomes = await rules.flushAlone(taken.map(({ item }) => item))
      taken.forEach((waiting, index) => waiting.resolve(outcomes[index] as O))
    } catch (error) {
      for (const waiting of taken) waiting.reject(error)
    }
  }

  return {
    submit,
    get pending() {
      return pending
    },
    drained: () =>
      pending === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            drainWaiters.push(resolve)
          }),
  }
}
