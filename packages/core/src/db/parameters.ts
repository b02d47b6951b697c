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
