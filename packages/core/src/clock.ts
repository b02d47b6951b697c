/**
 * The time that ids are made from. It follows the database's clock, as seen in its answers, so that
 * ids of several processes sort together even where a machine's own clock is wrong by hours.
 * Nothing that matters is decided by it: due times and expiry are judged by Postgres.
 */
export type Clock = {
  nowMs(): number
  /** Tells the clock what the database's clock just said. */
  observe(databaseTime: Date): void
}

export function createClock(localNowMs: () => number = Date.now): Clock {
  let offsetMs = 0
  return {
    nowMs: () => localNowMs() + offsetMs,
    observe: (databaseTime) => {
      offsetMs = databaseTime.getTime() - localNowMs()
    },
  }
}
