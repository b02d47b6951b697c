import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_AMOUNT } from '@payonce/core/money'
import {
  accountKey,
  applyCommands,
  available,
  type AccountState,
  type Entry,
  type LedgerCommand,
  type Outcome,
} from '@payonce/core/ledger/apply'
import {
  asOneBatch,
  atOneMoment,
  byKey,
  histories,
  judge,
  play,
  type History,
  type Step,
} from './models/ledger-history.ts'
import type { RefusalCode } from '@payonce/core/refusals'

/** 500 histories of up to 30 transfers take about a second and meet every kind of outcome. */
const runs = { numRuns: 500 }

function holds(property: (history: History) => void): void {
  fc.assert(fc.property(histories, property), runs)
}

const noon = new Date('2026-01-01T12:00:00.000Z')

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

describe('whatever the history of transfers', () => {
  it('the outcomes are those of the slow and obvious model', () => {
    holds((history) => {
      const judged = judge(history)
      const told = outcomesOf(play(history)).map(({ failureCode, ...versions }) => ({
        failureCode,
        sourceVersion: versions.sourceVersion,
        destinationVersion: versions.destinationVersion,
      }))
      expect(told).toEqual(judged.outcomes)
    })
  })

  it('an outcome has a failure code exactly where it failed', () => {
    holds((history) => {
      for (const { status, failureCode } of outcomesOf(play(history))) {
        expect(status).toBe(failureCode === null ? 'succeeded' : 'failed')
      }
    })
  })

  it('a succeeded transfer has one entry on each account and they sum to zero, a refused one has none', () => {
    holds((history) => {
      for (const { commands, result } of play(history)) {
        const written = commands.map(({ id }) =>
          result.entries
            .filter((entry) => entry.transferId === id)
            .map(({ tenantId, accountId, amount }) => ({ tenantId, accountId, amount })),
        )
        const promised = commands.map(({ tenantId, source, destination, amount }, index) =>
          result.outcomes[index]?.status === 'succeeded'
            ? [
                { tenantId, accountId: source, amount: -amount },
                { tenantId, accountId: destination, amount },
              ]
            : [],
        )
        expect(written).toEqual(promised)
        expect(result.entries).toHaveLength(promised.flat().length)
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

  it('the final balances are those of the model', () => {
    holds((history) => {
      const steps = play(history)
      const { model } = judge(history)
      for (const opening of history.openings) {
        const { tenantId, id } = opening
        expect(final(steps, opening).balance).toBe(model.balanceOf(tenantId, id))
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

  it('no internal account has less available than its limit allows, after any entry', () => {
    holds((history) => {
      const entries = entriesOf(play(history))
      for (const opening of history.openings.filter(({ kind }) => kind === 'internal')) {
        for (const { balanceAfter } of chainOf(entries, opening)) {
          expect(balanceAfter - opening.held >= -opening.overdraftLimit).toBe(true)
        }
      }
    })
  })

  it('no balance leaves what a JSON number can hold, after any entry', () => {
    holds((history) => {
      for (const { balanceAfter } of entriesOf(play(history))) {
        expect(balanceAfter >= -MAX_AMOUNT && balanceAfter <= MAX_AMOUNT).toBe(true)
      }
    })
  })

  it('a version rises by one with every entry and with nothing else', () => {
    holds((history) => {
      const steps = play(history)
      for (const opening of history.openings) {
        const written = BigInt(chainOf(entriesOf(steps), opening).length)
        expect(final(steps, opening).version).toBe(opening.version + written)
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

  it('what a batch changed had its last entry at the moment of the batch', () => {
    holds((history) => {
      for (const { result } of play(history)) {
        for (const { lastEntryAt } of result.changed) expect(lastEntryAt).toEqual(result.settledAt)
      }
    })
  })

  it('exactly the accounts with a new entry are told as changed, each once', () => {
    holds((history) => {
      for (const { result } of play(history)) {
        const changed = result.changed.map(({ tenantId, id }) => accountKey(tenantId, id))
        const touched = result.entries.map((one) => accountKey(one.tenantId, one.accountId))
        expect(changed.toSorted()).toEqual([...new Set(touched)].toSorted())
      }
    })
  })

  it('nothing of an account changes but its balance, version, entry count and last entry', () => {
    holds((history) => {
      const steps = play(history)
      for (const opening of history.openings) {
        const { balance, version, entryCount, lastEntryAt } = final(steps, opening)
        expect(final(steps, opening)).toEqual({
          ...opening,
          balance,
          version,
          entryCount,
          lastEntryAt,
        })
      }
    })
  })

  it('the arguments stay as they were', () => {
    holds((history) => {
      const accounts = byKey(history.openings)
      const commands = history.batches.flatMap((batch) => batch.commands)
      const before = structuredClone({ accounts, commands, now: noon })
      deepFreeze([...accounts.values()])
      deepFreeze(commands)
      applyCommands(accounts, commands, noon)
      expect({ accounts, commands, now: noon }).toEqual(before)
    })
  })

  it('the same arguments give the same result again', () => {
    holds((history) => {
      expect(play(history)).toEqual(play(history))
    })
  })

  it('one batch and the same commands in several batches give the same outcomes and entries', () => {
    holds((history) => {
      const [split, whole] = [play(history), play(asOneBatch(history))]
      expect(outcomesOf(split)).toEqual(outcomesOf(whole))
      expect(entriesOf(split)).toEqual(entriesOf(whole))
    })
  })

  it('one batch and several batches at the same moment leave the same accounts', () => {
    holds((history) => {
      const moment = atOneMoment(history, noon)
      const [split, whole] = [play(moment), play(asOneBatch(moment))]
      expect(split.at(-1)?.after).toEqual(whole.at(-1)?.after)
    })
  })

  it('the outcomes of one tenant are the same without the other one', () => {
    holds((history) => {
      const together = history.batches.flatMap((batch) => batch.commands)
      const outcomes = outcomesOf(play(history))
      const alone = onlyTenant(history, 'tenant-a')
      const mine = outcomes.filter((_, index) => together[index]?.tenantId === 'tenant-a')
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

describe('the random histories are worth something, because they', () => {
  const sample = fc.sample(histories, { numRuns: 500, seed: 20_260_101 })
  const outcomes = sample.flatMap((history) => judge(history).outcomes)

  it.each([
    ['succeed', null],
    ['find closed accounts', 'account_closed'],
    ['find frozen accounts', 'account_frozen'],
    ['lack funds', 'insufficient_funds'],
    ['reach the largest balance', 'balance_limit_exceeded'],
  ] as const)('often %s', (_, code) => {
    const found = outcomes.filter(({ failureCode }) => failureCode === code)
    expect(found.length).toBeGreaterThan(200)
  })

  it('often meet an account twice in one batch', () => {
    const repeated = sample.filter(({ batches }) =>
      batches.some(({ commands }) => {
        const names = commands.flatMap((one) => [one.source, one.destination])
        return new Set(names).size < names.length
      }),
    )
    expect(repeated.length).toBeGreaterThan(200)
  })

  it('often send all that a source has, to the last unit', () => {
    const emptied = sample.flatMap(play).flatMap(({ before, result }) =>
      result.entries.filter(({ tenantId, accountId, amount, balanceAfter }) => {
        const account = before.get(accountKey(tenantId, accountId))
        return (
          amount < 0n &&
          account?.kind === 'internal' &&
          balanceAfter - account.held === -account.overdraftLimit
        )
      }),
    )
    expect(emptied.length).toBeGreaterThan(50)
  })

  it('often have a clock that is behind the last entry', () => {
    const behind = sample.flatMap(play).filter(({ now, result }) => result.settledAt > now)
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
    const command = { tenantId: 'tenant-a', id: 't', source: 'alice', destination: 'merchant' }
    const { outcomes } = applyCommands(byKey(accounts), [{ ...command, amount }], noon)
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
    const sends = (id: string, source: string, destination: string, amount: bigint) => ({
      tenantId: 'tenant-a',
      id,
      source,
      destination,
      amount,
    })
    const { outcomes } = applyCommands(
      accounts,
      [
        sends('too early', 'merchant', 'alice', 1n),
        sends('funds it', 'alice', 'merchant', 100n),
        sends('now it can', 'merchant', 'alice', 100n),
        sends('and now not', 'merchant', 'alice', 1n),
      ],
      noon,
    )
    expect(outcomes.map(({ failureCode }) => failureCode)).toEqual([
      'insufficient_funds',
      null,
      null,
      'insufficient_funds',
    ])
  })

  it('with the versions that it was judged at, which it did not change', () => {
    const accounts = byKey([open, { ...open, id: 'merchant', version: 8n }])
    const command = { tenantId: 'tenant-a', id: 't', source: 'alice', destination: 'merchant' }
    const result = applyCommands(accounts, [{ ...command, amount: 101n }], noon)
    expect(result).toEqual({
      outcomes: [
        {
          status: 'failed',
          failureCode: 'insufficient_funds',
          sourceVersion: 3n,
          destinationVersion: 8n,
        },
      ],
      entries: [],
      changed: [],
      settledAt: noon,
    })
  })
})

describe('the edges of the ledger', () => {
  it('a command that names an account the ledger was not given is a bug, and names the transfer', () => {
    const command: LedgerCommand = {
      tenantId: 'tenant-a',
      id: 'transfer-7',
      source: 'nobody',
      destination: 'alice',
      amount: 1n,
    }
    expect(() => applyCommands(new Map(), [command], noon)).toThrow(/transfer-7.*nobody/)
  })

  it('an account of another tenant with the same id does not serve', () => {
    fc.assert(
      fc.property(histories, ({ openings }) => {
        const accounts = byKey(openings.filter(({ tenantId }) => tenantId === 'tenant-b'))
        const command = { tenantId: 'tenant-a', id: 't', source: 'alice', destination: 'world' }
        expect(() => applyCommands(accounts, [{ ...command, amount: 1n }], noon)).toThrow(/alice/)
      }),
      { numRuns: 20 },
    )
  })

  it('no commands change nothing, at the time of asking', () => {
    const result = applyCommands(new Map(), [], noon)
    expect(result).toEqual({ outcomes: [], entries: [], changed: [], settledAt: noon })
  })

  it('available is the balance less what is held', () => {
    expect(available({ balance: 10n, held: 3n })).toBe(7n)
    expect(available({ balance: -10n, held: 3n })).toBe(-13n)
  })
})

function onlyTenant({ openings, batches }: History, tenantId: string): History {
  return {
    openings: openings.filter((account) => account.tenantId === tenantId),
    batches: batches.map(({ commands, now }) => ({
      commands: commands.filter((command) => command.tenantId === tenantId),
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
