/** Something of BullMQ's that looks at its store before it can be used. */
export type Prepared = {
  waitUntilReady(): Promise<unknown>
  close(): Promise<void>
}

export type WhenReady<T> = {
  /** The one that is ready, made now where there is none. Rejects while its store is away. */
  get(): Promise<T>
  /** Closes it, if there is one; none is made afterwards. */
  close(): Promise<void>
}

/**
 * Makes something of BullMQ's, and makes it anew until it is ready. Its Postgres backend looks at
 * its schema once and remembers a failure for ever: after a moment's outage, or a lack of
 * connections, while it started, a queue would never work, and a worker would ask again without a
 * pause until the process had no memory left.
 */
export function createWhenReady<T extends Prepared>(make: () => T): WhenReady<T> {
  let current: Promise<T> | undefined
  let closed = false

  async function prepare(): Promise<T> {
    const made = make()
    try {
      await made.waitUntilReady()
      return made
    } catch (error) {
      current = undefined
      // Not waited for: it may wait for the very store that is away.
      made.close().catch(() => undefined)
      throw error
    }
  }

  return {
    get: () =>
      closed ? Promise.reject(new Error('the queue is closed')) : (current ??= prepare()),
    close: async () => {
      closed = true
      await current?.then(
        (made) => made.close(),
        () => undefined,
      )
    },
  }
}
