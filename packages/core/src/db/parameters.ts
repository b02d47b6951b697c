/** Gathers the parameters of a statement that is put together from optional conditions. */
export class Parameters {
  readonly values: unknown[] = []

  /** Adds a value and returns what stands for it in the statement: `$3`. */
  add(value: unknown): string {
    this.values.push(value)
    return `$${this.values.length}`
  }
}

/** A value as the text of a `json` parameter; null stays null. */
export function jsonText(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value)
}

/**
 * A column of rows that are inserted from `unnest`, which fills up with nulls whatever is shorter than
 * the others: a column of nulls alone is sent as nothing. Another column has to have every row.
 */
export function columnOf<Row, T>(rows: readonly Row[], valueOf: (row: Row) => T): T[] {
  const values = rows.map(valueOf)
  return values.every((value) => value === null) ? [] : values
}
