import { expectsHeader, fieldNames, fields, locateColumns } from './columns.ts'
import type { ColumnChoices, Columns } from './columns.ts'
import { readOrder, type Order, type OrderForm } from './order.ts'
import { readRows, type Row, type RowForm } from './rows.ts'
import { FileError } from './stop.ts'

/**
 * Reads the orders of a file, one after another, in bounded memory. A row that is no order comes
 * out as its problem, and reading goes on, so that one pass finds all of them.
 * Throws a FileError where nothing after it could be understood: wrong columns, an open quote.
 */
export async function* readOrders(file: OrderFile): AsyncGenerator<OrderLine> {
  let layout: Layout | undefined
  let orders = 0
  for await (const row of readRows(file.path, file)) {
    if (layout === undefined) {
      layout = layOut(row, file)
      if (layout.isHeader) continue
    }
    if (orders >= file.limit) return
    orders += 1
    yield { line: row.line, ...readRow(row, layout, file) }
  }
}

export type OrderFile = RowForm &
  OrderForm & {
    path: string
    columns: ColumnChoices
    /** Whether the first row is a header; undefined lets the columns decide. */
    header: boolean | undefined
    /** How many orders to read, at most. */
    limit: number
  }

export type OrderLine = { line: number } & ReturnType<typeof readRow>

type Layout = { columns: Columns; width: number; isHeader: boolean }

/** The first row fixes how many columns there are and, as a header, which. */
function layOut(first: Row, file: OrderFile): Layout {
  const isHeader = file.header ?? expectsHeader(file.columns)
  const columns = locateColumns(file.columns, isHeader ? first.fields : undefined)
  const width = first.fields.length
  for (const field of fieldNames) {
    const column = columns[field]
    if (column === undefined || column < width) continue
    throw new FileError(
      `--${fields[field].option} is column ${column + 1}, the first row has ${width}: correct the number, or the --delimiter`,
      first.line,
    )
  }
  if (isHeader && readOrder(first.fields, columns, file).problem === undefined) {
    throw new FileError(
      'the first row is to be the header, yet it reads as an order: give --no-header if it is one',
      first.line,
    )
  }
  return { columns, width, isHeader }
}

function readRow(
  row: Row,
  { columns, width }: Layout,
  form: OrderForm,
): { order: Order; problem?: never } | { order?: never; problem: string } {
  if (row.fields.length !== width) {
    return {
      problem: `the row has ${row.fields.length} columns, the first row has ${width}: look for a delimiter too many or too few, or put a field that holds one in quotes`,
    }
  }
  return readOrder(row.fields, columns, form)
}
