/**
 * Lets at most `size` pieces of work run at a time; the others wait their turn, first come first
 * served.
 */
export function createLimit(size: number): Limit {
  const waiting: (() => void)[] = []
  // Taken from the front by position: shifting an array of thousands costs its length each time.
  let first = 0
  let running = 0

  function enter(): Promise<void> | undefined {
    if (running < size) {
      running += 1
      return undefined
    }
    return new Promise((resolve) => waiting.push(resolve))
  }

  function leave(): void {
    const next = waiting[first]
    if (next === undefined) {
      running -= 1
      return
    }
    first += 1
    if (first > 1000 && first * 2 > waiting.length) {
      waiting.splice(0, first)
      first = 0
    }
    next()
  }

  return {
    async run(work) {
      await enter()
      try {
        return await work()
      } finally {
        leave()
      }
    },
  }
}

export type Limit = { run<T>(work: () => Promise<T>): Promise<T> }
