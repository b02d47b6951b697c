import { z } from 'zod'
import { keyPurposes } from '@payonce/core/idempotency/issued-key'
import { refusalMessages } from '@payonce/core/refusals'
import { idPattern, MAX_METADATA_PAIRS } from '../schemas.ts'
import { problems } from '../problem.ts'
import type { IdKind } from '@payonce/core/ids'
import type { TransferStatus } from '@payonce/core/transfers/transfer'
import type { viewAccount, viewEntry, viewTransfer, viewTrialBalance } from '../views.ts'

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
  queued: 'accepted durably, and about to be settled',
  succeeded: 'the money has moved',
  failed: 'the ledger has refused it, as `failure` tells; no money has moved',
  canceled: 'it was canceled before it was settled; no money has moved',
}

const meaningOfStatuses = Object.entries(statuses)
  .map(([status, meaning]) => `\`${status}\`: ${meaning}.`)
  .join(' ')

const Refusal = z.strictObject({
  code: z
    .enum(Object.keys(refusalMessages) as (keyof typeof refusalMessages)[])
    .describe('Stable. What each code means, and what to do, stands on `/docs/refusals`.'),
  message: z.string(),
})

const Transfer = z.strictObject({
  id: id('transfer'),
  object: z.literal('transfer'),
  kind: z.literal('transfer'),
  status: z.enum(Object.keys(statuses) as TransferStatus[]).describe(meaningOfStatuses),
  source: id('account'),
  destination: id('account'),
  amount: amount.describe('In minor units.'),
  currency,
  description: z.string().nullable(),
  metadata,
  idempotency_key: z.string().describe('The key under which it was accepted.'),
  parent: z.null().describe('The transfer that this one follows upon: none yet.'),
  failure: Refusal.nullable().describe('Why the ledger has refused it; null unless `failed`.'),
  created_at: time.describe('When it was accepted.'),
  settled_at: time.nullable().describe('When it was settled; null until then.'),
}) satisfies z.ZodType<Omit<ReturnType<typeof viewTransfer>, 'failure'>>

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
    .strictObject({ object: z.enum(['transfer', 'account']), id: z.string() })
    .nullable()
    .describe('What it made; null for an unused key.'),
})

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
    account: id('account').optional().describe('What a reused key made.'),
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
  Account,
  AccountList: listOf(Account),
  Entry,
  EntryList: listOf(Entry),
  Health,
  IdempotencyKey,
  Problem,
  Readiness,
  Refusal,
  Transfer,
  TransferList: listOf(Transfer),
  TrialBalance,
} as const

export type AnswerName = keyof typeof answers
