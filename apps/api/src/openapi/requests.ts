import {
  acceptanceQuery,
  accountChange,
  accountQuery,
  balanceQuery,
  captureRequest,
  deliveryQuery,
  emptyBody,
  endpointChange,
  entryQuery,
  eventQuery,
  keyPurpose,
  keyQuery,
  newAccount,
  newBatch,
  newBatchItem,
  newEndpoint,
  newMultiLegBatchItem,
  newMultiLegTransfer,
  newRecovery,
  newTransfer,
  pageQuery,
  refundRequest,
  releaseRequest,
  secretRotation,
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
  /** For a list whose items are validated one by one: the names of the schemas that they may have. */
  itemsOf?: Readonly<Record<string, readonly string[]>>
}

function described<Schema extends z.ZodType>(
  schema: Schema,
  members: Members<Schema>,
  more: Pick<DescribedSchema, 'itemsOf'> = {},
): DescribedSchema & { schema: Schema } {
  return { schema, members, ...more }
}

const metadata =
  'Pairs of texts of your own: at most 50, names of at most 40 characters, values of at most 500.'

const callbackUrl =
  'An https address that is told how it ends, besides your endpoints: its deliveries are signed with the secret from `POST /v1/webhook-secret`.'

const transferMembers = {
  callback_url: callbackUrl,
  description: 'A text for people.',
  metadata,
  expires_at:
    'When to give up: what is found unexecuted at this time ends as `expired`. It has to be after now and after `execute_at`.',
  on_insufficient_funds:
    'What to do when a source has too little. Without it, the transfer ends as `failed`. With `retry_until` it stays `queued` and is tried again, at growing gaps and whenever the source is credited, until that time (at most 90 days away), and then ends as `failed`.',
}

const singleMembers = {
  ...transferMembers,
  source: 'The account that the money leaves.',
  destination: 'The account that the money enters.',
  amount: 'What is moved, in minor units: 1250 is 12.50 EUR.',
  currency: 'The currency of both accounts.',
  expires_at:
    'When to give up: what is found unexecuted at this time ends as `expired`, and what a hold still reserves then goes back to the source. It has to be after now and after `execute_at`; for a hold at most 90 days, and 7 days where it is left out.',
  hold: '`true` reserves the amount on the source and moves nothing. `POST /v1/transfers/{id}/capture` moves it later, `/release` gives it back.',
  if: 'What has to hold of the source when the transfer is carried out, else it ends as `failed` with `condition_not_met`: a balance of at least `source_balance_at_least`, in minor units, and exactly the `version` in `source_version`.',
}

const multiLegMembers = {
  ...transferMembers,
  legs: '2 to 100 movements that are carried out together, all or none, in this order: each is funded by what the ones before it have left. An exchange is two legs, through an account per currency.',
}

const scheduled = {
  execute_at:
    'When to carry it out, at most 366 days away; until then it is `scheduled`. A time in the past means at once.',
}

const itemKey = {
  idempotency_key:
    'A key for this transfer alone, which means the same as if it had been sent alone. Left out, it is the key of the batch, a comma and the index.',
}

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
  NewTransfer: described(newTransfer, { ...singleMembers, ...scheduled }),
  NewMultiLegTransfer: described(newMultiLegTransfer, { ...multiLegMembers, ...scheduled }),
  NewBatch: described(
    newBatch,
    {
      transfers: 'The transfers, each as if it were sent alone, but for the times of the batch.',
      atomic:
        '`true` carries all of them out in one transaction, or none: the first that is refused keeps its code, the others end with `batch_aborted`.',
      callback_url: callbackUrl,
      expires_at:
        'When to give up, for every transfer of the batch that has no `expires_at` of its own.',
      execute_at: 'When to carry the batch out. A time in the past means at once.',
    },
    { itemsOf: { transfers: ['NewBatchItem', 'NewMultiLegBatchItem'] } },
  ),
  NewBatchItem: described(newBatchItem, { ...singleMembers, ...itemKey }),
  NewMultiLegBatchItem: described(newMultiLegBatchItem, { ...multiLegMembers, ...itemKey }),
  CaptureRequest: described(captureRequest, {
    amount: 'What to move of what is left of the hold; all of it where this is left out.',
    final: '`true` gives the rest of the hold back to the source.',
  }),
  RefundRequest: described(refundRequest, {
    amount:
      'What to send back of what was not refunded yet; all of it where this is left out. Several legs are refunded as a whole, without an amount.',
  }),
  ReleaseRequest: described(releaseRequest, {}),
  NewEndpoint: described(newEndpoint, {
    url: 'An https address on port 443 or 8443 of a host that the world can reach.',
    description: 'A text for people.',
    event_types: 'Only events of these types; all where this is null or left out.',
    rate_limit: 'Attempts begun within a second, at most.',
    ed25519:
      '`true` signs by ed25519 (`v1a`) besides HMAC-SHA256 (`v1`): then whoever verifies needs no secret.',
  }),
  EndpointChange: described(endpointChange, {
    url: 'A new address. What waits is sent to it at once.',
    description: 'A new text, or null to remove it.',
    event_types: 'Other types, or null for all.',
    rate_limit: 'Another limit.',
    ed25519: 'Whether to sign by ed25519 besides.',
    status: '`enabled` again, what waits is sent at once; `disabled`, what comes is skipped.',
  }),
  SecretRotation: described(secretRotation, {
    overlap_seconds:
      'How long the secrets of before sign besides the new one: a day unless told otherwise.',
  }),
  NewRecovery: described(newRecovery, {
    since: 'Deliveries made since this time are looked at.',
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
  acceptance: described(acceptanceQuery.omit({ idempotency_key: true }), {
    dry_run:
      '`true` answers with what the request would do now, stores nothing, and needs no idempotency key.',
  }),
  balance: described(balanceQuery, {
    at: 'The moment to tell the balance of, with every entry up to it; now where it is left out.',
  }),
  entries: described(entryQuery, {
    ...page,
    created_after: 'Only entries written after this time.',
    created_before: 'Only entries written before this time.',
    format: '`csv` answers with the same page as CSV, below a line of names.',
  }),
  deliveries: described(deliveryQuery, {
    ...page,
    status: 'Only deliveries of this status.',
    endpoint: 'Only deliveries to this endpoint.',
    event: 'Only deliveries of this event.',
    created_after: 'Only deliveries made after this time.',
    created_before: 'Only deliveries made before this time.',
  }),
  events: described(eventQuery, {
    limit: page.limit,
    after: 'The id of the last event that you have: what came after it is returned.',
    type: 'Only events of this type.',
  }),
  page: described(pageQuery, page),
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

/** Pairs of metadata among the query parameters: `metadata[order]=6735`. */
export const metadataInQuery = {
  name: 'metadata',
  in: 'query',
  required: false,
  description:
    'Only transfers that have each of these pairs: `metadata[order]=6735`. Give `account` or `created_after` as well, so that not all transfers are searched.',
  style: 'deepObject',
  explode: true,
  schema: {
    type: 'object',
    propertyNames: { minLength: 1, maxLength: 40 },
    additionalProperties: { type: 'string' },
  },
} as const
