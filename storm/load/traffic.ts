import type { Operation, TransferBody } from '../history.ts'
import type { Random } from '../random.ts'
import type { Cast } from './cast.ts'

type Post = Extract<Operation, { kind: 'post' }>

/** What a client of the storm does next, and how. */
export type Step =
  | { kind: 'post'; operation: Post }
  /** A key that was used before: with the same body, or with another one, which is refused. */
  | { kind: 'repeat'; operation: Post }
  | { kind: 'cancel'; operation: Operation }
  /** Reads until the transfer has ended, for some time. */
  | { kind: 'follow'; operation: Operation }
  /** Reads, cancels or refunds what belongs to another tenant, for whom there is nothing. */
  | { kind: 'pry'; operation: Operation }

/** What has been accepted, of which later requests make something. */
export type Accepted = { id: string; operation: Post }

/**
 * Chooses steps for one client, by chance and by what its tenant's clients have had accepted. The
 * weights make about a fifth of the posts repetitions.
 */
export type Traffic = {
  next(): Step
  /** A post was accepted: from now on it may be repeated, captured, refunded, followed, canceled. */
  noteAccepted(accepted: Accepted): void
}

/** Shared by the clients of a tenant: they repeat each other's requests. */
export type TenantMemory = { accepted: Accepted[]; keys: number }

export const weights = {
  transfer: 50,
  hold: 8,
  capture: 6,
  release: 3,
  refund: 4,
  repeat: 15,
  'repeat with another body': 3,
  cancel: 3,
  follow: 8,
  pry: 2,
} as const

/** So many accepted requests are remembered; older ones are left alone. */
const remembered = 400
const hotShare = 0.35
/** More than anybody has: refused for lack of funds. */
const tooMuch = 1_000_000_000

export function createTraffic(
  random: Random,
  {
    cast,
    memory,
    strangers,
  }: {
    cast: Cast
    memory: TenantMemory
    /** Of another tenant, whose ids this one has got hold of. */
    strangers: TenantMemory
  },
): Traffic {
  /** What this client itself has had accepted: it captures its own holds, most of the time. */
  const own: Accepted[] = []

  function next(): Step {
    const kind = random.weighted(weights)
    switch (kind) {
      case 'transfer':
        return post(transferBody())
      case 'hold':
        return post({ ...transferBody(), hold: true })
      case 'capture':
      case 'release':
      case 'refund':
        return child(kind) ?? post(transferBody())
      case 'repeat':
      case 'repeat with another body':
        return repeat(kind === 'repeat') ?? post(transferBody())
      case 'pry':
        return pry() ?? post(transferBody())
      case 'cancel':
      case 'follow': {
        const last = own.at(-1)
        if (last === undefined) return post(transferBody())
        if (kind === 'cancel') return { kind, operation: { kind: 'cancel', target: last.id } }
        return { kind, operation: { kind: 'read', target: last.id } }
      }
    }
  }

  function pry(): Step | undefined {
    if (strangers.accepted.length === 0) return undefined
    const { id } = random.pick(strangers.accepted)
    const kind = random.pick(['read', 'cancel', 'refund'] as const)
    if (kind !== 'refund') return { kind: 'pry', operation: { kind, target: id } }
    const route = '/v1/transfers/:id/refund' as const
    return {
      kind: 'pry',
      operation: { kind: 'post', route, target: id, key: newKey(), body: { amount: 1 } },
    }
  }

  function post(body: TransferBody): Step {
    return {
      kind: 'post',
      operation: { kind: 'post', route: '/v1/transfers', key: newKey(), body },
    }
  }

  function child(kind: 'capture' | 'release' | 'refund'): Step | undefined {
    const parents = own.filter(({ operation }) => isParentFor(kind, operation))
    const parent = parents.at(-1 - random.integer(0, Math.min(3, parents.length - 1)))
    if (parent === undefined) return undefined
    const whole = parent.operation.route === '/v1/transfers' ? parent.operation.body.amount : 1
    // A part, the whole, or what is more than there is: the ledger says which of them it takes.
    const amount = random.integer(1, Math.max(1, Math.ceil(whole * 1.2)))
    const body = kind === 'release' || random.fraction() < 0.3 ? {} : { amount }
    const route = `/v1/transfers/:id/${kind}` as const
    return {
      kind: 'post',
      operation: { kind: 'post', route, target: parent.id, key: newKey(), body },
    }
  }

  function repeat(isSame: boolean): Step | undefined {
    if (memory.accepted.length === 0) return undefined
    const { operation } = random.pick(memory.accepted)
    if (isSame) return { kind: 'repeat', operation }
    if (operation.route !== '/v1/transfers') return undefined
    const body = { ...operation.body, amount: operation.body.amount + 1 }
    return { kind: 'repeat', operation: { ...operation, body } }
  }

  function transferBody(): TransferBody {
    const { currency, world, hot, others } = cast
    const someone = () => random.pick(random.fraction() < hotShare ? hot : others)
    const chance = random.fraction()
    let source = someone()
    let destination = someone()
    while (destination === source) destination = random.pick(others)
    // Some money comes from outside and some goes there, so that the accounts do not all run dry.
    if (chance < 0.08) source = world
    else if (chance < 0.14) destination = world
    const amount = chance > 0.98 ? tooMuch : random.integer(1, 2_000)
    const description = random.fraction() < 0.2 ? { description: `order ${memory.keys}` } : {}
    return { source, destination, amount, currency, ...description }
  }

  /** Other tenants use the same ones: a key is one of a tenant. */
  function newKey(): string {
    memory.keys += 1
    return `payment-${memory.keys}`
  }

  return {
    next,
    noteAccepted: (accepted) => {
      for (const list of [own, memory.accepted]) {
        list.push(accepted)
        if (list.length > remembered) list.shift()
      }
    },
  }
}

function isParentFor(kind: 'capture' | 'release' | 'refund', { route, body }: Post): boolean {
  if (kind === 'refund') return route === '/v1/transfers' && !isHold(body)
  return route === '/v1/transfers' && isHold(body)
}

function isHold(body: Post['body']): boolean {
  return 'hold' in body && (body.hold ?? false)
}
