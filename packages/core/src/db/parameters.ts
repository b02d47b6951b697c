/** Gathers the parameters of a statement that is put together from optional conditions. */
export class Parameters {
  readonly values: unknown[] = []

  /** Adds a value and returns what stands for it in the statement: `$3`. */
  add(value: unknown): string {
    this.values.push(value)
    return `$${this.values.length}`
  }
}
