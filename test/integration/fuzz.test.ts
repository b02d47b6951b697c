import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createApiKey } from '@payonce/core/tenants/api-key'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertBooksHold } from '../support/books.ts'
import { complaintsIn, expectNoFailure } from '../support/footprint.ts'
import {
  fuzzRequest,
  withTransfer,
  type FuzzCast,
  type FuzzRequest,
} from '../support/fuzz-request.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { RawConnection, type RawAnswer, type RawRequest } from '../support/raw-connection.ts'
import { expectProblem } from '../support/refusal.ts'
import type { TransferOnWire } from '../support/wire.ts'

/*
 * Generated requests of every kind. Nothing that a client can send is a failure of the server, takes
 * long, or leaves something half done.
 *
 * FUZZ_RUNS=N sends N times as much, without a limit of time; FUZZ_SEED=N sends again what was sent
 * with that seed, which every run prints.
 */

const factor = Number(process.env.FUZZ_RUNS ?? 1)
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
const isBounded = process.env.FUZZ_RUNS === undefined && process.env.FUZZ_SEED === undefined

/** At most 5 s for each part in an ordinary run, however slow the machine is. */
const boundMs = 5_000
/** 5 s: five times the longest wait that is asked for. */
const answerWithinMs = 5_000
/** Requests on their way at a time, each on a connection of its own. */
const parallel = 6

let payonce: Payonce
let cast: FuzzCast
/** What the server had to say when it started. */
let complaints: readonly string[]
/** The transfers that were accepted, by the keys that they belong to for ever. */
const accepted = new Map<string, string>()

beforeAll(async () => {
  payonce = await startPayonce()
  const { id: tenantId, db, newId, apiKey } = payonce
  const other = await payonce.addTenant('other')
  cast = {
    accounts: [
      payonce.world,
      payonce.alice,
      payonce.merchant,
      await payonce.openAccount(1_000),
      await payonce.openAccount(0, { currency: 'USD' }),
    ],
    foreignAccount: other.merchant,
    unknownAccount: payonce.alice.replace(/.{12}$/, '0123456789ab'),
    apiKey,
    foreignApiKey: other.apiKey,
    readOnlyApiKey: await createApiKey(db, {
      id: newId(),
      tenantId,
      mode: 'test',
      scopes: ['read'],
    }),
  }
  complaints = complaintsIn(payonce.log)
  console.info(`fuzz: FUZZ_SEED=${seed}`)
})

const parameters = <T>(numRuns: number, runSeed: number): fc.Parameters<T> => ({
  seed: runSeed,
  numRuns: numRuns * factor,
  ...(isBounded ? { interruptAfterTimeLimit: boundMs } : {}),
})

const testTimeoutMs = isBounded ? 30_000 : 3_600_000

describe('whatever a client sends', () => {
  const connections = new Map<number, RawConnection>()
  /** The ends of connections that the server said it would close, some of them a moment later. */
  const ends: Promise<void>[] = []

  afterAll(() => {
    for (const connection of connections.values()) connection.destroy()
  })

  async function connectionAt(slot: number): Promise<RawConnection> {
    const connection = connections.get(slot) ?? (await RawConnection.open(payonce.api.url))
    connections.set(slot, connection)
    return connection
  }

  async function ask(request: RawRequest, slot: number): Promise<RawAnswer> {
    const connection = await connectionAt(slot)
    connection.send(request)
    const isHead = request.method === 'HEAD'
    const answer = await connection.answer({ isHead, withinMs: answerWithinMs })
    if (answer.headers.get('connection') === 'close') {
      ends.push(connection.untilClosed(answerWithinMs))
      connections.delete(slot)
    }
    return answer
  }

  /** How often each status was answered. */
  const statuses = new Map<number, number>()

  async function sendGenerated(runs: number, runSeed: number): Promise<void> {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fuzzRequest(cast), { minLength: 1, maxLength: parallel }),
        async (requests) => {
          const transfers = [...accepted.values()]
          const answers = await Promise.all(
            requests.map(async (request, slot) => {
              const answer = await ask(withTransfer(request, transfers), slot)
              expectProperAnswer(request, answer)
              return answer
            }),
          )
          // In the order of the requests and not of the answers, so that a seed is enough to repeat them.
          answers.forEach(noteAnswer)
        },
      ),
      parameters(runs, runSeed),
    )
  }

  function noteAnswer({ status, json }: RawAnswer): void {
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    const transfer = json as Partial<TransferOnWire> | undefined
    if (transfer?.object !== 'transfer' || ![200, 202].includes(status)) return
    const { id = '', idempotency_key: key = '' } = transfer
    expect(accepted.get(key) ?? id, `the transfer of the key ${key}`).toBe(id)
    accepted.set(key, id)
  }

  it(
    'is answered: with what was asked for, or with a problem that says what is wrong',
    async () => {
      // The first of them load what is loaded when it is needed, and so does our own code.
      await sendGenerated(100, seed)
      const heapBefore = heapBytes()
      await sendGenerated(400, seed + 1)
      await Promise.all(ends)
      console.info(
        'fuzz: answers by status',
        Object.fromEntries([...statuses].toSorted(([a], [b]) => a - b)),
      )
      // A fuzzer that is refused before it gets anywhere would test nothing.
      for (const status of [200, 201, 202, 400, 401, 404, 422]) {
        expect(statuses.get(status), `answers with ${status}`).toBeGreaterThan(0)
      }
      await expectNothingHalfDone()
      // 20 MB: what the caches of keys and accounts and the metrics may take for so few requests.
      expect(heapBytes() - heapBefore).toBeLessThan(20_000_000 * factor)
    },
    testTimeoutMs,
  )

  it(
    'down to single bytes is answered or cut off, and does no harm',
    async () => {
      const answers = { answered: 0, cutOff: 0 }
      await fc.assert(
        fc.asyncProperty(
          fuzzRequest(cast),
          fc.array(mutation(), { maxLength: 4 }),
          fc.nat(),
          async (request, mutations, cut) => {
            const bytes = mutations.reduce(
              (all, mutate) => mutate(all),
              bytesOf(withTransfer(request, [...accepted.values()])),
            )
            const connection = await RawConnection.open(payonce.api.url)
            const middle = cut % (bytes.length + 1)
            connection.write(bytes.subarray(0, middle))
            connection.write(bytes.subarray(middle))
            connection.end()
            await connection.untilClosed(answerWithinMs)
            const heads = connection.received.match(/HTTP\/1\.1 \d{3}/g) ?? []
            expect(heads.filter((head) => / 5..$/.test(head))).toEqual([])
            if (heads.length > 0) answers.answered += 1
            else answers.cutOff += 1
          },
        ),
        parameters(500, seed + 2),
      )
      console.info('fuzz: raw bytes', answers)
      expect(answers.answered).toBeGreaterThan(0)
      await expectNothingHalfDone()
    },
    testTimeoutMs,
  )
})

function expectProperAnswer(request: FuzzRequest, answer: RawAnswer): void {
  const said = `${request.method} ${request.path} was answered ${answer.status} ${answer.text}`
  expect(answer.status, said).toBeLessThan(500)
  // What the server could not read as a request has an id as well, since we answer that ourselves.
  expect(answer.headers.get('request-id'), said).toMatch(/^req_[0-9a-f]{32}$/)
  const isPage = request.path.startsWith('/problems/') && answer.status === 404
  if (request.method === 'HEAD') expect(answer.text).toBe('')
  else if (answer.status >= 400 && !isPage) expectProblem(answer)
}

/** What was accepted settles, the books hold, nothing is there by halves, and nothing has failed. */
async function expectNothingHalfDone(): Promise<void> {
  await payonce.untilAllSettled()
  await assertBooksHold(payonce.db)
  const { rows } = await payonce.db.query<Record<string, unknown>>(
    `SELECT idempotency_key, resource FROM idempotency_keys
      WHERE NOT EXISTS (SELECT FROM commands WHERE commands.tenant_id = idempotency_keys.tenant_id
                                               AND commands.id = resource_id)
        AND NOT EXISTS (SELECT FROM accounts WHERE accounts.tenant_id = idempotency_keys.tenant_id
                                               AND accounts.id = resource_id)`,
  )
  expect(rows).toEqual([])
  for (const [key, id] of accepted) {
    const settled = await payonce.client.read(id)
    expect(settled).toMatchObject({ id, idempotency_key: key, settled_at: expect.any(String) })
  }
  await expectNoFailure(payonce, complaints)
  expect((await payonce.client.get('/readyz')).status).toBe(200)
}

type Mutation = (bytes: Buffer) => Buffer

/** A change somewhere in a request: bytes left out, put in, replaced or sent again. */
function mutation(): fc.Arbitrary<Mutation> {
  const place = fc.tuple(fc.nat(), fc.nat(8))
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 8 }).map((some) => Buffer.from(some)),
    fc
      .constantFrom('\r\n', '\n', '\0', ' ', ':', '\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n', '0\r\n\r\n')
      .map((text) => Buffer.from(text)),
    fc
      .constantFrom('content-length: 5\r\n', 'transfer-encoding: chunked\r\n', 'expect: x\r\n')
      .map((text) => Buffer.from(text)),
  )
  const splice = (all: Buffer, [at, length]: [number, number], put: Buffer): Buffer => {
    const start = at % (all.length + 1)
    return Buffer.concat([all.subarray(0, start), put, all.subarray(start + length)])
  }
  return fc.oneof(
    place.map(
      (where): Mutation =>
        (all) =>
          splice(all, where, Buffer.alloc(0)),
    ),
    fc.tuple(place, bytes).map(
      ([where, put]): Mutation =>
        (all) =>
          splice(all, where, put),
    ),
    fc.tuple(fc.nat(), bytes).map(
      ([at, put]): Mutation =>
        (all) =>
          splice(all, [at, 0], put),
    ),
    fc.nat().map(
      (at): Mutation =>
        (all) =>
          all.subarray(0, at % (all.length + 1)),
    ),
    fc.constant<Mutation>((all) => Buffer.concat([all, all])),
  )
}

function bytesOf({ method, path, headers = [], body }: RawRequest): Buffer {
  const bytes = Buffer.from(body ?? '')
  const lines = [
    ['host', 'a'] as const,
    ['content-length', String(bytes.length)] as const,
    ...headers,
  ]
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`, 'latin1'), bytes])
}

/** What is in use after everything that nobody needs has been thrown away. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  collectGarbage()
  return process.memoryUsage().heapUsed
}
