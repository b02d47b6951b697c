import { formatAmount } from './amount.ts'
import type { AccountCount, CheckedFile } from './check.ts'
import { accountReference, orderKey } from './keys.ts'
import type { SubmitOptions } from './options.ts'
import type { Order } from './order.ts'

/** What a run would do, for `--dry-run`: the sums, and the first orders as they would be sent. */
export function renderPlan(
  checked: CheckedFile,
  accounts: ReturnType<AccountCount['read']>,
  { file, kinds, url }: SubmitOptions,
): string {
  const atLeast = accounts.isComplete ? '' : 'at least '
  const total = `${checked.total} minor units (${formatAmount(checked.total, file)} ${file.currency})`
  return [
    'The file is in order. Nothing was sent.',
    '',
    `server            ${url.href}`,
    `orders            ${checked.orders}`,
    `repeated in file  ${checked.repeated.size}`,
    `payers            ${atLeast}${accounts.payers} ${kinds.payer} accounts`,
    `receivers         ${atLeast}${accounts.receivers} ${kinds.receiver} accounts`,
    `total             ${total}`,
    '',
    ...checked.samples.flatMap((order) => [...renderOrder(order, file), '']),
    '',
  ]
    .join('\n')
    .replace(/\n+$/, '\n')
}

function renderOrder(order: Order, file: SubmitOptions['file']): string[] {
  const { currency, prefix } = file
  return [
    `idempotency key   ${orderKey(prefix, order.orderId)}`,
    `  source          ${accountReference(order.payer, currency)}`,
    `  destination     ${accountReference(order.receiver, currency)}`,
    `  amount          ${order.amount} (${formatAmount(order.amount, file)} ${currency})`,
    ...(order.description === '' ? [] : [`  description     ${order.description}`]),
    ...(order.category === '' ? [] : [`  category        ${order.category}`]),
  ]
}
