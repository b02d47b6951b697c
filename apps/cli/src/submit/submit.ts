import { setMaxListeners } from 'node:events'
import type { AccountBook } from './accounts.ts'
import { createFollower } from './follow.ts'
import { createLimit } from './limit.ts'
import { orderKey } from './keys.ts'
import type { Order } from './order.ts'
import type { Payonce, PostedTransfer, Refusal, TransferRequest, TransferState } from './payonce.ts'
import { Stopped } from './stop.ts'
import { noteTrouble, type Tally } from './tally.ts'

/**
 * Sends every order and follows each until it settles, counting into `tally`. Returns undefined
 * when all have their answer, or why it stopped before; either way nothing is left running.
 * Throws what neither the orders nor the server can cause, that is a bug.
 *
 * An order is first sent, then followed: at most `concurrency` are being sent at a time, first come,
 * first served, and one request at a time follows all that were accepted. So thousands are accepted
 * while the workers are busy, at the cost of memory (bounded by `WINDOW`) and of no request.
 */
export async function submitOrders(
  orders: AsyncIterable<NumberedOrder>,
  run: SubmitRun,
): Promise<Stopped | undefined> {
  const { signal } = run.stop
  // Every pause listens to it, as many at a time as there are senders.
  setMaxListeners(0, signal)
  const window = createWindow(WINDOW)
  const sending = createLimit(run.concurrency)
  const follower = createFollower({ ...run, signal })
  const patience = watchPatience(run)

  async function carry(numbered: NumberedOrder): Promise<void> {
    try {
      const sent = await sending.run(() => send(numbered, run, patience))
      if (sent === undefined) return
      // A replay tells its state; only a failure's code is left to be asked for.
      const settled = sent.status === 'succeeded' ? succeeded : await follower.follow(sent)
      patience.renew()
      count(settled, numbered, sent, run.tally)
    } catch (error) {
      run.stop.abort(error)
    } finally {
      window.leave()
    }
  }

  try {
    for await (const numbered of orders) {
      await window.enter()
      if (signal.aborted) break
      void carry(numbered)
    }
  } catch (error) {
    run.stop.abort(error)
  }
  await window.empty()
  patience.end()
  if (!signal.aborted) return undefined
  if (signal.reason instanceof Stopped) return signal.reason
  throw signal.reason
}

export type NumberedOrder = { line: number; order: Order }

export type SubmitRun = {
  payonce: Payonce
  accounts: AccountBook
  tally: Tally
  currency: string
  prefix: string
  concurrency: number
  /** How long to go on without any progress. */
  giveUpAfterMs: number
  /** How long the server is asked to hold an answer back until the transfer has settled. */
  waitS?: number
  /** Stops the run; its reason is a `Stopped`. */
  stop: AbortController
}

const succeeded = { status: 'succeeded', failureCode: undefined, failureMessage: '' }

type Patience = {
  /** Something was answered or has settled. */
  renew(): void
  end(): void
}

/** Opens the accounts and sends the transfer. Undefined: it was refused, and that is counted. */
async function send(
  { line, order }: NumberedOrder,
  run: SubmitRun,
  patience: Patience,
): Promise<PostedTransfer | undefined> {
  const { tally } = run
  const refuse = ({ refused, detail }: Refusal, what: string) => {
    noteTrouble(tally, 'refused', {
      line,
      orderId: order.orderId,
      code: refused,
      detail: what + detail,
    })
    return undefined
  }
  run.stop.signal.throwIfAborted()
  // One after the other: the number of requests at a time stays the number of orders.
  const payer = await run.accounts.open(order.payer)
  patience.renew()
  if (payer.refused !== undefined) return refuse(payer, 'payer: ')
  const receiver = await run.accounts.open(order.receiver)
  patience.renew()
  if (receiver.refused !== undefined) return refuse(receiver, 'receiver: ')
  const key = orderKey(run.prefix, order.orderId)
  const request = transferRequest(order, payer.id, receiver.id, run.currency)
  const posted = await run.payonce.postTransfer(key, request)
  patience.renew()
  if (posted.refused !== undefined) return refuse(posted, '')
  if (!posted.replayed) tally.submitted += 1
  else tally.replayed += 1
  if (posted.replayed && posted.acceptedNow) tally.heardLate += 1
  return posted
}

/**
 * The body of an order's transfer. It is made of nothing but the order itself: a later run must
 * send the same bytes even if the file was renamed or its rows were sorted anew.
 */
export function transferRequest(
  order: Order,
  source: string,
  destination: string,
  currency: string,
): TransferRequest {
  return {
    source,
    destination,
    // Exact: an order's amount is at most 2^53 - 1.
    amount: Number(order.amount),
    currency,
    ...(order.description === '' ? {} : { description: order.description }),
    metadata: {
      order_id: order.orderId,
      ...(order.category === '' ? {} : { category: order.category }),
    },
  }
}

function count(
  {
    status,
    failureCode,
    failureMessage,
  }: Pick<TransferState, 'status' | 'failureCode' | 'failureMessage'>,
  { line, order }: NumberedOrder,
  { acceptedNow }: PostedTransfer,
  tally: Tally,
): void {
  if (status !== 'succeeded') {
    const trouble = { code: failureCode ?? status, detail: failureMessage }
    noteTrouble(tally, 'failed', { line, orderId: order.orderId, ...trouble })
    return
  }
  tally.succeeded += 1
  if (acceptedNow) tally.movedNow += order.amount
  else tally.movedBefore += order.amount
}

/** Stops the run when nothing has moved on for `giveUpAfterMs`. */
function watchPatience({ giveUpAfterMs, stop, tally }: SubmitRun): Patience {
  let lastProgressAt = performance.now()
  const timer = setInterval(() => {
    if (performance.now() - lastProgressAt < giveUpAfterMs) return
    const trouble =
      tally.lastTrouble === ''
        ? 'the server answers, but no transfer settles: look at its workers'
        : `the last trouble was: ${tally.lastTrouble}`
    stop.abort(new Stopped(`No progress for ${giveUpAfterMs / 1000} s; ${trouble}.`))
  }, 100)
  return {
    renew: () => {
      lastProgressAt = performance.now()
      tally.lastTrouble = ''
    },
    end: () => clearInterval(timer),
  }
}

/** Keeps count of the orders under way, and makes their one reader wait while they are `size`. */
function createWindow(size: number) {
  let inside = 0
  let reader: { wantsAtMost: number; resume: () => void } | undefined

  function untilAtMost(count: number): Promise<void> | undefined {
    if (inside <= count) return undefined
    return new Promise((resume) => (reader = { wantsAtMost: count, resume }))
  }

  return {
    async enter() {
      await untilAtMost(size - 1)
      inside += 1
    },
    leave() {
      inside -= 1
      if (reader !== undefined && inside <= reader.wantsAtMost) reader.resume()
    },
    async empty() {
      await untilAtMost(0)
    },
  }
}

// Orders read and not yet settled. Enough to have thousands accepted while the workers are busy;
// about 3 KB each, 30 MB in all.
const WINDOW = 10_000
