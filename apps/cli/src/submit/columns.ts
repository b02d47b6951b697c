import { FileError, UsageError } from './stop.ts'

/**
 * Where each field of an order stands in a row. `header` is the file's first row, or undefined
 * for a file without one. A column that was asked for and is not there is an error; an optional
 * one that only the defaults name may be absent.
 */
export function locateColumns(choices: ColumnChoices, header?: readonly string[]): Columns {
  const columns: Columns = {}
  for (const field of fieldNames) {
    const index = locate(field, choices, header)
    if (index !== undefined) columns[field] = index
  }
  return columns
}

/**
 * Whether the file has a header when nobody said so: yes as soon as one column is known by its
 * name. With numbers alone there is none, because skipping a first order in silence is worse
 * than refusing a header whose amount is no number.
 */
export function expectsHeader(choices: ColumnChoices): boolean {
  return fieldNames.some((field) => {
    const given = choices[field]
    return given === undefined ? fields[field].required : !isNumber(given)
  })
}

/** Every field, its option, the header name it has by default, and what it is for. */
export const fields = {
  orderId: { option: 'order-id', header: 'order_id', required: true },
  payer: { option: 'payer', header: 'payer', required: true },
  payerBank: { option: 'payer-bank', header: 'payer_bank', required: false },
  receiver: { option: 'receiver', header: 'receiver', required: true },
  receiverBank: { option: 'receiver-bank', header: 'receiver_bank', required: false },
  amount: { option: 'amount', header: 'amount', required: true },
  description: { option: 'description', header: 'description', required: false },
  category: { option: 'category', header: 'category', required: false },
  currency: { option: 'currency-column', header: 'currency', required: false },
} as const satisfies Record<string, { option: string; header: string; required: boolean }>

export type Field = keyof typeof fields

export const fieldNames = Object.keys(fields) as Field[]

/** What the command line says of each column: a header name or a number that counts from 1. */
export type ColumnChoices = Partial<Record<Field, string>>

/** Positions that count from 0. */
export type Columns = Partial<Record<Field, number>>

function locate(field: Field, choices: ColumnChoices, header?: readonly string[]) {
  const { option, header: usual, required } = fields[field]
  const given = choices[field]
  if (given !== undefined && isNumber(given)) return Number(given) - 1
  if (header === undefined) {
    if (given === undefined && !required) return undefined
    throw new UsageError(
      given === undefined
        ? `a file without a header needs --${option} with the number of its column`
        : `--${option} ${given} is a name, and the file has no header: give the column's number`,
    )
  }
  return findByName(given ?? usual, header, { option, required: required || given !== undefined })
}

function findByName(
  name: string,
  header: readonly string[],
  { option, required }: { option: string; required: boolean },
): number | undefined {
  const index = header.indexOf(name)
  if (index === -1) {
    if (!required) return undefined
    throw new FileError(
      `no column is named "${name}" (--${option}); the first row has ${listed(header)}. Give the name or the number of the column, --no-header if the file has no header, or another --delimiter if the columns are not told apart`,
    )
  }
  if (header.includes(name, index + 1)) {
    throw new FileError(`two columns are named "${name}": choose one with --${option} NUMBER`)
  }
  return index
}

function isNumber(choice: string): boolean {
  return /^[1-9][0-9]{0,3}$/.test(choice)
}

function listed(header: readonly string[]): string {
  const shown = header.slice(0, 20).map((name) => JSON.stringify(name))
  return shown.join(', ') + (header.length > shown.length ? ', …' : '')
}
