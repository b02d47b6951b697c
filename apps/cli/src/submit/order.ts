import { parseAmount, type AmountForm } from './amount.ts'
import type { Columns, Field } from './columns.ts'
import {
  accountReference,
  MAX_KEY_LENGTH,
  MAX_REFERENCE_LENGTH,
  orderKey,
  type AccountIdentity,
} from './keys.ts'

/** Reads one row as an order, or says what is wrong with it and what to do. */
export function readOrder(row: readonly string[], columns: Columns, form: OrderForm): ReadOrder {
  const text = (field: Field) => {
    const column = columns[field]
    return column === undefined ? '' : (row[column] ?? '')
  }
  const problem =
    missing(text) ?? unreadable(text) ?? tooLong(text, form) ?? otherCurrency(text, form)
  if (problem !== undefined) return { problem }
  const amount = parseAmount(text('amount'), form)
  if (amount.problem !== undefined) return { problem: amount.problem }
  return {
    order: {
      orderId: text('orderId'),
      payer: payerOf(text),
      receiver: receiverOf(text),
      amount: amount.minorUnits,
      description: text('description'),
      category: text('category'),
    },
  }
}

/** One payment as the file asks for it. What the file leaves blank is the empty string. */
export type Order = {
  orderId: string
  payer: AccountIdentity
  receiver: AccountIdentity
  /** Minor units, above zero. */
  amount: bigint
  description: string
  category: string
}

export type OrderForm = AmountForm & { prefix: string }

export type ReadOrder = { order: Order; problem?: never } | { order?: never; problem: string }

type Text = (field: Field) => string

function payerOf(text: Text): AccountIdentity {
  return { role: 'payer', bank: text('payerBank'), number: text('payer') }
}

function receiverOf(text: Text): AccountIdentity {
  return { role: 'receiver', bank: text('receiverBank'), number: text('receiver') }
}

function missing(text: Text): string | undefined {
  const needed = { orderId: 'order id', payer: 'payer', receiver: 'receiver' } as const
  for (const [field, name] of Object.entries(needed) as [keyof typeof needed, string][]) {
    if (text(field) === '') return `the ${name} is empty: fill it in, or remove the row`
  }
  return undefined
}

function unreadable(text: Text): string | undefined {
  for (const [field, name] of Object.entries(textFields) as [Field, string][]) {
    const value = text(field)
    if (value.includes('\uFFFD')) {
      return `the ${name} holds bytes that are not text in this encoding: save the file as UTF-8, or name its --encoding`
    }
    const forbidden = mayHaveLines.has(field) ? FORBIDDEN_IN_TEXT : FORBIDDEN_IN_NAMES
    if (forbidden.test(value)) {
      return `the ${name} holds a control character or a line break: remove it, or look for a quote that is not closed`
    }
  }
  return undefined
}

function tooLong(text: Text, form: OrderForm): string | undefined {
  const idLength = orderKey(form.prefix, text('orderId')).length
  if (idLength > MAX_KEY_LENGTH) {
    return `the order id makes a key of ${idLength} characters, at most ${MAX_KEY_LENGTH} are allowed: shorten the id or the --prefix`
  }
  for (const identity of [payerOf(text), receiverOf(text)]) {
    const { length } = accountReference(identity, form.currency)
    if (length > MAX_REFERENCE_LENGTH) {
      return `the ${identity.role}'s bank and number make an account reference of ${length} characters, at most ${MAX_REFERENCE_LENGTH} are allowed: shorten them`
    }
  }
  for (const field of ['description', 'category'] as const) {
    if (codePoints(text(field)) > MAX_TEXT) {
      return `the ${field} has ${codePoints(text(field))} characters, at most ${MAX_TEXT} are allowed: shorten it`
    }
  }
  return undefined
}

function otherCurrency(text: Text, form: OrderForm): string | undefined {
  const currency = text('currency')
  if (currency === '' || currency === form.currency) return undefined
  return `the row's currency is ${JSON.stringify(currency)}, the run's is ${form.currency}: split the file by currency`
}

/** Of a text of more UTF-16 units than that, only the count of characters can tell. */
function codePoints(value: string): number {
  return value.length <= MAX_TEXT ? value.length : Array.from(value).length
}

const textFields = {
  orderId: 'order id',
  payer: 'payer',
  payerBank: "payer's bank",
  receiver: 'receiver',
  receiverBank: "receiver's bank",
  description: 'description',
  category: 'category',
} as const satisfies Partial<Record<Field, string>>

const mayHaveLines: ReadonlySet<Field> = new Set(['description', 'category'])

// What Payonce refuses as `invalid_text`: controls but tab and line ends, and characters that turn
// the direction of writing around. Refusing it here keeps a dry run honest.
const FORBIDDEN_IN_TEXT = /(?![\t\n\r])\p{Cc}|[\u202A-\u202E\u2066-\u2069]/u
const FORBIDDEN_IN_NAMES = /[\p{Cc}\u202A-\u202E\u2066-\u2069]/u

/** The limit of a description and of a metadata value, in characters. */
const MAX_TEXT = 500
