import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeId } from '@payonce/core/ids'
import { check } from '../../storm/checker/check.ts'
import { importsOf, repositoryRoot } from './sources.ts'
import { makeStormWorld, type StormBooks, type StormWorld } from './models/storm-world.ts'
import type { Answered, HistoryRecord, Invoked } from '../../storm/history.ts'

/*
 * A checker is worth nothing until it has failed: every invariant is shown a world in which it alone
 * does not hold, next to the same world in which all do.
 */

const seed = 1
const world = () => makeStormWorld(seed, 300)

function brokenIn({ history, books }: StormWorld): number[] {
  const { findings } = check(history, books)
  return findings.flatMap(({ invariant, count }) => (count > 0 ? [invariant] : []))
}

describe('the checker', () => {
  const folder = join(repositoryRoot, 'storm/checker')
  const sources = readdirSync(folder).map((name) => ({
    path: name,
    code: readFileSync(join(folder, name), 'utf8'),
  }))

  /** Else both would make the same mistake, and agree. */
  it('has a ledger of its own, which imports nothing', () => {
    const model = first(sources, ({ path }) => path === 'model.ts')
    expect(importsOf(model)).toEqual([])
  })

  it('knows of the product only how its ids are written, and asks nobody anything', () => {
    const others = sources.filter(({ path }) => path !== 'verdict.ts').flatMap(importsOf)
    const outside = others.flatMap(({ specifier, isRelative }) => (isRelative ? [] : [specifier]))
    expect(new Set(outside)).toEqual(new Set(['@payonce/core/ids', 'node:crypto']))
  })
})

describe('a good storm', () => {
  const seeds = Array.from({ length: 40 }, (_, index) => [index + 1])

  it.each(seeds)('is found good, by invariants that all looked at something: seed %i', (one) => {
    const { history, books } = makeStormWorld(one, 200)
    const verdict = check(history, books)
    expect(verdict.findings.flatMap(({ violations }) => violations)).toEqual([])
    expect(verdict.notExercised).toEqual([])
    expect(verdict.isGood).toBe(true)
  })

  it('has transfers of every kind and end, so that the tests below mean something', () => {
    const { books } = world()
    const kinds = new Set(books.transfers.map(({ kind, status }) => `${kind} ${status}`))
    for (const kind of ['transfer', 'hold', 'capture', 'release', 'refund']) {
      for (const status of ['succeeded', 'failed']) expect(kinds).toContain(`${kind} ${status}`)
    }
    const codes = new Set(books.transfers.map(({ failureCode }) => failureCode))
    for (const code of ['account_frozen', 'insufficient_funds', 'already_refunded']) {
      expect(codes).toContain(code)
    }
    for (const one of ['transfer canceled', 'hold held', 'hold released']) {
      expect(kinds).toContain(one)
    }
  })
})

/** The first that fits. A world without one would make its test vacuous. */
function first<T>(items: readonly T[], fits: (item: T) => boolean): T {
  const found = items.find(fits)
  if (found === undefined) throw new Error('this world has none of these')
  return found
}

const isInvoked = (record: HistoryRecord) => record.type === 'invoked'
const isAnswered = (record: HistoryRecord) => record.type === 'answered'

function callOf(history: readonly HistoryRecord[], answer: Answered): Invoked {
  return first(history.filter(isInvoked), ({ call }) => call === answer.call)
}

/** An answer to a request of this kind. */
function answerTo(
  history: readonly HistoryRecord[],
  kind: Invoked['operation']['kind'],
  fits: (answer: Answered, call: Invoked) => boolean,
): Answered {
  const answers = history.filter(isAnswered)
  return first(answers, (answer) => {
    const call = callOf(history, answer)
    return call.operation.kind === kind && fits(answer, call)
  })
}

/** The only call of its key, accepted. */
function onlyPost(history: readonly HistoryRecord[]): { answer: Answered; call: Invoked } {
  const posts = history.filter(isInvoked).flatMap(({ operation }) => keyIn(operation) ?? [])
  const answer = answerTo(history, 'post', ({ status }, { operation }) => {
    const times = posts.filter((key) => key === keyIn(operation)).length
    return status === 202 && times === 1 && 'route' in operation && !('target' in operation)
  })
  return { answer, call: callOf(history, answer) }
}

/** A replay of what was answered as the first request too. */
function replayOfAnswered(history: readonly HistoryRecord[]): Answered {
  const firsts = history
    .filter(isAnswered)
    .filter(({ status, isReplay }) => status === 202 && !isReplay)
    .map((answer) => answer.id)
  return answerTo(history, 'post', ({ isReplay, id }) => isReplay && firsts.includes(id))
}

function keyIn(operation: Invoked['operation']): string | undefined {
  return operation.kind === 'post' ? operation.key : undefined
}

const succeeded = ({ transfers }: StormBooks) =>
  first(transfers, ({ kind, status }) => kind === 'transfer' && status === 'succeeded')

const lastOf = <T>(items: readonly T[]): T => first(items.toReversed(), () => true)

function remove<T>(items: T[], isGone: (item: T) => boolean): void {
  items.splice(0, items.length, ...items.filter((item) => !isGone(item)))
}

type Break = (world: StormWorld) => void

/** Each the least that breaks an invariant, and which one that is. */
const breaks: [invariant: number, what: string, break_: Break][] = [
  [
    0,
    'a client sees 500',
    ({ history }) => {
      answerTo(history, 'post', ({ status }) => status === 503).status = 500
    },
  ],
  [
    0,
    'a client sees 502 on a read',
    ({ history }) => {
      answerTo(history, 'read', ({ status }) => status === 404).status = 502
    },
  ],
  [
    0,
    'a process ends by itself',
    ({ history }) => {
      const process = 'api-1'
      history.push({ type: 'exited', at: 1, process, code: 1, signal: null, isExpected: false })
    },
  ],
  [
    0,
    'a fault is not recovered from',
    ({ history }) => {
      history.splice(
        history.findIndex(({ type }) => type === 'recovered'),
        1,
      )
    },
  ],
  [
    1,
    'a read of the balances misses an amount',
    ({ history }) => {
      const snapshots = history.filter(({ type }) => type === 'snapshot')
      Object.assign(lastOf(snapshots), { sums: [{ tenant: 'x', currency: 'EUR', balance: '-5' }] })
    },
  ],
  [
    2,
    'an entry belongs to another transfer',
    ({ books }) => {
      const other = first(books.transfers, ({ status }) => status === 'failed')
      lastOf(books.entries).transferId = other.id
    },
  ],
  [
    2,
    'two transfers have each other’s entries',
    ({ books }) => {
      const [a, ...rest] = books.entries
      if (a === undefined) throw new Error('no entries')
      const b = first(
        rest,
        ({ amount, accountId }) => accountId === a.accountId && amount !== a.amount,
      )
      ;[a.transferId, b.transferId] = [b.transferId, a.transferId]
    },
  ],
  [
    3,
    'an outage is taken for a bug of one transfer, which is put aside',
    ({ books }) => {
      books.attempts.push({ transferId: succeeded(books).id, code: 'unknown' })
    },
  ],
  [
    3,
    'an accepted request is nowhere',
    ({ history }) => {
      const { answer, call } = onlyPost(history)
      const operation = { ...call.operation, key: 'lost' } as Invoked['operation']
      const id = 'tr_01900000000070008000ffffffffffff'
      history.push({ ...call, call: 90_000, operation })
      history.push({ ...answer, call: 90_000, id, bodyHash: 'lost' })
    },
  ],
  [
    3,
    'an accepted request never settles',
    ({ books }) => {
      const [key] = books.keys
      if (key === undefined) throw new Error('no keys')
      books.keys.push({ ...key, idempotencyKey: 'stuck', resourceId: 'stuck' })
    },
  ],
  [
    3,
    'a settled transfer is still put aside',
    ({ books }) => {
      const { tenantId, id } = succeeded(books)
      const why = { reason: 'poison', attempts: 3, lastCode: 'x' }
      books.deferred.push({ tenantId, transferId: id, ...why })
    },
  ],
  [
    4,
    'a replay names another transfer',
    ({ history }) => {
      const replay = answerTo(history, 'post', ({ isReplay }) => isReplay)
      replay.id = 'tr_01900000000070008000ffffffffffff'
      delete replay.payonceStatus
    },
  ],
  [
    4,
    'a replay has other bytes',
    ({ history }) => {
      replayOfAnswered(history).bodyHash = 'other'
    },
  ],
  [
    4,
    'two answers say that they are the first',
    ({ history }) => {
      replayOfAnswered(history).isReplay = false
    },
  ],
  [
    5,
    'another amount is carried out than was asked for',
    ({ history }) => {
      const { call } = onlyPost(history)
      if (call.operation.kind === 'post')
        call.operation.body = { ...call.operation.body, amount: 999 }
    },
  ],
  [
    5,
    'another body is accepted under a known key',
    ({ history }) => {
      const answer = answerTo(history, 'post', ({ code }) => code === 'idempotency_key_reused')
      const key = keyIn(callOf(history, answer).operation)
      const good = answerTo(
        history,
        'post',
        ({ status }, { operation }) => status === 202 && keyIn(operation) === key,
      )
      Object.assign(answer, { ...good, call: answer.call, at: answer.at, isReplay: true })
      delete answer.code
      delete answer.payonceStatus
    },
  ],
  [
    5,
    'a repeat is taken for another request',
    ({ history }) => {
      const replay = answerTo(history, 'post', ({ isReplay }) => isReplay)
      Object.assign(replay, { status: 422, code: 'idempotency_key_reused', isReplay: false })
      delete replay.payonceStatus
    },
  ],
  [
    5,
    'a fingerprint is of no body that was sent',
    ({ books }) => {
      lastOf(books.keys).fingerprint = 'ff'
    },
  ],
  [
    6,
    'a balance is not its entries',
    ({ books }) => {
      lastOf(books.accounts).balance += 5n
    },
  ],
  [
    6,
    'more is held than the open holds are',
    ({ books }) => {
      lastOf(books.accounts).held += 1n
    },
  ],
  [
    7,
    'an entry has another number',
    ({ books }) => {
      const { accountId } = lastOf(books.entries)
      lastOf(books.entries.filter((entry) => entry.accountId === accountId)).seq += 1n
    },
  ],
  [
    7,
    'a balance after an entry is wrong',
    ({ books }) => {
      lastOf(books.entries.filter(({ balanceAfter }) => balanceAfter > 0n)).balanceAfter += 5n
    },
  ],
  [
    9,
    'a client saw a transfer held that the books call failed',
    ({ books, history }) => {
      const { id, tenantId } = first(
        books.transfers,
        ({ kind, status }) => kind === 'hold' && status === 'failed',
      )
      const operation = { kind: 'read', target: encodeId('transfer', id) } as const
      const last = lastOf(history.filter(isInvoked))
      const read = { ...last, call: 90_001, operation, tenant: tenantId }
      const told = { transferStatus: 'held', id: operation.target }
      const answer = { type: 'answered', call: 90_001, at: last.at, status: 200 } as const
      history.unshift(read, { ...answer, bodyHash: '', isReplay: false, ...told })
    },
  ],
  [
    9,
    'a settled transfer is seen queued',
    ({ history, books }) => {
      const isTerminal = (answer: Answered) => answer.transferStatus === 'succeeded'
      const reads = history.filter(isAnswered).filter(isTerminal)
      const seen = first(reads, ({ id }) => reads.filter((other) => other.id === id).length > 1)
      const later = lastOf(reads.filter(({ id }) => id === seen.id))
      later.transferStatus = 'queued'
      expect(books.transfers.length).toBeGreaterThan(0)
    },
  ],
  [
    9,
    'a client sees another end than the books have',
    ({ history }) => {
      const read = answerTo(history, 'read', ({ transferStatus }) => transferStatus === 'failed')
      for (const one of history.filter(isAnswered)) {
        if (one.id !== read.id) continue
        if (one.transferStatus === 'failed') one.transferStatus = 'succeeded'
        if (one.payonceStatus === 'failed') one.payonceStatus = 'succeeded'
      }
    },
  ],
  [
    10,
    'a transfer is refused for another reason than it was',
    ({ books }) => {
      const refused = first(
        books.transfers,
        ({ failureCode }) => failureCode === 'insufficient_funds',
      )
      refused.failureCode = 'account_frozen'
    },
  ],
  [
    10,
    'a version was made twice',
    ({ books }) => {
      const transfer = lastOf(
        books.transfers.filter(({ status, kind }) => status === 'succeeded' && kind === 'transfer'),
      )
      transfer.sourceVersion = (transfer.sourceVersion ?? 0n) - 1n
    },
  ],
  [
    10,
    'an event is missing of a change of limit, so that a version was made by nobody',
    ({ history, books }) => {
      const gone = lastOf(books.events.filter(({ type }) => type === 'account.updated'))
      books.events.splice(books.events.indexOf(gone), 1)
      remove(history, (one) => one.type === 'webhook' && one.eventId === gone.id)
    },
  ],
  [
    10,
    'more was refunded than the refunds were',
    ({ books }) => {
      first(books.transfers, ({ refundedAmount }) => refundedAmount > 0n).refundedAmount += 1n
    },
  ],
  [
    12,
    'an accepted transfer cannot be found',
    ({ history }) => {
      const answers = history.filter(isAnswered)
      const read = answerTo(history, 'read', ({ status, id }, call) => {
        const accepted = answers.find((one) => one.id === id && one.status === 202)
        const isEarlier = accepted !== undefined && accepted.at < call.at
        return status === 200 && isEarlier
      })
      Object.assign(read, { status: 404, code: 'not_found' })
      delete read.id
      delete read.transferStatus
    },
  ],
  [
    13,
    'an event of a transfer has been left out',
    ({ books }) => {
      const event = first(books.events, ({ objectId }) => objectId === succeeded(books).id)
      event.sequence += 1
    },
  ],
  [
    13,
    'an event never reaches a healthy endpoint',
    ({ history, books }) => {
      const isFirst = (record: HistoryRecord) =>
        record.type === 'webhook' && record.mode === 'healthy'
      const gone = lastOf(history.filter(isFirst))
      if (gone.type !== 'webhook') throw new Error('no webhook')
      const isGone = (one: HistoryRecord) =>
        one.type === 'webhook' && one.eventId === gone.eventId && one.endpoint === gone.endpoint
      remove(history, isGone)
      books.deliveries = []
    },
  ],
  [
    13,
    'what is noted as delivered to a bad endpoint never came',
    ({ history }) => {
      const index = history.findIndex((one) => one.type === 'webhook' && one.mode === 'bad')
      const [gone] = history.splice(index, 1)
      const isGone = (one: HistoryRecord) =>
        one.type === 'webhook' &&
        gone?.type === 'webhook' &&
        one.eventId === gone.eventId &&
        one.endpoint === gone.endpoint
      remove(history, isGone)
    },
  ],
  [
    13,
    'every attempt has an id of its own',
    ({ history }) => {
      const webhooks = history.filter((one) => one.type === 'webhook')
      const keys = webhooks.map(({ eventId, endpoint }) => `${eventId} ${endpoint}`)
      const twice = first(webhooks, (one) => {
        const key = `${one.eventId} ${one.endpoint}`
        return keys.indexOf(key) !== keys.lastIndexOf(key)
      })
      twice.eventId = 'evt_01900000000070008000ffffffffffff'
    },
  ],
  ...(
    [
      ['a signature is wrong', { isSignatureValid: false }],
      ['a webhook is about another transfer', { objectId: 'tr_01900000000070008000ffffffffffff' }],
      ['a webhook tells another status', { objectStatus: 'queued' }],
      ['a webhook tells another type', { eventType: 'transfer.expired' }],
    ] as const
  ).map(([what, change]): [number, string, Break] => [
    13,
    what,
    ({ history }) => {
      const isTransfer = (one: HistoryRecord) =>
        one.type === 'webhook' && one.eventType.startsWith('transfer.')
      Object.assign(lastOf(history.filter(isTransfer)), change)
    },
  ]),
  [
    13,
    'an attempt has other bytes',
    ({ history }) => {
      const webhooks = history.filter((one) => one.type === 'webhook')
      const repeated = first(
        webhooks,
        (one) => webhooks.find(({ eventId }) => eventId === one.eventId) !== one,
      )
      repeated.bodyHash = 'other'
    },
  ],
  [
    13,
    'no event tells of an end',
    ({ history, books }) => {
      const gone = first(books.events, ({ type }) => type === 'transfer.failed')
      books.events.splice(books.events.indexOf(gone), 1)
      const isGone = (one: HistoryRecord) => one.type === 'webhook' && one.eventId === gone.id
      remove(history, isGone)
    },
  ],
  [
    14,
    'a refused request is carried out',
    ({ history }) => {
      const { answer } = onlyPost(history)
      answer.status = 422
      answer.code = 'currency_mismatch'
      delete answer.id
    },
  ],
  [
    14,
    'a refused cancel cancels',
    ({ history }) => {
      const canceled = answerTo(history, 'cancel', ({ status }) => status === 200)
      const { operation } = callOf(history, canceled)
      for (const one of history.filter(isAnswered)) {
        const other = callOf(history, one).operation
        if (other.kind !== 'cancel' || operation.kind !== 'cancel') continue
        if (other.target !== operation.target) continue
        Object.assign(one, { status: 409, code: 'transfer_already_settled' })
        delete one.transferStatus
      }
    },
  ],
  [
    14,
    'what was canceled moved money',
    ({ history }) => {
      const refused = answerTo(history, 'cancel', ({ status }, { operation }) => {
        const isSeen = history
          .filter(isAnswered)
          .some(({ id }) => operation.kind === 'cancel' && id === operation.target)
        return status === 409 && isSeen
      })
      refused.status = 200
      delete refused.code
    },
  ],
  [
    15,
    'a tenant reads what is another’s',
    ({ history, books }) => {
      const read = answerTo(history, 'read', ({ status }) => status === 404)
      const { operation } = callOf(history, read)
      if (operation.kind !== 'read') throw new Error('no read')
      const uuid = operation.target.slice(3)
      const { status } = first(books.transfers, ({ id }) => id.replaceAll('-', '') === uuid)
      Object.assign(read, { status: 200, id: operation.target })
      expect(status).not.toBe('queued')
    },
  ],
  [
    15,
    'an account of another tenant is named',
    ({ books }) => {
      const transfer = first(
        books.transfers,
        ({ parentId, sourceVersion }) => parentId !== null && sourceVersion === null,
      )
      transfer.source = 'an account of somebody else'
      const command = first(books.commands, ({ id }) => id === transfer.id)
      command.command = { ...command.command, source: transfer.source }
    },
  ],
]

describe('a checker that has failed:', () => {
  it.each(breaks)('%i, where %s', (invariant, _, break_) => {
    const broken = world()
    break_(broken)
    expect(brokenIn(broken)).toEqual([invariant])
  })

  /** Nobody told of the second one, or else its event would be one that never arrived. */
  it('4, where a key is carried out twice, of which no event tells', () => {
    const { history, books } = world()
    const twice = first(books.transfers, ({ status }) => status === 'failed')
    books.transfers.push({ ...twice, id: '01900000-0000-7000-8000-ffffffffffff' })
    expect(brokenIn({ history, books })).toEqual([4, 13])
  })

  it('shows every invariant a world that breaks it', () => {
    const shown = new Set(breaks.map(([invariant]) => invariant))
    const all = Array.from({ length: 16 }, (_, index) => index)
    expect(all.filter((invariant) => !shown.has(invariant))).toEqual([8, 11])
  })

  /** No ledger that keeps to a model lets an account go below its limit: so the model breaks as well. */
  it('8, where an account goes below its limit, which 10 finds impossible too', () => {
    const broken = world()
    for (const limit of broken.books.limits) limit.overdraftLimit = -1n
    expect(brokenIn(broken)).toEqual([8, 10])
  })

  it('8, where what is held is more than there is', () => {
    const broken = world()
    const internal = broken.books.accounts.flatMap(({ id, kind }) =>
      kind === 'internal' ? [id] : [],
    )
    const held = first(
      broken.books.transfers,
      ({ status, source }) => status === 'held' && internal.includes(source ?? ''),
    )
    held.amount = (held.amount ?? 0n) + 100_000n
    expect(brokenIn(broken)).toContain(8)
  })

  it('11, where a chain contradicts what a client saw before it asked', () => {
    const { history, books } = world()
    const inChain = books.transfers.filter(
      ({ kind, status }) => kind === 'transfer' && status === 'succeeded',
    )
    const sentAt = (id: string) =>
      history.findIndex(
        (one) => one.type === 'invoked' && keyIn(one.operation) === keyOf(books, id),
      )
    const [earlier, later] = pairOnOneAccount(inChain, (id) => sentAt(id) >= 0)
    // A reader saw the later one settled before the earlier one was sent.
    const read = { client: 'client-x', tenant: earlier.tenantId }
    const target = `tr_${later.id.replaceAll('-', '')}`
    const call = 90_000
    const at = 0
    const place = sentAt(earlier.id)
    history.splice(
      place,
      0,
      { type: 'invoked', at, call, ...read, operation: { kind: 'read', target } },
      {
        type: 'answered',
        at,
        call,
        status: 200,
        bodyHash: '',
        id: target,
        transferStatus: 'succeeded',
        isReplay: false,
      },
    )
    const found = brokenIn({ history, books })
    expect(found).toContain(11)
    // Reads before it was settled see it queued, as they did: that much is a contradiction too.
    expect(found.filter((invariant) => invariant !== 9)).toEqual([11])
  })
})

function keyOf({ keys }: StormBooks, id: string): string | undefined {
  return keys.find(({ resourceId }) => resourceId === id)?.idempotencyKey
}

function pairOnOneAccount<
  T extends { id: string; source: string | null; sourceVersion: bigint | null },
>(transfers: readonly T[], fits: (id: string) => boolean): [earlier: T, later: T] {
  for (const earlier of transfers.filter(({ id }) => fits(id))) {
    const later = transfers.findLast(({ source }) => source === earlier.source)
    if (later === undefined || later === earlier) continue
    if ((later.sourceVersion ?? 0n) > (earlier.sourceVersion ?? 0n)) return [earlier, later]
  }
  throw new Error('this world has no two transfers from one account')
}

describe('an invariant that looked at nothing', () => {
  const without = (type: HistoryRecord['type']) => {
    const { history, books } = world()
    return { history: history.filter((one) => one.type !== type), books }
  }

  it('is no invariant that holds', () => {
    const { history, books } = without('snapshot')
    const verdict = check(history, books)
    expect(verdict.notExercised).toEqual([1])
    expect(verdict.isGood).toBe(false)
  })

  it('unless the caller says that nothing was to be seen', () => {
    const { history, books } = without('snapshot')
    expect(check(history, books, { unexercised: [1] }).isGood).toBe(true)
  })

  it('and without any load there is nothing to see', () => {
    const empty = { keys: [], commands: [], transfers: [], entries: [], accounts: [] }
    const nothing = {
      ...empty,
      limits: [],
      deferred: [],
      events: [],
      endpoints: [],
      deliveries: [],
      attempts: [],
    }
    expect(check([], nothing)).toMatchObject({ isGood: true, notExercised: [] })
  })

  it('as one tenant alone says nothing about what tenants see of each other', () => {
    const { history, books } = world()
    const [one] = books.endpoints
    const calls = new Set(
      history
        .filter(isInvoked)
        .flatMap(({ tenant, call }) => (tenant === one?.tenantId ? [call] : [])),
    )
    const own = history.filter((record) => !('call' in record) || calls.has(record.call))
    expect(check(own, books).notExercised).toContain(15)
  })
})

describe('the verdict', () => {
  it('counts calls, replays, what nobody knows, and faults that hit', () => {
    const { history, books } = world()
    const { counts, faults } = check(history, books)
    const ofType = (type: HistoryRecord['type']) =>
      history.filter((one) => one.type === type).length
    expect(counts).toMatchObject({
      calls: ofType('invoked'),
      unknown: ofType('lost'),
      replays: history.filter((one) => one.type === 'answered' && one.isReplay).length,
      faults: ofType('recovered'),
      unexpectedExits: 0,
      unexpectedStatuses: 0,
    })
    expect(counts.faultsThatHit).toBe(faults.filter(({ inFlight }) => inFlight > 0).length)
    expect(faults[0]).toMatchObject({ name: 'F3 after-locks', recoveredAfterMs: 1_200 })
  })

  it('holds recoveries to their time, by row or by fault', () => {
    const { history, books } = world()
    const within = (recoveryLimitsMs: Record<string, number>) =>
      check(history, books, { recoveryLimitsMs }).isGood
    expect(within({ F3: 1_200 })).toBe(true)
    expect(within({ F3: 1_199 })).toBe(false)
    expect(within({ F3: 1_000, 'F3 after-locks': 2_000 })).toBe(true)
  })

  it('shows the first of many breaches, and counts them all', () => {
    const { history, books } = world()
    for (const webhook of history) if (webhook.type === 'webhook') webhook.isSignatureValid = false
    const { findings } = check(history, books)
    const [webhooks] = findings.filter(({ invariant }) => invariant === 13)
    expect(webhooks?.violations).toHaveLength(25)
    expect(webhooks?.count).toBe(history.filter(({ type }) => type === 'webhook').length)
  })

  it('takes thousands of calls in well under the time of a test', () => {
    const { history, books } = makeStormWorld(3, 3_000)
    const startedAt = performance.now()
    expect(check(history, books).isGood).toBe(true)
    expect(performance.now() - startedAt).toBeLessThan(5_000)
  })
})
