import { createHash, createHmac } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Queryable, Tx } from '../db/client.ts'

/*
 * The tamper-evident chains. Each settlement is sealed with a hash over the members of its rows that
 * never change and over the seal before it in one of several chains, so that no row can be changed,
 * added or taken away unseen. With a secret the seals are HMACs, which whoever can write to the
 * database still cannot make. There are several chains so that settlements need not queue for one.
 */

/** More than there are workers that settle at the same time: each finds a chain that is free. */
export const CHAIN_COUNT = 16

/** A settled transfer, reduced to what never changes. The status of a hold does: it is left out. */
export type SealedTransfer = {
  tenantId: string
  id: string
  idempotencyKey: string
  kind: string
  status: string | null
  parentId: string | null
  source: string | null
  destination: string | null
  amount: bigint | null
  currency: string | null
  legs: unknown
  description: string | null
  metadata: unknown
  failureCode: string | null
  sourceVersion: bigint | null
  destinationVersion: bigint | null
  createdAt: Date
  settledAt: Date
}

export type SealedEntry = {
  tenantId: string
  accountId: string
  seq: bigint
  transferId: string
  amount: bigint
  balanceAfter: bigint
  createdAt: Date
}

export type Settlement = {
  id: string
  transfers: readonly SealedTransfer[]
  entries: readonly SealedEntry[]
}

/** The seal of a settlement behind `previous`; an HMAC where there is a secret. SHA-256 either way. */
export function sealOf(
  previous: Buffer,
  settlement: Settlement,
  secret: string | undefined,
): Buffer {
  const hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret)
  return hash.update(previous).update(textOf(settlement)).digest()
}

/** One line per row, sorted, so that the order in which rows are read does not matter. */
function textOf({ id, transfers, entries }: Settlement): string {
  const lines = [...transfers.map(transferLine), ...entries.map(entryLine)]
  return `${id}\n${lines.toSorted().join('\n')}\n`
}

function transferLine(transfer: SealedTransfer): string {
  return JSON.stringify([
    'transfer',
    transfer.tenantId,
    transfer.id,
    transfer.idempotencyKey,
    transfer.kind,
    transfer.kind === 'hold' ? null : transfer.status,
    transfer.parentId,
    transfer.source,
    transfer.destination,
    text(transfer.amount),
    transfer.currency,
    // Postgres reorders the members of JSON: only their canonical form is the same again.
    transfer.legs === null ? null : canonicalize(transfer.legs),
    transfer.description,
    transfer.metadata === null ? null : canonicalize(transfer.metadata),
    transfer.failureCode,
    text(transfer.sourceVersion),
    text(transfer.destinationVersion),
    transfer.createdAt.getTime(),
    transfer.settledAt.getTime(),
  ])
}

function entryLine(entry: SealedEntry): string {
  return JSON.stringify([
    'entry',
    entry.tenantId,
    entry.accountId,
    text(entry.seq),
    entry.transferId,
    text(entry.amount),
    text(entry.balanceAfter),
    entry.createdAt.getTime(),
  ])
}

function text(value: bigint | null): string | null {
  return value === null ? null : value.toString()
}

/** The chains go on with HMACs, and this process has no secret to make them with. */
export class LedgerSecretMissingError extends Error {
  override name = 'LedgerSecretMissingError'
}

/**
 * Refuses to go on without the secret that chains were last sealed with: a plain seal behind an HMAC
 * is what a forger would leave, and `verify` would report it for ever. Throws
 * `LedgerSecretMissingError`.
 */
export async function requireLedgerSecret(
  db: Queryable,
  secret: string | undefined,
): Promise<void> {
  if (secret !== undefined) return
  const { rows } = await db.query(
    `SELECT FROM ledger_chains
       JOIN settlements ON settlements.chain = ledger_chains.chain
                       AND settlements.position = ledger_chains.length
      WHERE settlements.is_keyed
      LIMIT 1`,
  )
  if (rows.length === 0) return
  throw new LedgerSecretMissingError(
    'The ledger is sealed with a LEDGER_SECRET, and this process has none: ' +
      'set it to the secret of the other processes.',
  )
}

type Head = { chain: number; length: bigint; seal: Buffer }

/**
 * Seals a settlement in its own transaction, as the next one of a chain that nobody else is using.
 * The chain stays locked until the commit, so that each seal stands on one that is there.
 */
export async function sealSettlement(
  tx: Tx,
  settlement: Settlement,
  secret: string | undefined,
): Promise<void> {
  const head = (await takeFreeChain(tx)) ?? (await waitForChain(tx))
  const seal = sealOf(head.seal, settlement, secret)
  await tx.query(
    `WITH moved AS (
       UPDATE ledger_chains SET length = length + 1, seal = $4 WHERE chain = $1
     )
     INSERT INTO settlements (chain, position, id, seal, is_keyed, tenant_ids, transfer_ids,
                              settled_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      head.chain,
      head.length + 1n,
      settlement.id,
      seal,
      secret !== undefined,
      settlement.transfers.map(({ tenantId }) => tenantId),
      settlement.transfers.map(({ id }) => id),
      settlement.transfers[0]?.settledAt,
    ],
  )
}

async function takeFreeChain(tx: Tx): Promise<Head | undefined> {
  const { rows } = await tx.query<Head>(
    `SELECT chain, length, seal FROM ledger_chains
      ORDER BY chain
      LIMIT 1
        FOR UPDATE SKIP LOCKED`,
  )
  return rows[0]
}

/** All chains are in use: more settle at once than there are chains, and one of them has to wait. */
async function waitForChain(tx: Tx): Promise<Head> {
  const { rows } = await tx.query<Head>(
    `SELECT chain, length, seal FROM ledger_chains WHERE chain = $1 FOR UPDATE`,
    [Math.trunc(Math.random() * CHAIN_COUNT)],
  )
  const head = rows[0]
  if (head === undefined) throw new Error('a chain of seals is missing: migrate the database')
  return head
}
