import { setTimeout as sleep } from 'node:timers/promises'
import { streamSSE } from 'hono/streaming'
import { findTransfer } from '@payonce/core/transfers/find'
import { isTerminal, type Transfer } from '@payonce/core/transfers/transfer'
import { viewTransfer } from '@payonce/core/transfers/transfer-view'
import type { Context } from 'hono'
import type { Deps, Env } from './deps.ts'

/** 15 s: proxies cut off what is silent for longer than a minute or so. */
const heartbeatMs = 15_000

/**
 * Answers with server-sent events (HTML, section 9.2): the transfer now, and at every change of its
 * status, until one that is final. The id of each is the status, which never comes back: a client
 * that connects again says the last one (`Last-Event-ID`) and is told only what is new.
 *
 * However many streams there are, one watcher looks for all of them.
 */
export function streamTransfer(
  c: Context<Env>,
  { pool, watcher, isStopping }: Pick<Deps, 'pool' | 'watcher' | 'isStopping'>,
  transfer: Transfer,
): Response {
  const ref = { tenantId: transfer.tenantId, transferId: transfer.id }
  const gone = new AbortController()
  // 204 tells a browser that there is nothing to come back for (HTML, section 9.2.3).
  if (isTerminal(transfer) && c.req.header('last-event-id') === transfer.status) {
    return c.body(null, 204)
  }
  c.header('x-accel-buffering', 'no')
  return streamSSE(c, async function tellChanges(stream) {
    stream.onAbort(() => gone.abort())
    let current = transfer
    let told = c.req.header('last-event-id')
    for (;;) {
      if (current.status !== told) {
        const data = JSON.stringify(viewTransfer(current))
        await stream.writeSSE({ id: current.status, event: 'transfer', data })
        told = current.status
      }
      if (isTerminal(current) || gone.signal.aborted || isStopping()) return
      const changed = await nextChange(current)
      if (gone.signal.aborted || isStopping()) return
      if (changed === undefined) await stream.write(': waiting\n\n')
      current = changed ?? (await findTransfer(pool, ref)) ?? current
    }
  })

  /** Undefined when it is time to say that we are still here, or to look at the clock again. */
  async function nextChange({ status, executeAt }: Transfer): Promise<Transfer | undefined> {
    const untilDueMs = (executeAt?.getTime() ?? 0) - Date.now()
    const timeoutMs = untilDueMs > 0 ? Math.min(heartbeatMs, untilDueMs + 1) : heartbeatMs
    const startedAt = performance.now()
    const until = (found: Transfer) => found.status !== status
    const changed = await watcher.wait(ref, { timeoutMs, signal: gone.signal, until })
    const leftMs = startedAt + timeoutMs - performance.now()
    // The watcher answers at once where too many wait already: then this looks by itself, and seldom.
    if (changed === undefined && leftMs > 0 && !isStopping()) {
      await sleep(leftMs, undefined, { signal: gone.signal }).catch(() => undefined)
    }
    return changed
  }
}
