import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_AMOUNT } from '@payonce/core/money'
import {
  applyAtomically,
  applyCommands,
  leftOfHold,
  type LedgerCommand,
  type LedgerInput,
  type Outcome,
  type ParentState,
} from '@payonce/core/ledger/apply'
import { accountKey, available, type AccountState, type Entry } from '@payonce/core/ledger/books'
import {
  asOneBatch,
  atOneMoment,
  byKey,
  histories,
  judge,
  oneByOne,
  play,
  type History,
  type Step,
} from './models/ledger-history.ts'
import { sumOf } from './models/ledger-model.ts'
import type { RefusalCode } from '@payonce/core/refusals'

/** 100 histories of up to 50 commands take about half a second and meet every kind of outcome. */
const runs = { numRuns: 100 }

function holds(property: (history: History) => void): void {
  fc.assert(fc.property(histories, property), runs)
}

const noon = new Date('2026-01-01T12:00:00.000Z')
/** When the last batch of a history may be: later than any entry, and between the deadlines. */
const moment = new Date('2026-01-01T00:00:01.000Z')

function outcomesOf(steps: readonly Step[]): Outcome[] {
  return steps.flatMap(({ result }) => result.outcomes)
}

function entriesOf(steps: readonly Step[]): Entry[] {
  return steps.flatMap(({ result }) => result.entries)
}

function chainOf(entries: readonly Entry[], { tenantId, id }: AccountState): Entry[] {
  return entries.filter((entry) => entry.tenantId === tenantId && entry.accountId === id)
}

function final(steps: readonly Step[], account: AccountState): AccountState {
  const found = steps.at(-1)?.after.get(accountKey(account.tenantId, account.id))
  if (found === undefined) throw new Error(`no account ${account.id}`)
  return found
}

/** What the held ones among these transfers still reserve on an account. */
function reservedOn({ tenantId, id }: AccountState, transfers: Iterable<ParentState>): bigint {
  return [...transfers]
    .filter((one) => one.tenantId === tenantId && one.status === 'held')
    .filter(({ legs }) => legs[0]?.source === id)
    .reduce((sum, { legs, capturedAmount }) => sum + sumOf(legs) - capturedAmount, 0n)
}

function byId(a: { id: string }, b: { id: string }): number {
  return a.id < b.id ? -1 : 1
}

const terminal = ['succeeded', 'failed', 'canceled', 'expired', 'released']

describe('whatever the history of commands', () => {
  it('the outcomes are those of the slow and obvious model', () => {
    holds((history) => {
      expect(outcomesOf(play(history))).toEqual(judge(history).outcomes)
    })
  })

  it('the final balances, reserves, versions and transfers are those of the model', () => {
    holds((history) => {
      const steps = play(history)
      const { model } = judge(history)
      for (const opening of history.openings) {
        const { tenantId, id } = opening
        expect(final(steps, opening)).toMatchObject({
          balance: model.balanceOf(tenantId, id),
          held: model.heldOf(tenantId, id),
          version: model.versionOf(tenantId, id),
        })
      }
      const known = [...(steps.at(-1)?.parentsAfter.values() ?? [])]
      const noted = model.transfers.map((one): ParentState => {
        const { tenantId, id, kind, status, legs, holdUntil } = one
        const capturedAmount = model.capturedOf(one)
        const refundedAmount = model.refundedOf(one)
        return { tenantId, id, kind, status, legs, holdUntil, capturedAmount, refundedAmount }
      })
      expect(known.toSorted(byId)).toEqual(noted.toSorted(byId))
    })
  })

  it('an outcome has a failure code exactly where it failed or waits', () => {
    holds((history) => {
      for (const { status, failureCode } of outcomesOf(play(history))) {
        expect(failureCode !== null).toBe(status === 'failed' || status === 'deferred')
      }
    })
  })

  it('what succeeded has two entries per leg, which sum to zero, and all else has none', () => {
    holds((history) => {
      for (const { commands, result, parentsAfter } of play(history)) {
        const promised = commands.flatMap(({ id, tenantId, kind }, index) => {
          const isMoved = result.outcomes[index]?.status === 'succeeded' && kind !== 'release'
          const legs = isMoved ? (parentsAfter.get(id)?.legs ?? []) : []
          return legs.flatMap(({ source, destination, amount }) => [
            { tenantId, transferId: id, accountId: source, amount: -amount },
            { tenantId, transferId: id, accountId: destination, amount },
          ])
        })
        const written = result.entries.map(({ tenantId, transferId, accountId, amount }) => ({
          tenantId,
          transferId,
          accountId,
          amount,
        }))
        expect(written).toEqual(promised)
      }
    })
  })

  it('a balance is what the account opened with and the sum of its entries since', () => {
    holds((history) => {
      const steps = play(history)
      for (const opening of history.openings) {
        const sum = chainOf(entriesOf(steps), opening).reduce((all, { amount }) => all + amount, 0n)
        expect(final(steps, opening).balance).toBe(opening.balance + sum)
      }
    })
  })

  it('held is what is open of the held transfers, after every batch', () => {
    holds((history) => {
      for (const { after, parentsAfter } of play(history)) {
        for (const opening of history.openings) {
          const other = opening.held - reservedOn(opening, history.holds)
          const account = after.get(accountKey(opening.tenantId, opening.id))
          expect(account?.held).toBe(other + reservedOn(opening, parentsAfter.values()))
        }
      }
    })
  })

  it('the entries of an account continue its chain without a gap, each with the balance after it', () => {
    holds((history) => {
      const entries = entriesOf(play(history))
      for (const opening of history.openings) {
        let { entryCount: seq, balance } = opening
        for (const entry of chainOf(entries, opening)) {
          seq += 1n
          balance += entry.amount
          expect(entry).toMatchObject({ seq, balanceAfter: balance })
        }
      }
    })
  })

  it('an account counts its entries', () => {
    holds((history) => {
      const steps = play(history)
      for (const opening of history.openings) {
        const written = BigInt(chainOf(entriesOf(steps), opening).length)
        expect(final(steps, opening).entryCount).toBe(opening.entryCount + written)
      }
    })
  })

  it('no internal account has less available than its limit allows, after any command', () => {
    holds((history) => {
      for (const { after } of play(oneByOne(history))) {
        for (const account of after.values()) {
          const isKept = available(account) >= -account.overdraftLimit
          expect(isKept || account.kind === 'external').toBe(true)
        }
      }
    })
  })

  it('no balance and no reserve leaves what a JSON number can hold, after any command', () => {
    holds((history) => {
      const steps = play(oneByOne(history))
      for (const { balanceAfter } of entriesOf(steps)) {
        expect(balanceAfter >= -MAX_AMOUNT && balanceAfter <= MAX_AMOUNT).toBe(true)
      }
      for (const { after } of steps) {
        for (const { held } of after.values()) expect(held >= 0n && held <= MAX_AMOUNT).toBe(true)
      }
    })
  })

  it('a hold is never captured, nor a transfer refunded, for more than its amount', () => {
    holds((history) => {
      for (const { parentsAfter } of play(history)) {
        for (const { legs, status, capturedAmount, refundedAmount } of parentsAfter.values()) {
          expect(capturedAmount >= 0n && capturedAmount <= sumOf(legs)).toBe(true)
          expect(refundedAmount >= 0n && refundedAmount <= sumOf(legs)).toBe(true)
          if (status === 'held') expect(capturedAmount < sumOf(legs)).toBe(true)
        }
      }
    })
  })

  it('captured and refunded are the sums of what was moved by captures and refunds', () => {
    holds((history) => {
      const steps = play(history)
      const commands = history.batches.flatMap((batch) => batch.commands)
      const entries = entriesOf(steps)
      for (const parent of steps.at(-1)?.parentsAfter.values() ?? []) {
        const movedBy = (kind: LedgerCommand['kind']) => {
          const ids = commands
            .filter((one) => one.kind === kind && 'parentId' in one && one.parentId === parent.id)
            .map(({ id }) => id)
          return entries
            .filter(({ transferId, amount }) => ids.includes(transferId) && amount > 0n)
            .reduce((sum, { amount }) => sum + amount, 0n)
        }
        const before = history.holds.find(({ id }) => id === parent.id)?.capturedAmount ?? 0n
        expect(parent.capturedAmount).toBe(before + movedBy('capture'))
        expect(parent.refundedAmount).toBe(movedBy('refund'))
      }
    })
  })

  it('a status never goes back: what has ended stays as it ended, and so do its amounts but refunds', () => {
    holds((history) => {
      for (const { parentsBefore, parentsAfter } of play(oneByOne(history))) {
        for (const [id, before] of parentsBefore) {
          const after = parentsAfter.get(id)
          if (!terminal.includes(before.status)) {
            expect(['held', 'succeeded', 'released', 'expired']).toContain(after?.status)
            continue
          }
          expect(after).toEqual({ ...before, refundedAmount: after?.refundedAmount })
          expect((after?.refundedAmount ?? -1n) >= before.refundedAmount).toBe(true)
        }
      }
    })
  })

  it('a version rises by one with every entry, every hold and its end, and with nothing else', () => {
    holds((history) => {
      for (const { commands, before, after, result } of play(oneByOne(history))) {
        for (const [key, account] of after) {
          const earlier = before.get(key)
          const isSame = earlier?.balance === account.balance && earlier.held === account.held
          if (isSame && chainOf(result.entries, account).length === 0) {
            expect(account).toEqual(earlier)
          } else if (commands.length === 1) {
            const written = chainOf(result.entries, account).length
            const rise = Number(account.version - (earlier?.version ?? 0n))
            // A capture changes reserve and balance at once.
            expect(rise).toBe(Math.max(written, 1))
          }
        }
      }
    })
  })

  it('the moment of a batch is the latest of its time and the last entries of what it changed', () => {
    holds((history) => {
      for (const { before, now, result } of play(history)) {
        const earlier = result.changed.map(
          ({ tenantId, id }) => before.get(accountKey(tenantId, id))?.lastEntryAt?.getTime() ?? 0,
        )
        expect(result.settledAt.getTime()).toBe(Math.max(now.getTime(), ...earlier))
      }
    })
  })

  it('what got an entry had its last one at the moment of the batch, and nothing else did', () => {
    holds((history) => {
      for (const { before, result } of play(history)) {
        for (const account of result.changed) {
          const isPosted = chainOf(result.entries, account).length > 0
          const earlier = before.get(accountKey(account.tenantId, account.id))
          expect(account.lastEntryAt).toEqual(isPosted ? result.settledAt : earlier?.lastEntryAt)
        }
      }
    })
  })

  it('exactly the accounts and parents that differ are told as changed, each once', () => {
    holds((history) => {
      for (const { before, input, result } of play(history)) {
        const versions = new Map([...before].map(([key, { version }]) => [key, version]))
        const changed = result.changed.map(({ tenantId, id }) => accountKey(tenantId, id))
        expect(new Set(changed).size).toBe(changed.length)
        for (const account of result.changed) {
          const key = accountKey(account.tenantId, account.id)
          expect(account.version > (versions.get(key) ?? MAX_AMOUNT)).toBe(true)
        }
        for (const entry of result.entries) {
          expect(changed).toContain(accountKey(entry.tenantId, entry.accountId))
        }
        const parents = result.changedParents.map(({ id }) => id)
        expect(new Set(parents).size).toBe(parents.length)
        for (const parent of result.changedParents) {
          expect(parent).not.toEqual(input.parents.get(parent.id))
        }
        for (const [id, given] of input.parents) {
          if (!parents.includes(id)) expect(result.settled.get(id) ?? given).toEqual(given)
        }
      }
    })
  })

  it('the facts tell what happened: one for each transfer that was settled, one for each change since', () => {
    holds((history) => {
      for (const { input, result } of play(history)) {
        const told = new Map(input.parents)
        for (const { fact, transfer } of result.facts) {
          const before = told.get(transfer.id)
          told.set(transfer.id, transfer)
          if (fact === 'captured') {
            expect(transfer.capturedAmount).toBeGreaterThan(before?.capturedAmount ?? 0n)
            expect(transfer.status).toBe('held')
          } else if (fact === 'refunded') {
            expect(transfer.refundedAmount).toBeGreaterThan(before?.refundedAmount ?? 0n)
            expect(transfer.status).toBe('succeeded')
          } else {
            expect(transfer.status).toBe(fact)
            expect(before?.status).not.toBe(fact)
          }
        }
        for (const [id, settled] of result.settled) expect(told.get(id)).toEqual(settled)
      }
    })
  })

  it('nothing of an account changes but what money and reserves change', () => {
    holds((history) => {
      const steps = play(history)
      for (const opening of history.openings) {
        const { balance, held, version, entryCount, lastEntryAt } = final(steps, opening)
        expect(final(steps, opening)).toEqual({
          ...opening,
          balance,
          held,
          version,
          entryCount,
          lastEntryAt,
        })
      }
    })
  })

  it('the arguments stay as they were', () => {
    holds((history) => {
      for (const { input } of play(history)) {
        const before = structuredClone(input)
        deepFreeze([...input.accounts.values(), ...input.parents.values(), ...input.commands])
        applyCommands(input)
        applyAtomically(input)
        expect(input).toEqual(before)
      }
    })
  })

  it('the same arguments give the same result again', () => {
    holds((history) => {
      expect(play(history)).toEqual(play(history))
    })
  })

  it('at one moment, one batch, several, or one for each command come to the same', () => {
    holds((history) => {
      const inBatches = atOneMoment(history, moment)
      const [split, whole, single] = [inBatches, asOneBatch(inBatches), oneByOne(inBatches)].map(
        play,
      )
      for (const other of [whole, single]) {
        expect(outcomesOf(other ?? [])).toEqual(outcomesOf(split ?? []))
        expect(entriesOf(other ?? [])).toEqual(entriesOf(split ?? []))
        expect(other?.at(-1)?.after).toEqual(split?.at(-1)?.after)
        expect(other?.at(-1)?.parentsAfter).toEqual(split?.at(-1)?.parentsAfter)
      }
    })
  })

  it('a hold past its time is as if the sweep had come by before the command that finds it', () => {
    holds((history) => {
      const steps = play(history)
      for (const { commands, result, parentsBefore, now } of steps) {
        commands.forEach((command, index) => {
          if (command.kind !== 'capture' && command.kind !== 'release') return
          const hold = parentsBefore.get(command.parentId)
          const isOver = hold?.holdUntil !== undefined && hold.holdUntil !== null
          if (hold?.status !== 'held' || !isOver || now < (hold.holdUntil ?? now)) return
          if (result.outcomes[index]?.status === 'expired') return
          expect(result.outcomes[index]).toMatchObject({ failureCode: 'hold_expired' })
          expect(result.settled.get(hold.id)?.status).toBe('expired')
        })
      }
    })
  })

  it('the outcomes of one tenant are the same without the other one', () => {
    holds((history) => {
      const steps = play(history)
      const together = steps.flatMap(({ commands }) => commands)
      const alone = onlyTenant(history, 'tenant-a')
      const mine = outcomesOf(steps).filter((_, index) => together[index]?.tenantId === 'tenant-a')
      expect(outcomesOf(play(alone))).toEqual(mine)
    })
  })

  it('money is neither made nor lost', () => {
    holds((history) => {
      const steps = play(history)
      const sum = (accounts: Iterable<AccountState>) =>
        [...accounts].reduce((all, { balance }) => all + balance, 0n)
      expect(sum(steps.at(-1)?.after.values() ?? [])).toBe(sum(history.openings))
    })
  })
})

describe('an atomic batch, whatever it holds,', () => {
  /** Each batch of a history, with the commands it would have carried out all or none. */
  function inputs(history: History): LedgerInput[] {
    return play(history).map(({ input }) => ({ ...input, expiring: [] }))
  }

  const isCarriedOut = ({ status }: Outcome) => status === 'succeeded' || status === 'held'

  it('that can be carried out does what its commands do one after the other', () => {
    holds((history) => {
      for (const input of inputs(history)) {
        const single = applyCommands(input)
        if (!single.outcomes.every(isCarriedOut)) continue
        expect(applyAtomically(input)).toEqual(single)
      }
    })
  })

  it('that cannot has no effect; the first refusal keeps its code, and aborts the others', () => {
    holds((history) => {
      for (const input of inputs(history)) {
        const { outcomes } = applyCommands(input)
        const culprit = outcomes.findIndex((outcome) => !isCarriedOut(outcome))
        if (culprit < 0 || outcomes.every(({ status }) => status === 'expired')) continue
        const result = applyAtomically(input)
        expect(result).toMatchObject({ entries: [], changed: [], changedParents: [] })
        result.outcomes.forEach((outcome, index) => {
          const { status, failureCode } = outcomes[index] ?? {}
          const isExpired = index === culprit && status === 'expired'
          const ending = isExpired ? 'expired' : 'failed'
          expect(outcome).toMatchObject({
            status: ending,
            failureCode: index === culprit ? failureCode : 'batch_aborted',
            amount: null,
          })
          expect(result.settled.get(input.commands[index]?.id ?? '')?.status).toBe(ending)
        })
        expect(result.settledAt).toEqual(input.now)
      }
    })
  })

  it('that is all past its time is expired as a whole', () => {
    holds((history) => {
      for (const input of inputs(history)) {
        const commands = input.commands.map((one) => ({ ...one, executeBefore: input.now }))
        const result = applyAtomically({ ...input, commands })
        expect(result.outcomes.every(({ status }) => status === 'expired')).toBe(true)
        expect(result).toMatchObject({ entries: [], changed: [], changedParents: [] })
      }
    })
  })
})

describe('the random histories are worth something, because they', () => {
  const sample = fc.sample(histories, { numRuns: 500, seed: 20_260_101 })
  const steps = sample.flatMap(play)
  const outcomes = outcomesOf(steps)

  it.each<[string, RefusalCode, number]>([
    ['find closed accounts', 'account_closed', 200],
    ['find frozen accounts', 'account_frozen', 200],
    ['lack funds', 'insufficient_funds', 200],
    ['reach the largest balance', 'balance_limit_exceeded', 200],
    ['do not meet their condition', 'condition_not_met', 50],
    ['capture too much', 'capture_exceeds_remaining', 50],
    ['find holds used up', 'hold_already_captured', 30],
    ['find holds released', 'hold_already_released', 50],
    ['find holds expired', 'hold_expired', 50],
    ['build on what failed', 'parent_failed', 50],
    ['build on what was canceled', 'parent_canceled', 50],
    ['build on what had expired', 'parent_expired', 20],
    ['build on what is not settled', 'parent_not_settled', 200],
    ['refund too much', 'refund_exceeds_remaining', 15],
    ['refund once more', 'already_refunded', 10],
  ])('often %s', (_, code, least) => {
    const found = outcomes.filter(({ failureCode }) => failureCode === code)
    expect(found.length).toBeGreaterThan(least)
  })

  it.each<LedgerCommand['kind']>(['transfer', 'hold', 'capture', 'release', 'refund'])(
    'often carry out a %s',
    (kind) => {
      const found = steps.flatMap(({ commands, result }) =>
        commands.filter(
          (command, index) =>
            command.kind === kind &&
            ['succeeded', 'held'].includes(result.outcomes[index]?.status ?? ''),
        ),
      )
      expect(found.length).toBeGreaterThan(150)
    },
  )

  it('often put off a lack of funds, and carry it out later', () => {
    const deferred = new Set<string>()
    let later = 0
    for (const step of steps) {
      step.commands.forEach((command, index) => {
        const status = step.result.outcomes[index]?.status
        if (status === 'deferred') deferred.add(command.id)
        else if (status !== 'failed' && deferred.delete(command.id)) later += 1
      })
      if (step.parentsBefore.size === 0) deferred.clear()
    }
    expect(outcomes.filter(({ status }) => status === 'deferred').length).toBeGreaterThan(100)
    expect(later).toBeGreaterThan(5)
  })

  it('often expire a hold by the sweep, and commands that come too late', () => {
    const swept = steps.flatMap(({ commands, result }) =>
      result.changedParents.filter(
        ({ status, id }) =>
          status === 'expired' && !commands.some((one) => 'parentId' in one && one.parentId === id),
      ),
    )
    expect(swept.length).toBeGreaterThan(25)
    expect(outcomes.filter(({ status }) => status === 'expired').length).toBeGreaterThan(100)
  })

  it('often have a child in the same batch as its parent, and several captures of a hold', () => {
    const children = steps.flatMap(({ commands, result }) =>
      commands.filter(
        (one, index) =>
          'parentId' in one &&
          result.outcomes[index]?.status === 'succeeded' &&
          commands.some(({ id }) => id === one.parentId),
      ),
    )
    expect(children.length).toBeGreaterThan(100)
    const repeated = sample.flatMap((history) => {
      const { model } = judge(history)
      const captured = model.transfers.filter(
        ({ kind, status }) => kind === 'capture' && status === 'succeeded',
      )
      const parents = captured.map(({ parentId }) => parentId)
      return parents.length - new Set(parents).size > 0 ? [history] : []
    })
    expect(repeated.length).toBeGreaterThan(20)
  })

  it('often carry out or refund several legs, and undo those of which one was refused', () => {
    const several = steps.flatMap(({ commands, result }) =>
      commands.flatMap((command, index) =>
        (result.settled.get(command.id)?.legs.length ?? 0) > 1
          ? [`${command.kind} ${result.outcomes[index]?.status}`]
          : [],
      ),
    )
    for (const one of [
      'transfer succeeded',
      'transfer failed',
      'refund succeeded',
      'refund failed',
    ]) {
      expect(several.filter((each) => each === one).length).toBeGreaterThan(10)
    }
  })

  it('often are batches of several commands that could all be carried out', () => {
    const whole = steps.filter(
      ({ result }) =>
        result.outcomes.length > 1 &&
        result.outcomes.every(({ status }) => status === 'succeeded' || status === 'held'),
    )
    expect(whole.length).toBeGreaterThan(10)
  })

  it('often send all that a source has, to the last unit', () => {
    const emptied = steps.flatMap(({ after }) =>
      [...after.values()].filter(
        (account) => account.kind === 'internal' && available(account) === -account.overdraftLimit,
      ),
    )
    expect(emptied.length).toBeGreaterThan(50)
  })

  it('often have a clock that is behind the last entry', () => {
    const behind = steps.filter(({ now, result }) => result.settledAt > now)
    expect(behind.length).toBeGreaterThan(50)
  })
})

describe('a transfer is refused', () => {
  const open: AccountState = {
    tenantId: 'tenant-a',
    id: 'alice',
    kind: 'internal',
    status: 'open',
    balance: 100n,
    held: 0n,
    overdraftLimit: 0n,
    version: 3n,
    entryCount: 3n,
    lastEntryAt: new Date('2026-01-01T00:00:00.000Z'),
  }
  const closed = { status: 'closed' } as const
  const frozen = { status: 'frozen' } as const
  const external = { kind: 'external' } as const
  const full = { balance: MAX_AMOUNT } as const

  function send(
    source: Partial<AccountState>,
    destination: Partial<AccountState>,
    amount: bigint,
  ): RefusalCode | null | undefined {
    const accounts = [
      { ...open, ...source },
      { ...open, id: 'merchant', ...destination },
    ]
    const command = sends('t', 'alice', 'merchant', amount)
    const { outcomes } = apply(byKey(accounts), [command])
    return outcomes[0]?.failureCode
  }

  it.each<[string, Partial<AccountState>, Partial<AccountState>, bigint, RefusalCode]>([
    ['from a closed account', closed, {}, 1n, 'account_closed'],
    ['to a closed account', {}, closed, 1n, 'account_closed'],
    ['from a closed to a frozen account, as closed', closed, frozen, 1n, 'account_closed'],
    ['from a frozen to a closed account, as closed', frozen, closed, 1n, 'account_closed'],
    ['from a closed account without funds, as closed', closed, {}, 101n, 'account_closed'],
    [
      'to a closed account that is full, as closed',
      {},
      { ...closed, ...full },
      1n,
      'account_closed',
    ],
    ['from a frozen account', frozen, {}, 1n, 'account_frozen'],
    ['to a frozen account', {}, frozen, 1n, 'account_frozen'],
    ['from a frozen account without funds, as frozen', frozen, {}, 101n, 'account_frozen'],
    [
      'to a frozen account that is full, as frozen',
      {},
      { ...frozen, ...full },
      1n,
      'account_frozen',
    ],
    ['from a frozen external account', { ...external, ...frozen }, {}, 1n, 'account_frozen'],
    ['for one more than there is', {}, {}, 101n, 'insufficient_funds'],
    ['for one more than holds leave', { held: 40n }, {}, 61n, 'insufficient_funds'],
    [
      'for one more than the overdraft allows',
      { overdraftLimit: 50n },
      {},
      151n,
      'insufficient_funds',
    ],
    [
      'for one more than holds and overdraft leave',
      { held: 40n, overdraftLimit: 50n },
      {},
      111n,
      'insufficient_funds',
    ],
    ['without funds to a full account, for the funds', {}, full, 101n, 'insufficient_funds'],
    ['to an account that would hold one too much', {}, full, 1n, 'balance_limit_exceeded'],
    [
      'to an account with room for one less',
      {},
      { balance: MAX_AMOUNT - 99n },
      100n,
      'balance_limit_exceeded',
    ],
    [
      'to an external account that would hold one too much',
      {},
      { ...external, ...full },
      1n,
      'balance_limit_exceeded',
    ],
    [
      'from an external account that would owe one too much',
      { ...external, balance: -MAX_AMOUNT },
      {},
      1n,
      'balance_limit_exceeded',
    ],
    [
      'from an overdrawn account that would owe one too much, for its funds',
      { balance: -MAX_AMOUNT, overdraftLimit: MAX_AMOUNT },
      {},
      1n,
      'insufficient_funds',
    ],
  ])('%s', (_, source, destination, amount, code) => {
    expect(send(source, destination, amount)).toBe(code)
  })

  it.each<[string, Partial<AccountState>, Partial<AccountState>, bigint]>([
    ['for exactly what there is', {}, {}, 100n],
    ['for exactly what holds leave', { held: 40n }, {}, 60n],
    ['for exactly what the overdraft allows', { overdraftLimit: 50n }, {}, 150n],
    ['from an external account, whatever it owes', { ...external, balance: -5n }, {}, 1_000n],
    ['from an external account, whatever its limit', { ...external, held: 9n }, {}, 1_000n],
    ['to an account with exactly the room', {}, { balance: MAX_AMOUNT - 100n }, 100n],
    ['down to the lowest balance', { ...external, balance: 1n - MAX_AMOUNT }, {}, 1n],
    ['of the largest amount', full, { ...external, balance: 0n }, MAX_AMOUNT],
    [
      'from the highest to the lowest balance and back up',
      { ...external, balance: 0n },
      { balance: 0n },
      MAX_AMOUNT,
    ],
  ])('but not %s', (_, source, destination, amount) => {
    expect(send(source, destination, amount)).toBeNull()
  })

  it('and an account in the batch sees what the one before it did', () => {
    const accounts = byKey([open, { ...open, id: 'merchant', balance: 0n, entryCount: 0n }])
    const { outcomes } = apply(accounts, [
      sends('too early', 'merchant', 'alice', 1n),
      sends('funds it', 'alice', 'merchant', 100n),
      sends('now it can', 'merchant', 'alice', 100n),
      sends('and now not', 'merchant', 'alice', 1n),
    ])
    expect(outcomes.map(({ failureCode }) => failureCode)).toEqual([
      'insufficient_funds',
      null,
      null,
      'insufficient_funds',
    ])
  })

  it('with the versions that it was judged at, which it did not change', () => {
    const accounts = byKey([open, { ...open, id: 'merchant', version: 8n }])
    const result = apply(accounts, [sends('t', 'alice', 'merchant', 101n)])
    expect(result).toMatchObject({
      outcomes: [
        {
          status: 'failed',
          failureCode: 'insufficient_funds',
          amount: null,
          versions: [{ source: 3n, destination: 8n }],
        },
      ],
      entries: [],
      changed: [],
      changedParents: [],
      settledAt: noon,
    })
  })
})

describe('the edges of the ledger', () => {
  it('a command that names an account the ledger was not given is a bug, and names the transfer', () => {
    const command = sends('transfer-7', 'nobody', 'alice', 1n)
    expect(() => apply(new Map(), [command])).toThrow(/transfer-7.*nobody/)
  })

  it('an account of another tenant with the same id does not serve', () => {
    fc.assert(
      fc.property(histories, ({ openings }) => {
        const accounts = byKey(openings.filter(({ tenantId }) => tenantId === 'tenant-b'))
        expect(() => apply(accounts, [sends('t', 'alice', 'world', 1n)])).toThrow(/alice/)
      }),
      { numRuns: 20 },
    )
  })

  it('no commands change nothing, at the time of asking', () => {
    expect(apply(new Map(), [])).toEqual({
      outcomes: [],
      entries: [],
      changed: [],
      changedParents: [],
      facts: [],
      settled: new Map(),
      settledAt: noon,
    })
  })

  it('what is left of a hold is nothing once it has ended', () => {
    const hold = { legs: [{ source: 'alice', destination: 'merchant', amount: 9n }] }
    expect(leftOfHold({ ...hold, status: 'held', capturedAmount: 2n })).toBe(7n)
    expect(leftOfHold({ ...hold, status: 'released', capturedAmount: 2n })).toBe(0n)
  })

  it('available is the balance less what is held', () => {
    expect(available({ balance: 10n, held: 3n })).toBe(7n)
    expect(available({ balance: -10n, held: 3n })).toBe(-13n)
  })
})

function sends(id: string, source: string, destination: string, amount: bigint): LedgerCommand {
  return {
    tenantId: 'tenant-a',
    id,
    kind: 'transfer',
    legs: [{ source, destination, amount }],
    condition: null,
    retryFundsUntil: null,
    executeBefore: null,
  }
}

function apply(accounts: LedgerInput['accounts'], commands: readonly LedgerCommand[]) {
  return applyCommands({ accounts, parents: new Map(), commands, now: noon })
}

function onlyTenant({ openings, holds: known, batches }: History, tenantId: string): History {
  const isMine = (one: { tenantId: string }) => one.tenantId === tenantId
  const mine = new Set(
    [...known, ...batches.flatMap(({ commands }) => commands)].filter(isMine).map(({ id }) => id),
  )
  return {
    openings: openings.filter(isMine),
    holds: known.filter(isMine),
    batches: batches.map(({ canceled, expiring, commands, now }) => ({
      canceled: canceled.filter(isMine),
      expiring: expiring.filter((id) => mine.has(id)),
      commands: commands.filter(isMine),
      now,
    })),
  }
}

/** Freezes members as well. A `Date` keeps its time in a slot that cannot be frozen. */
function deepFreeze(value: object): void {
  Object.freeze(value)
  for (const member of Object.values(value)) {
    if (typeof member === 'object' && member !== null && !(member instanceof Date)) {
      deepFreeze(member)
    }
  }
}
