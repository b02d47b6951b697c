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
}

/** Which pairs of accounts move money: a new pattern is a new line here. */
const pairs = {
  uniform: (accounts: readonly string[]): [source: string, destination: string] => {
    const source = randomIndex(accounts.length)
    const step = 1 + randomIndex(accounts.length - 1)
    return [pick(accounts, source), pick(accounts, (source + step) % accounts.length)]
  },
} as const

export type TrafficKind = keyof typeof pairs

/** Returns a maker of requests: each call is a new transfer under a new key, as it goes on the wire. */
export function createTraffic(options: TrafficOptions): () => string {
  const { kind, url, path, apiKey, accounts, currency, waitSeconds, batchSize } = options
  const choosePair = pairs[kind]
  const head =
    `POST ${path} HTTP/1.1\r\nHost: ${new URL(url).host}\r\n` +
    `Authorization: Bearer ${apiKey}\r\nContent-Type: application/json\r\n` +
    (waitSeconds === undefined ? '' : `Prefer: wait=${waitSeconds}\r\n`)
  function nextTransfer() {
    const [source, destination] = choosePair(accounts)
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

function randomIndex(length: number): number {
  return Math.floor(Math.random() * length)
}

function pick(accounts: readonly string[], index: number): string {
  const account = accounts[index]
  if (account === undefined) throw new Error(`no account at ${index}`)
  return account
}
