import { encodeId } from '@payonce/core/ids'
import type { AccountBalance, ExportedAccount, Movement } from '@payonce/core/ledger/export'
import { minorUnitDigits } from '@payonce/core/money'
import { formatAmount as formatDecimal } from '../submit/amount.ts'
import { escapeAccountName, escapeDescription, escapeTagName, escapeTagValue } from './escape.ts'

/** An account as postings name it. */
export type PostedAccount = { name: string; currency: string }

/**
 * What every journal begins with. Money that a tenant keeps inside is an asset; what came from the
 * world outside stands against it.
 */
export const journalHead = `; The books of one tenant of Payonce. Text of clients is escaped as in a URL: %3B is a semicolon.
decimal-mark .

account internal  ; type:A
account external  ; type:E
`

/**
 * A name that no other account has and that never changes: references are given once, while names
 * may be changed, even while the export runs. A name stands beside it, as a tag.
 */
export function toPostedAccount(account: ExportedAccount): PostedAccount {
  const { kind, currency, reference, id } = account
  const levels = [
    kind,
    currency,
    ...(reference === null ? [] : [escapeAccountName(reference)]),
    encodeId('account', id),
  ]
  return { name: levels.join(':'), currency }
}

export function formatAccount(account: ExportedAccount): string {
  const { name } = toPostedAccount(account)
  return account.name === null
    ? `account ${name}\n`
    : `account ${name}  ; name:${escapeTagValue(account.name)}\n`
}

/** `commodity 1000.00 EUR`: with as many digits as ISO 4217 gives it. A mark has to be there. */
export function formatCommodity(currency: string): string {
  return `commodity 1000.${'0'.repeat(minorUnitDigits(currency))} ${currency}\n`
}

/** An exact decimal from minor units, digit by digit: `-12.34 EUR`. */
export function formatAmount(amount: bigint, currency: string): string {
  const digits = minorUnitDigits(currency)
  const size = formatDecimal(amount < 0n ? -amount : amount, { digits })
  return `${amount < 0n ? '-' : ''}${size} ${currency}`
}

/**
 * A transfer that moved money. Status and code are always there, so that whatever the description
 * begins with is read as a description.
 */
export function formatMovement(
  movement: Movement,
  accountOf: (id: string) => PostedAccount,
): string {
  const { id, kind, description, settledAt, legs, metadata } = movement
  const code = encodeId('transfer', id)
  const lines = [
    `${dateOf(settledAt)} * (${code}) ${escapeDescription(description ?? kind)}`,
    `    ; ${tagsOf(movement).join(', ')}`,
    ...Object.entries(metadata)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => `    ; metadata.${escapeTagName(key)}:${escapeTagValue(value)}`),
    ...legs.flatMap(({ source, destination, amount }) => [
      formatPosting(accountOf(source), -amount),
      formatPosting(accountOf(destination), amount),
    ]),
  ]
  return `\n${lines.join('\n')}\n`
}

/** The day in UTC. */
export function dateOf(time: Date): string {
  return time.toISOString().slice(0, 10)
}

function tagsOf({ kind, idempotencyKey, parentId, settledAt }: Movement): string[] {
  return [
    `kind:${kind}`,
    `settled_at:${settledAt.toISOString()}`,
    `idempotency_key:${escapeTagValue(idempotencyKey)}`,
    ...(parentId === null ? [] : [`parent:${encodeId('transfer', parentId)}`]),
  ]
}

function formatPosting({ name, currency }: PostedAccount, amount: bigint): string {
  return `    ${name}  ${formatAmount(amount, currency)}`
}

/** Begins the transaction that brings in what was there before; its postings follow. */
export function formatOpening(date: string): string {
  return `\n${date} * opening balances\n`
}

export function formatOpeningPosting(account: AccountBalance): string {
  return `${formatPosting(toPostedAccount(account), account.balance)}\n`
}

/** Moves nothing, and makes hledger compare its own balance with ours, in every currency. */
export function formatAssertion(date: string, account: AccountBalance): string {
  const { name, currency } = toPostedAccount(account)
  const zero = formatAmount(0n, currency)
  const balance = formatAmount(account.balance, currency)
  return `\n${date} * closing balance\n    ${name}  ${zero} == ${balance}\n`
}
