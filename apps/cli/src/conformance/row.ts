import type { Client } from './client.ts'

/** One row of the table of what must hold for idempotent requests. */
export type Row = {
  /** Its number in the table: `I17`. */
  row: string
  situation: string
  expectation: string
} & (
  | {
      /** Without these the row cannot be run. */
      needs?: readonly ClientName[]
      /** Throws a `Deviation` where the server does something else. */
      run(context: Context): Promise<void>
    }
  | {
      /** Why HTTP alone cannot show it. */
      beyondHttp: string
    }
)

/** What a row is run with. */
export type Context = {
  client: Client
  /** Further clients, each where its option was given. */
  others: Partial<Record<ClientName, Client>>
  /** How long a transfer may take to settle. */
  settleWithinMs: number
  /** Notes a part of the row that could not be looked at. */
  note(text: string): void
}

/** Further clients, by what tells them apart from the first. */
export type ClientName =
  | 'otherCredential'
  | 'otherTenant'
  | 'otherMode'
  | 'otherProcess'
  | 'readOnly'

/** The client that a row has declared in `needs`. */
export function clientNamed(name: ClientName, { others }: Context): Client {
  const client = others[name]
  if (client === undefined) throw new Error(`a row uses ${name} and does not declare it`)
  return client
}
