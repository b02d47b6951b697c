import { z } from 'zod'
import { eventTypes } from '@payonce/core/events/event'
import { keyPurposes } from '@payonce/core/idempotency/issued-key'
import { refusalMessages } from '@payonce/core/refusals'
import { MAX_BATCH_ITEMS } from '@payonce/core/transfers/batch'
import { idPattern, MAX_METADATA_PAIRS } from '../schemas.ts'
import { problems } from '../problem.ts'
import type { IdKind } from '@payonce/core/ids'
import type { TimelineStep } from '@payonce/core/transfers/timeline'
import type { Kind, TransferStatus } from '@payonce/core/transfers/transfer'
import type { viewAccount } from '@payonce/core/ledger/account-view'
import type { EventView } from '@payonce/core/webhooks/payload'
import type { viewTransfer } from '@payonce/core/transfers/transfer-view'
import type {
  viewAcceptedBatch,
  viewBatch,
  viewDelivery,
  viewDryRun,
  viewEndpoint,
  viewEntry,
  viewRecovery,
  viewTrialBalance,
} from '../views.ts'

/*
 * The answers, as /openapi.json shows them. Nothing is validated with these schemas while serving;
 * the tests hold every answer they get against them, so that the document cannot drift.
 * `satisfies` ties each to its view: a member that is added there does not compile until it is here.
 */

const id = (kind: IdKind) => z.string().regex(new RegExp(idPattern(kind)))
const time = z.iso.datetime({ precision: 3 }).meta({ examples: ['2026-01-31T12:00:00.000Z'] })
const count = z.int().min(0)
/** Whole minor units. */
const money = z.int()
const amount = z.int().min(1)
const currency = z
  .string()
  .regex(/^[A-Z]{3}$/)
  .meta({ examples: ['EUR'] })
const metadata = z
  .record(z.string(), z.string())
  .meta({ maxProperties: MAX_METADATA_PAIRS })
  .describe('The pairs of texts that were sent, ordered by their names.')

const Account = z.strictObject({
  id: id('account'),
  object: z.literal('account'),
  kind: z
    .enum(['internal', 'external'])
    .describe('`external` is the world outside: its balance has no lower limit.'),
  currency,
  status: z
    .enum(['open', 'frozen', 'closed'])
    .describe('Only open accounts take part in transfers.'),
  name: z.string().nullable(),
  reference: z
    .string()
    .nullable()
    .describe('Your own name for the account, unique within the tenant.'),
  balance: money.describe('The sum of all entries of the account, in minor units.'),
  held: money.describe('What open holds reserve, in minor units.'),
  available: money.describe('`balance` less `held`.'),
  overdraft_limit: count.describe('How far below zero `available` may go.'),
  version: count.describe('Rises with every change of balance, held, status or limit.'),
  metadata,
  created_at: time,
}) satisfies z.ZodType<ReturnType<typeof viewAccount>>

/** Total, so that a new status does not compile until it is explained. */
const statuses: Readonly<Record<TransferStatus, string>> = {
  scheduled: 'accepted durably, and waiting for its `execute_at`',
  queued: 'accepted durably, and about to be settled',
  held: 'the amount of this hold is reserved, and may be captured or released',
  succeeded: 'the money has moved; of a hold, all that was left of it was captured',
  failed: 'the ledger has refused it, as `failure` tells; no money has moved',
  canceled: 'it was canceled before it was settled; no money has moved',
  expired:
    'its `expires_at` came before it was carried out, or, of a hold, before all of it was captured or released',
  released: 'what was left of this hold was given back to its source',
}

/** Total, so that a new kind does not compile until it is explained. */
const kinds: Readonly<Record<Kind, string>> = {
  transfer: 'moves money',
  hold: 'reserves an amount on its source',
  capture: 'moves what its parent, a hold, has reserved',
  release: 'gives back what its parent, a hold, still reserves',
  refund: 'sends back what its parent, a transfer or capture, has moved',
}

function meaningOf(words: Readonly<Record<string, string>>): string {
  return Object.entries(words)
    .map(([word, meaning]) => `\`${word}\`: ${meaning}.`)
    .join(' ')
}

const status = z.enum(Object.keys(statuses) as TransferStatus[])
const kind = z.enum(Object.keys(kinds) as Kind[])

/** Every member that a view may give: one that is left out here does not compile. */
type MembersOf<View extends (...input: never[]) => object> = z.ZodObject<
  Readonly<Record<keyof ReturnType<View>, z.ZodType>>
>

const Refusal = z.strictObject({
  code: z
    .enum(Object.keys(refusalMessages) as (keyof typeof refusalMessages)[])
    .describe('Stable. What each code means, and what to do, stands on `/docs/refusals`.'),
  message: z.string(),
})

const Leg = z.strictObject({
  source: id('account'),
  destination: id('account'),
  amount: amount.describe('In minor units.'),
  currency,
})

const deliveryStatus = z
  .enum(['pending', 'succeeded', 'failed', 'skipped'])
  .describe(
    '`pending`: it is tried until it succeeds, ten times at most. `failed`: none of these did. `skipped`: its endpoint was disabled. Failed and skipped ones can be recovered.',
  )

const executeAt = time.describe('When it is carried out; left out where that is at once.')

const Transfer = z.strictObject({
  id: id('transfer'),
  object: z.literal('transfer'),
  kind: kind.describe(meaningOf(kinds)),
  status: status.describe(meaningOf(statuses)),
  source: id('account').nullable().describe('Null where there are `legs`.'),
  destination: id('account').nullable().describe('Null where there are `legs`.'),
  amount: amount
    .nullable()
    .describe(
      'In minor units. Null where there are `legs`, and in a capture, release or refund that takes all that is left and has not been carried out.',
    ),
  currency: currency.nullable().describe('Null where there are `legs`.'),
  legs: z
    .array(Leg)
    .optional()
    .describe('The movements of a transfer that has several, in their order.'),
  description: z.string().nullable(),
  metadata,
  idempotency_key: z.string().describe('The key under which it was accepted.'),
  parent: id('transfer')
    .nullable()
    .describe('The hold, transfer or capture that a capture, release or refund builds on.'),
  captured_amount: count.optional().describe('Of a hold: what was captured of it.'),
  refunded_amount: count
    .optional()
    .describe('Of a transfer without `legs`, and of a capture: what was refunded of it.'),
  execute_at: executeAt.optional(),
  expires_at: time
    .optional()
    .describe(
      'When it is given up, where it is not carried out by then; of a hold, also when what is left is released.',
    ),
  failure: Refusal.nullable().describe('Why the ledger has refused it; null unless `failed`.'),
  created_at: time.describe('When it was accepted.'),
  settled_at: time.nullable().describe('When it was settled; null until then.'),
}) satisfies MembersOf<typeof viewTransfer>

const batchHead = {
  id: id('batch'),
  object: z.literal('transfer_batch'),
  atomic: z.boolean().describe('Whether all or none of it is carried out.'),
  idempotency_key: z.string().describe('The key under which it was accepted.'),
  execute_at: executeAt.optional(),
  expires_at: time
    .optional()
    .describe('When a transfer is given up that has no `expires_at` of its own.'),
  created_at: time.describe('When it was accepted.'),
  total: z.int().min(1).max(MAX_BATCH_ITEMS).describe('How many transfers it has.'),
}

const itemHead = {
  index: count.describe('The place in the request, from 0.'),
  id: id('transfer'),
  idempotency_key: z.string().describe('The key of this transfer alone.'),
  replayed: z
    .literal(true)
    .optional()
    .describe('The transfer was accepted before, by another request with this key.'),
}

const AcceptedBatch = z.strictObject({
  ...batchHead,
  transfers: z.array(z.strictObject(itemHead)),
}) satisfies MembersOf<typeof viewAcceptedBatch>

const Batch = z.strictObject({
  ...batchHead,
  is_settled: z.boolean().describe('Whether none of its transfers is scheduled or queued.'),
  counts: z.partialRecord(status, z.int().min(1)).describe('How many transfers have each status.'),
  transfers: z.array(
    z.strictObject({
      ...itemHead,
      status,
      failure: Refusal.nullable().describe('Why the ledger has refused it; null unless `failed`.'),
    }),
  ),
}) satisfies MembersOf<typeof viewBatch>

const DryRun = z.strictObject({
  object: z.literal('dry_run'),
  transfers: z
    .array(Transfer)
    .describe('The transfers as they would be. Their ids are none: nothing was stored.'),
  accounts: z
    .array(
      z.strictObject({
        id: id('account'),
        balance: money,
        held: count,
        available: money,
        version: count,
      }),
    )
    .describe('The accounts that would change, as they would be afterwards.'),
}) satisfies MembersOf<typeof viewDryRun>

/** Total, so that a new step does not compile until it is described. */
const steps = {
  accepted: z
    .strictObject({ type: z.literal('accepted'), at: time, idempotency_key: z.string() })
    .describe('It was stored durably.'),
  due: z
    .strictObject({ type: z.literal('due'), at: time })
    .describe('Its `execute_at`, where that is later.'),
  attempted: z
    .strictObject({
      type: z.literal('attempted'),
      at: time,
      attempt: z.int().min(1),
      worker: z.string().describe('Names the process that tried.'),
      code: z.string().describe('Why it was not settled.'),
    })
    .describe('It was tried, and put aside to be tried again. The first 100 attempts are told.'),
  next_attempt: z
    .strictObject({ type: z.literal('next_attempt'), at: time, reason: z.string() })
    .describe('When it is tried again, at the latest.'),
  settled: z
    .strictObject({
      type: z.literal('settled'),
      at: time,
      status,
      settlement: z.uuid().describe('What was settled in one transaction has one of these.'),
    })
    .describe('It was settled; of a hold, `status` is the present one.'),
  child_settled: z
    .strictObject({
      type: z.literal('child_settled'),
      at: time,
      id: id('transfer'),
      kind,
      status,
    })
    .describe('A capture, release or refund of it was settled.'),
  event: z
    .strictObject({
      type: z.literal('event'),
      at: time,
      id: id('event'),
      event: z.enum(eventTypes).describe('Its type.'),
    })
    .describe('What happened was recorded as an event. The first 100 are told.'),
  delivery: z
    .strictObject({
      type: z.literal('delivery'),
      at: time,
      id: id('delivery'),
      status: deliveryStatus,
      attempts: count,
    })
    .describe('An event of it was delivered, or is to be: `at` is when that ended or began.'),
} satisfies Readonly<Record<TimelineStep['type'], z.ZodType>>

const Timeline = z.strictObject({
  object: z.literal('timeline'),
  data: z
    .array(
      z.discriminatedUnion('type', [
        steps.accepted,
        steps.due,
        steps.attempted,
        steps.next_attempt,
        steps.settled,
        steps.child_settled,
        steps.event,
        steps.delivery,
      ]),
    )
    .describe('In the order of time.'),
})

const Balance = z.strictObject({
  object: z.literal('balance'),
  account: id('account'),
  currency,
  balance: money.describe('The sum of all entries up to `at`, in minor units.'),
  seq: count.describe('The last entry that is counted; 0 where there is none.'),
  at: time,
})

const Entry = z.strictObject({
  object: z.literal('entry'),
  account: id('account'),
  seq: z.int().min(1).describe('1 for the first entry of the account, without a gap.'),
  transfer: id('transfer'),
  amount: money.describe('Signed: negative where money left the account.'),
  currency,
  balance_after: money.describe('The balance of the account after this entry.'),
  created_at: time,
}) satisfies z.ZodType<ReturnType<typeof viewEntry>>

const TrialBalance = z.strictObject({
  object: z.literal('trial_balance'),
  data: z.array(
    z.strictObject({
      currency,
      balance: money.describe('The sum over all accounts of the tenant: 0.'),
      accounts: count,
      entries: count,
    }),
  ),
}) satisfies z.ZodType<ReturnType<typeof viewTrialBalance>>

const IdempotencyKey = z.strictObject({
  object: z.literal('idempotency_key'),
  key: z.string(),
  purpose: z
    .enum(keyPurposes)
    .nullable()
    .describe('What it may be used for, or was used for; null for a free one.'),
  state: z
    .enum(['issued', 'accepted', 'settled'])
    .describe('`issued`: made by the server and not used. `settled`: what it made has ended.'),
  first_seen_at: time.nullable(),
  expires_at: time.nullable().describe('For an unused key: a used one never expires.'),
  replays: count.describe('How often it was answered again, as far as was counted.'),
  resource: z
    .strictObject({
      object: z.enum(['transfer', 'transfer_batch', 'account', 'webhook_endpoint']),
      id: z.string(),
    })
    .nullable()
    .describe('What it made; null for an unused key.'),
})

const Event = z.strictObject({
  id: id('event').describe('The same in the feed and in every delivery: deduplicate on it.'),
  type: z.enum(eventTypes),
  timestamp: time.describe('When it happened.'),
  sequence: z
    .int()
    .min(1)
    .describe('Counts the events of the object in `data`: the higher one is the later one.'),
  data: z
    .looseObject({ id: z.string(), object: z.string() })
    .describe(
      'The object as it was then: a transfer, an account, an endpoint, or a batch without its items. Where the event would be above 20 kB, the members in `omitted` are left out.',
    ),
}) satisfies z.ZodType<EventView>

const EventList = z.strictObject({
  object: z.literal('list'),
  data: z.array(Event),
  has_more: z.boolean().describe('Whether there are more now.'),
  next_cursor: id('event')
    .nullable()
    .describe(
      'Send it as `after` to get the next page: the id of the last one, where there are more.',
    ),
})

const endpointMembers = {
  id: id('endpoint'),
  object: z.literal('webhook_endpoint'),
  url: z.string(),
  description: z.string().nullable(),
  event_types: z.array(z.enum(eventTypes)).nullable().describe('Null for every type.'),
  rate_limit: z.int().min(1).describe('Attempts begun within a second, at most.'),
  ed25519: z.boolean().describe('Whether deliveries are signed by ed25519 (`v1a`) besides.'),
  public_key: z.string().nullable().describe('What these signatures are verified with.'),
  status: z.enum(['enabled', 'disabled']),
  disabled_reason: z
    .enum(['requested', 'failing', 'gone'])
    .nullable()
    .describe('`failing`: no attempt succeeded for days. `gone`: it answered 410.'),
  disabled_at: time.nullable(),
  health: z.strictObject({
    state: z
      .enum(['healthy', 'failing', 'resting'])
      .describe(
        '`resting`: it failed often, and is tried again by one attempt at `next_probe_at`.',
      ),
    failures: count.describe('Failed attempts since the last success.'),
    failing_since: time.nullable(),
    next_probe_at: time.nullable(),
    last_success_at: time.nullable(),
    last_failure_at: time.nullable(),
  }),
  created_at: time,
}

const Endpoint = z.strictObject(endpointMembers) satisfies MembersOf<typeof viewEndpoint>

const secret = z
  .string()
  .describe('Verifies signatures, and is shown this once: keep it as you keep a password.')

const EndpointWithSecret = z.strictObject({
  ...endpointMembers,
  secret: secret
    .nullable()
    .describe('Null in the answer to a repetition, once the secret has been rotated.'),
})

const WebhookSecret = z.strictObject({ object: z.literal('webhook_secret'), secret })

const Delivery = z.strictObject({
  id: id('delivery'),
  object: z.literal('webhook_delivery'),
  endpoint: id('endpoint').nullable().describe('Null for the `callback_url` of a request.'),
  url: z.string(),
  event: id('event'),
  event_type: z.string(),
  status: deliveryStatus,
  next_due_at: time.nullable().describe('When it is tried next; null once it has ended.'),
  created_at: time,
  ended_at: time.nullable(),
  attempts: z
    .array(
      z.strictObject({
        attempt: z.int().min(1),
        started_at: time,
        duration_ms: count,
        status_code: z.int().nullable().describe('Null where there was no answer.'),
        error: z.string().nullable().describe('What went wrong; null where nothing did.'),
        answer: z
          .string()
          .nullable()
          .describe('Its beginning, without credentials: 16 kB, or 500 characters in a list.'),
      }),
    )
    .describe('The last 20.'),
}) satisfies MembersOf<typeof viewDelivery>

const Recovery = z.strictObject({
  id: id('recovery'),
  object: z.literal('webhook_recovery'),
  endpoint: id('endpoint'),
  since: time,
  status: z.enum(['running', 'completed', 'canceled']),
  examined: count.describe('Deliveries looked at so far.'),
  recovered: count.describe('Of these, the failed and skipped ones, which were made due again.'),
  created_at: time,
  ended_at: time.nullable(),
}) satisfies MembersOf<typeof viewRecovery>

function listOf<Item extends z.ZodType>(item: Item) {
  return z.strictObject({
    object: z.literal('list'),
    data: z.array(item),
    has_more: z.boolean(),
    next_cursor: z.string().nullable().describe('Send it as `cursor` to get the next page.'),
  })
}

const Problem = z
  .strictObject({
    type: z.url().describe('The address of the page that explains this problem.'),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('What is wrong with this request, for a person.'),
    code: z.enum(Object.keys(problems) as (keyof typeof problems)[]).describe('Stable.'),
    param: z.string().optional().describe('The member at fault: a JSON pointer (RFC 6901).'),
    request_id: id('request').describe('The id of this request, also in `request-id`.'),
    retryable: z
      .boolean()
      .describe('Whether the same request, with the same key, may succeed when sent again.'),
    transfer: id('transfer').optional().describe('What a reused key made.'),
    batch: id('batch').optional().describe('What a reused key made.'),
    account: id('account').optional().describe('What a reused key made.'),
    endpoint: id('endpoint').optional().describe('What a reused key made.'),
    differing_members: z
      .array(z.string())
      .optional()
      .describe('Where a reused key’s requests differ: names, never values.'),
  })
  .describe('An error, by RFC 9457.')

const Health = z.strictObject({ status: z.literal('ok') })

const state = z.enum(['up', 'down'])
const Readiness = z.strictObject({
  status: z.enum(['ready', 'stopping', 'not_ready']),
  database: state,
  queue: state.describe('An absent queue does not make the API unready.'),
  queue_backend: z.enum(['redis', 'postgres']),
})

/** Their names are the names of components in /openapi.json. */
export const answers = {
  AcceptedBatch,
  Account,
  AccountList: listOf(Account),
  Balance,
  Batch,
  Delivery,
  DeliveryList: listOf(Delivery),
  DryRun,
  Endpoint,
  EndpointList: listOf(Endpoint),
  EndpointWithSecret,
  Entry,
  EntryList: listOf(Entry),
  Event,
  EventList,
  Health,
  IdempotencyKey,
  Leg,
  Problem,
  Readiness,
  Recovery,
  Refusal,
  Timeline,
  Transfer,
  TransferList: listOf(Transfer),
  TrialBalance,
  WebhookSecret,
} as const

export type AnswerName = keyof typeof answers
