import { accountName, legsOf, type Evidence } from './evidence.ts'
import { LedgerModel, type ModelCommand, type ModelLeg } from './model.ts'
import { chainsOf, nameOf, placeSteps, type Placed, type Step } from './placements.ts'
import type { BookedTransfer } from '../books.ts'
import type { Report } from './finding.ts'

/**
 * 10: the outcomes are those of a single-threaded ledger that is given the same commands in the
 * order of the accounts' versions. So first there has to be such an order: every version of every
 * account made once, and no circle.
 */
export function checkReplay(evidence: Evidence, report: Report): void {
  const steps = placeSteps(evidence).filter(({ placements }) =>
    placements.every(({ account }) => evidence.accounts.has(account)),
  )
  const chains = chainsOf(steps)
  for (const [account, chain] of chains) checkVersions(evidence, account, chain, report)
  const ordered = inOrder(steps, chains)
  if (ordered.length < steps.length) {
    const left = new Set(steps)
    for (const step of ordered) left.delete(step)
    const names = [...left].slice(0, 10).map(nameOf)
    report.breach(
      `${left.size} transfers`,
      `no order agrees with all versions: ${names.join('; ')}`,
    )
  }
  replay(evidence, ordered, report)
}

/** Every version of an account was made by exactly one step. */
function checkVersions(
  { accounts }: Evidence,
  account: string,
  chain: readonly Placed[],
  report: Report,
): void {
  let version = 0n
  for (const { step, placement } of chain) {
    if (!placement.isMaker) continue
    const first = placement.version - placement.made + 1n
    if (first !== version + 1n) {
      report.breach(
        `account ${account}`,
        `${nameOf(step)} made version ${first}, expected ${version + 1n}`,
      )
    }
    version = placement.version
  }
  const last = accounts.get(account)?.version
  if (last !== version) {
    report.breach(
      `account ${account}`,
      `it has version ${last}, the last that was made is ${version}`,
    )
  }
}

/** A topological order (Kahn): what made a version comes before what was judged at it, and a parent before its child. */
function inOrder(
  steps: readonly Step[],
  chains: ReadonlyMap<string, readonly Placed[]>,
): readonly Step[] {
  const followers = new Map<Step, Step[]>(steps.map((step) => [step, []]))
  const waitsFor = new Map<Step, number>(steps.map((step) => [step, 0]))
  const precede = (earlier: Step, later: Step) => {
    followers.get(earlier)?.push(later)
    waitsFor.set(later, (waitsFor.get(later) ?? 0) + 1)
  }
  for (const chain of chains.values()) linkChain(chain, precede)
  linkParents(steps, precede)
  const ready = steps.filter((step) => waitsFor.get(step) === 0)
  for (let next = 0; next < ready.length; next += 1) {
    const step = ready[next]
    for (const follower of (step && followers.get(step)) ?? []) {
      const left = (waitsFor.get(follower) ?? 0) - 1
      waitsFor.set(follower, left)
      if (left === 0) ready.push(follower)
    }
  }
  return ready
}

/** Those judged at one version stand between the two that made it and the next, in any order. */
function linkChain(chain: readonly Placed[], precede: (earlier: Step, later: Step) => void): void {
  let maker: Step | undefined
  let judged: Step[] = []
  for (const { step, placement } of chain) {
    if (maker !== undefined) precede(maker, step)
    if (!placement.isMaker) {
      judged.push(step)
      continue
    }
    for (const earlier of judged) precede(earlier, step)
    judged = []
    maker = step
  }
}

function linkParents(steps: readonly Step[], precede: (earlier: Step, later: Step) => void): void {
  const byId = new Map(
    steps.flatMap((step) =>
      step.cause.type === 'transfer' ? [[step.cause.transfer.id, step] as const] : [],
    ),
  )
  for (const [, step] of byId) {
    const { cause } = step
    const parent = cause.type === 'transfer' ? byId.get(cause.transfer.parentId ?? '') : undefined
    if (parent !== undefined) precede(parent, step)
  }
}

function replay(evidence: Evidence, steps: readonly Step[], report: Report): void {
  const placed = new Set(
    steps.flatMap(({ cause }) => (cause.type === 'transfer' ? [cause.transfer.id] : [])),
  )
  const model = openModel(evidence, placed)
  for (const step of steps) {
    const { cause } = step
    if (cause.type === 'expiry') model.expire(cause.hold.id)
    else if (cause.type === 'account') changeAccount(model, cause)
    else carryOut(evidence, model, step, cause.transfer, report)
  }
  for (const [id, { status, captured, refunded }] of model.transfers) {
    const transfer = evidence.transfers.get(id)
    if (transfer === undefined) continue
    const expected = `${status}, captured ${captured}, refunded ${refunded}`
    const found = `${transfer.status}, captured ${transfer.capturedAmount}, refunded ${transfer.refundedAmount}`
    if (found === expected) continue
    report.breach(
      `${transfer.kind} ${id}`,
      `in the end the model has it ${expected}; found ${found}`,
    )
  }
}

/**
 * All accounts empty, with the first limits that they had. What was judged at no version, as what was
 * canceled, is known from the beginning: it changed nothing, whenever it came.
 */
function openModel({ books, accounts }: Evidence, placed: ReadonlySet<string>): LedgerModel {
  const model = new LedgerModel()
  const limits = new Map<string, bigint>()
  for (const { tenantId, accountId, overdraftLimit } of books.limits) {
    const name = accountName(tenantId, accountId)
    if (!limits.has(name)) limits.set(name, overdraftLimit)
  }
  const updated = new Set(
    books.events.flatMap(({ type, tenantId, objectId }) =>
      type === 'account.updated' ? [accountName(tenantId, objectId)] : [],
    ),
  )
  for (const [name, { kind, status, overdraftLimit }] of accounts) {
    model.accounts.set(name, {
      kind,
      status: updated.has(name) ? 'open' : status,
      limit: limits.get(name) ?? overdraftLimit,
      balance: 0n,
      held: 0n,
      version: 0n,
    })
  }
  for (const transfer of books.transfers) {
    const { id, kind, status } = transfer
    if (!placed.has(id)) model.note(id, { kind, status, legs: wayOf(transfer) })
  }
  return model
}

function changeAccount(
  model: LedgerModel,
  change: { account: string; status: string | undefined; limit: bigint | undefined },
): void {
  const account = model.account(change.account)
  account.status = change.status ?? account.status
  account.limit = change.limit ?? account.limit
  account.version += 1n
}

/** What only its time or its batch decided, or an operator: the model has no opinion of these. */
function isBeyondModel({ status, kind, failureCode }: BookedTransfer, step: Step): boolean {
  const decidedElsewhere = ['batch_aborted', 'internal_error', 'condition_not_met']
  if (status === 'expired') return kind !== 'hold' || !step.placements.some((one) => one.isMaker)
  return failureCode !== null && decidedElsewhere.includes(failureCode)
}

function carryOut(
  evidence: Evidence,
  model: LedgerModel,
  step: Step,
  transfer: BookedTransfer,
  report: Report,
): void {
  const { id, kind, status, failureCode } = transfer
  if (isBeyondModel(transfer, step)) {
    model.note(id, { kind, status, legs: wayOf(transfer) })
    return
  }
  report.saw()
  const outcome = model.carryOut(commandOf(evidence, transfer))
  const isLaterChange = kind === 'hold' && outcome.status === 'held' && status !== 'failed'
  const expected = `${outcome.status} ${outcome.code ?? ''} ${outcome.amount ?? ''}`.trim()
  const amount = status === 'failed' ? null : transfer.amount
  const shown = isLaterChange ? 'held' : status
  const found = `${shown} ${failureCode ?? ''} ${amount ?? ''}`.trim()
  if (expected !== found) {
    report.breach(nameOf(step), `the model says ${expected}, found ${found}`)
  }
  for (const { account, version } of step.placements) {
    const own = model.account(account).version
    if (own === version) continue
    report.breach(
      nameOf(step),
      `judged at version ${version} of ${account}, in the model it is ${own}`,
    )
  }
}

function commandOf({ commands }: Evidence, transfer: BookedTransfer): ModelCommand {
  const asked = commands.get(transfer.id)?.command
  const { id, kind, parentId, tenantId } = transfer
  const amount = asked === undefined ? transfer.amount : toBigint(asked.amount)
  const legs = (asked?.legs ?? []).map((leg): ModelLeg => ({
    source: accountName(tenantId, leg.source),
    destination: accountName(tenantId, leg.destination),
    amount: BigInt(leg.amount),
  }))
  return {
    id,
    kind,
    parentId,
    legs: legs.length > 0 ? legs : wayOf({ ...transfer, amount }),
    amount,
    isFinal: asked?.final === true,
  }
}

function toBigint(amount: number | undefined): bigint | null {
  return amount === undefined ? null : BigInt(amount)
}

function wayOf(transfer: BookedTransfer): ModelLeg[] {
  return legsOf(transfer).map(({ source, destination, amount }) => ({
    source: accountName(transfer.tenantId, source),
    destination: accountName(transfer.tenantId, destination),
    amount,
  }))
}
