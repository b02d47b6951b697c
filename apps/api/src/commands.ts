import { newBatchItem, newMultiLegBatchItem, newMultiLegTransfer, newTransfer } from './schemas.ts'
import { validateBody } from './validate.ts'
import type { z } from 'zod'
import type { Transfer, TransferCommand } from '@payonce/core/transfers/transfer'

/*
 * From the bodies of requests to commands. A body with `legs` is a multi-leg transfer, and every
 * other one a single transfer: each has its own schema, so that members of the other are refused.
 */

/** A command that asks for nothing: what a body does not say. */
const nothing: Omit<TransferCommand, 'kind'> = {
  parentId: null,
  source: null,
  destination: null,
  amount: null,
  currency: null,
  legs: null,
  description: null,
  metadata: {},
  isFinal: false,
  executeAt: null,
  expiresAt: null,
  retryFundsUntil: null,
  condition: null,
  atomicBatchId: null,
  callbackUrl: null,
}

/** Throws the `Problem` of a body that has not the shape of a transfer. */
export function toTransferCommand(body: unknown): TransferCommand {
  if (hasLegs(body)) {
    const sent = validateBody(newMultiLegTransfer, body)
    return { ...multiLeg(sent), executeAt: sent.execute_at ?? null }
  }
  const sent = validateBody(newTransfer, body)
  return { ...single(sent), executeAt: sent.execute_at ?? null }
}

/** What a batch says for all of its items. */
export type BatchTimes = Pick<TransferCommand, 'executeAt' | 'expiresAt' | 'atomicBatchId'>

/** An item of a batch with its own key, if it has one. Throws the `Problem` of a bad shape. */
export function toBatchItem(
  body: unknown,
  { executeAt, expiresAt, atomicBatchId }: BatchTimes,
): { command: TransferCommand; key: string | undefined } {
  const sent = hasLegs(body)
    ? validateBody(newMultiLegBatchItem, body)
    : validateBody(newBatchItem, body)
  const command = 'legs' in sent ? multiLeg(sent) : single(sent)
  return {
    command: {
      ...command,
      executeAt,
      expiresAt: command.expiresAt ?? expiresAt,
      atomicBatchId,
    },
    key: sent.idempotency_key,
  }
}

function hasLegs(body: unknown): boolean {
  return typeof body === 'object' && body !== null && Object.hasOwn(body, 'legs')
}

type Single = z.infer<typeof newBatchItem>
type MultiLeg = z.infer<typeof newMultiLegBatchItem>

function single(sent: Single): TransferCommand {
  return {
    ...nothing,
    kind: sent.hold ? 'hold' : 'transfer',
    source: sent.source,
    destination: sent.destination,
    amount: BigInt(sent.amount),
    currency: sent.currency,
    ...common(sent),
    condition: sent.if === undefined ? null : toCondition(sent.if),
  }
}

function multiLeg(sent: MultiLeg): TransferCommand {
  const legs = sent.legs.map((leg) => ({ ...leg, amount: BigInt(leg.amount) }))
  return { ...nothing, kind: 'transfer', legs, ...common(sent) }
}

function common(sent: Single | MultiLeg) {
  return {
    callbackUrl: sent.callback_url,
    description: sent.description,
    metadata: sent.metadata,
    expiresAt: sent.expires_at ?? null,
    retryFundsUntil: sent.on_insufficient_funds?.retry_until ?? null,
  }
}

function toCondition({
  source_balance_at_least: balance,
  source_version: version,
}: NonNullable<Single['if']>): TransferCommand['condition'] {
  return {
    ...(balance === undefined ? {} : { sourceBalanceAtLeast: BigInt(balance) }),
    ...(version === undefined ? {} : { sourceVersion: BigInt(version) }),
  }
}

/** A capture or release takes the way of its hold. */
export function toHoldCommand(
  kind: 'capture' | 'release',
  hold: Transfer,
  { amount, isFinal }: { amount?: number | undefined; isFinal?: boolean },
): TransferCommand {
  return {
    ...nothing,
    kind,
    parentId: hold.id,
    source: hold.source,
    destination: hold.destination,
    amount: amount === undefined ? null : BigInt(amount),
    currency: hold.currency,
    isFinal: isFinal ?? false,
  }
}

/** A refund takes the way of its parent back, leg by leg in reverse. */
export function toRefundCommand(parent: Transfer, amount: number | undefined): TransferCommand {
  return {
    ...nothing,
    kind: 'refund',
    parentId: parent.id,
    source: parent.destination,
    destination: parent.source,
    amount: amount === undefined ? null : BigInt(amount),
    currency: parent.currency,
    legs:
      parent.legs
        ?.toReversed()
        .map((leg) => ({ ...leg, source: leg.destination, destination: leg.source })) ?? null,
  }
}
