import { randomUUID } from 'node:crypto'

/** What the requests of a run are like. */
export type TrafficOptions = {
  kind: TrafficKind
  url: string
  path: string
  apiKey: string
  /** As they stand in a request. */
  accounts: readonly string[]
  currency: string
  /** Asks the server to answer when the transfer is settled (`Prefer: wait`), not when accepted. */
  waitSeconds?: number
  /** Transfers in one request; single ones without it. */
  batchSize?: number
  /** How often each request is sent; once without it. */
  sentTimes?: number
}

/** A request as it goes on the wire, and whether it was sent before. */
export type TrafficRequest = { text: string; isRepeated: boolean }

type Pair = [source: string, destination: string]

/** Which pairs of accounts move money, by their places: a new pattern is a new line here. */
const pairs = {
  uniform: (count) => {
    const source = randomIndex(count)
    return [source, otherThan(source, count)]
  },
  'hot pair': () => [0, 1],
  'hot merchant': (count) => [1 + randomIndex(count - 1), 0],
  'hot payer': (count) => [0, 1 + randomIndex(count - 1)],
  zipf: (count) => {
    const source = zipfIndex(count)
    const destination = zipfIndex(count)
    return [source, destination === source ? otherThan(source, count) : destination]
  },
} as const satisfies Record<string, (count: number) => readonly [number, number]>

/** The same patterns for pgbench, whose accounts are numbered from 1. */
const pgbenchScripts: Record<TrafficKind, (count: number) => string[]> = {
  uniform: (count) => [
    `\\set source random(1, ${count})`,
    `\\set step random(1, ${count - 1})`,
    `\\set destination (:source + :step - 1) % ${count} + 1`,
  ],
  'hot pair': () => ['\\set source 1', '\\set destination 2'],
  'hot merchant': (count) => [`\\set source random(2, ${count})`, '\\set destination 1'],
  'hot payer': (count) => ['\\set source 1', `\\set destination random(2, ${count})`],
  zipf: (count) => [
    `\\set source random_zipfian(1, ${count}, 1.01)`,
    `\\set drawn random_zipfian(1, ${count}, 1.01)`,
    `\\set step random(1, ${count - 1})`,
    `\\set destination case when :drawn = :source then (:source + :step - 1) % ${count} + 1 else :drawn end`,
  ],
}

export type TrafficKind = keyof typeof pairs

/** Returns a maker of pairs: each call is the next source and destination. */
export function createPairs(kind: TrafficKind, accounts: readonly string[]): () => Pair {
  const choose: (count: number) => readonly [number, number] = pairs[kind]
  return function nextPair() {
    const [source, destination] = choose(accounts.length)
    return [pick(accounts, source), pick(accounts, destination)]
  }
}

/** The lines of a pgbench script that choose a pair as `source` and `destination`. */
export function pgbenchPairs(kind: TrafficKind, accounts: number): string {
  return pgbenchScripts[kind](accounts).join('\n')
}

/** Returns a maker of requests: each call is a new transfer under a new key, as it goes on the wire. */
export function createTraffic(options: TrafficOptions): () => string {
  const { kind, url, path, apiKey, accounts, currency, waitSeconds, batchSize } = options
  const nextPair = createPairs(kind, accounts)
  const head =
    `POST ${path} HTTP/1.1\r\nHost: ${new URL(url).host}\r\n` +
    `Authorization: Bearer ${apiKey}\r\nContent-Type: application/json\r\n` +
    (waitSeconds === undefined ? '' : `Prefer: wait=${waitSeconds}\r\n`)
  function nextTransfer() {
    const [source, destination] = nextPair()
    return { source, destination, amount: 1 + randomIndex(largestAmount), currency }
  }
  return function nextRequest() {
    const body = JSON.stringify(
      batchSize === undefined
        ? nextTransfer()
        : { transfers: Array.from({ length: batchSize }, nextTransfer) },
    )
    return `${head}Idempotency-Key: ${randomUUID()}\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  }
}

const largestAmount = 10_000

/**
 * Sends each request so many times under its one key: again at once, by whichever connection asks
 * next, while the first may be in flight (a twin); then a thousand requests later, when it has most
 * likely settled (a late replay), and so on.
 */
export function withRepetitions(
  nextRequest: () => string,
  sentTimes: number,
): () => TrafficRequest {
  const due: { text: string; left: number; atNumber: number }[] = []
  let number = 0
  return function nextOfMany() {
    number += 1
    const [repeated] = due
    if (repeated !== undefined && repeated.atNumber <= number) {
      due.shift()
      if (repeated.left > 1) {
        // Later than all that wait, so that the list stays in order.
        due.push({ ...repeated, left: repeated.left - 1, atNumber: number + repetitionGap })
      }
      return { text: repeated.text, isRepeated: true }
    }
    const text = nextRequest()
    if (sentTimes > 1) due.unshift({ text, left: sentTimes - 1, atNumber: number + 1 })
    return { text, isRepeated: false }
  }
}

/** 1,000 requests: some tenths of a second, in which a transfer settles. */
const repetitionGap = 1_000

function otherThan(index: number, count: number): number {
  return (index + 1 + randomIndex(count - 1)) % count
}

/** The n-th account is drawn 1/n times as often as the first (Zipf's law). */
function zipfIndex(count: number): number {
  let left = Math.random() * harmonic(count)
  let index = 0
  while (index < count - 1 && left > 1 / (index + 1)) {
    left -= 1 / (index + 1)
    index += 1
  }
  return index
}

const harmonics = new Map<number, number>()

/** 1 + 1/2 + … + 1/count. */
function harmonic(count: number): number {
  const known = harmonics.get(count)
  if (known !== undefined) return known
  let sum = 0
  for (let n = 1; n <= count; n++) sum += 1 / n
  harmonics.set(count, sum)
  return sum
}

function randomIndex(length: number): number {
  return Math.floor(Math.random() * length)
}

function pick(accounts: readonly string[], index: number): string {
  const account = accounts[index]
  if (account === undefined) throw new Error(`no account at ${index}`)
  return account
}
