import {
  accountChange,
  accountQuery,
  emptyBody,
  entryQuery,
  keyPurpose,
  keyQuery,
  newAccount,
  newTransfer,
  transferQuery,
} from '../schemas.ts'
import type { z } from 'zod'

/*
 * The requests by name, with a sentence for each of their members: a member that is added to a
 * schema does not compile until it is described here.
 */

type Members<Schema extends z.ZodType> = Readonly<Record<keyof z.input<Schema> & string, string>>

export type DescribedSchema = {
  schema: z.ZodType
  members: Readonly<Record<string, string>>
}

function described<Schema extends z.ZodType>(schema: Schema, members: Members<Schema>) {
  return { schema, members } satisfies DescribedSchema
}

const metadata =
  'Pairs of texts of your own: at most 50, names of at most 40 characters, values of at most 500.'

/** Bodies. Their names are the names of components in /openapi.json. */
export const bodies = {
  NewAccount: described(newAccount, {
    currency: 'The currency that the account holds for ever: a code of ISO 4217.',
    kind: '`internal`, or `external` for the world outside, whose balance has no lower limit.',
    name: 'What people call it.',
    reference: 'Your own name for the account, unique within the tenant.',
    overdraft_limit: 'How far below zero the account may go, in minor units.',
    metadata,
  }),
  AccountChange: described(accountChange, {
    status:
      'A `frozen` account takes part in no transfer until it is `open` again. `closed` is final, and asks for an empty account.',
    name: 'A new name, or null to remove it.',
    overdraft_limit: 'A new limit, which has to cover what is in use.',
    metadata:
      'Pairs to add or to change. A null value removes its pair; null in place of the object removes all.',
  }),
  NewTransfer: described(newTransfer, {
    source: 'The account that the money leaves.',
    destination: 'The account that the money enters.',
    amount: 'What is moved, in minor units: 1250 is 12.50 EUR.',
    currency: 'The currency of both accounts.',
    description: 'A text for people.',
    metadata,
    on_insufficient_funds:
      'What to do when the source has too little. Without it, the transfer ends as `failed`. With `retry_until` it stays `queued` and is tried again, at growing gaps and whenever the source is credited, until that time (at most 90 days away), and then ends as `failed`.',
  }),
  NewIdempotencyKey: described(keyPurpose, {
    purpose: 'The route that the key may be used for; null for any.',
  }),
  Nothing: described(emptyBody, {}),
} as const

export type BodyName = keyof typeof bodies

const page = {
  limit: 'How many to return at most: 10 unless told otherwise.',
  cursor: '`next_cursor` of the page before.',
}

/** Query parameters. */
export const queries = {
  accounts: described(accountQuery, { ...page, reference: 'Only the account of this reference.' }),
  entries: described(entryQuery, page),
  key: described(keyQuery, { key: 'The idempotency key, bare or quoted.' }),
  transfers: described(transferQuery, {
    ...page,
    idempotency_key: 'Only the transfer of this key. Other filters are ignored then.',
    account: 'Only transfers from or to this account.',
    status: 'Only transfers of this status.',
    kind: 'Only transfers of this kind.',
    created_after: 'Only transfers created after this time.',
    created_before: 'Only transfers created before this time.',
  }),
} as const

export type QueryName = keyof typeof queries
