import type { Pool, Tx } from '@payonce/core/db/client'

/** What Postgres answers a statement with; a thrown error is what the statement fails with. */
export type Answer = (statement: string, parameters: readonly unknown[]) => ScriptedResult

export type ScriptedResult = {
  command?: string
  rows?: readonly Record<string, unknown>[]
  rowCount?: number
}

/**
 * A pool whose connections answer from a script, and which keeps account of them. It stands in for
 * Postgres where a test is about what is done with its answers: lost, refused or late.
 */
export class ScriptedPool {
  readonly statements: string[] = []
  /** What each connection was given back with: undefined where it is to be used again. */
  readonly released: (Error | undefined)[] = []
  readonly #answer: Answer

  constructor(answer: Answer) {
    this.#answer = answer
  }

  /** As the product's functions take it. */
  get pool(): Pool {
    return { connect: async () => this.#connection(), query: this.#query } as unknown as Pool
  }

  #connection(): Tx {
    const release = (error?: Error) => {
      this.released.push(error)
    }
    return { query: this.#query, release } as unknown as Tx
  }

  readonly #query = async (
    statement: string,
    parameters: readonly unknown[] = [],
  ): Promise<Required<ScriptedResult>> => {
    this.statements.push(statement)
    const { command, rows = [], rowCount } = this.#answer(statement, parameters)
    return {
      command: command ?? statement.trimStart().split(/[\s;]/)[0] ?? '',
      rows,
      rowCount: rowCount ?? rows.length,
    }
  }
}
