import { z } from 'zod'
import { decodeId, encodeId, idPrefixes, type IdKind } from '@payonce/core/ids'
import { keyPurposes } from '@payonce/core/idempotency/issued-key'
import { eventTypes } from '@payonce/core/events/event'
import { isCurrency } from '@payonce/core/money'
import { MAX_BATCH_ITEMS } from '@payonce/core/transfers/batch'
import { DEFAULT_RATE_LIMIT } from '@payonce/core/webhooks/endpoint'
import { MAX_URL_LENGTH } from '@payonce/core/webhooks/url'

/*
 * The requests as they are validated. Members that are not listed are refused. What is checked here
 * is shape alone; what needs the database is checked later, in the order of docs/ARCHITECTURE.md.
 * `.meta()` tells /openapi.json what a check written in code means in words of JSON Schema.
 */

/**
 * Controls (but tab, line feed and carriage return), marks that reverse the direction of text, and
 * halves of characters: they disguise text, break logs, or cannot be stored.
 */
const forbiddenText =
  // oxlint-disable-next-line no-control-regex -- finding control characters is the point
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/u

/** A text of at most `max` characters (code points, as a person counts them). */
export function text(max: number, min = 0) {
  return z
    .string({ error: 'Expected a text' })
    .refine((value) => codePoints(value) <= max, { error: `At most ${max} characters are allowed` })
    .refine((value) => value.length >= min, { error: 'The text must not be empty' })
    .refine((value) => !forbiddenText.test(value), {
      error: 'Control characters, bidirectional overrides and lone surrogates are not allowed',
      params: { code: 'invalid_text' },
    })
    .meta({ ...(min > 0 ? { minLength: min } : {}), maxLength: max })
}

function codePoints(value: string): number {
  let count = 0
  for (const _ of value) count += 1
  return count
}

const wrongAmount = 'Send a whole number of minor units, from 1 to 9007199254740991'
const wrongLimit = 'Send a whole number of minor units, from 0 to 9007199254740991'

const amount = z
  .int({ error: wrongAmount })
  .min(1, wrongAmount)
  .max(Number.MAX_SAFE_INTEGER, wrongAmount)

const overdraftLimit = z
  .int({ error: wrongLimit })
  .min(0, wrongLimit)
  .max(Number.MAX_SAFE_INTEGER, wrongLimit)

const currency = z
  .string({ error: 'Send an ISO 4217 code such as EUR' })
  .refine(isCurrency, { error: 'Send an ISO 4217 code such as EUR' })
  .meta({ pattern: '^[A-Z]{3}$', examples: ['EUR'] })

export const MAX_METADATA_PAIRS = 50
const metadataKey = text(40, 1)
const metadataValue = text(500)

function hasFewPairs(pairs: object): boolean {
  return Object.keys(pairs).length <= MAX_METADATA_PAIRS
}

const tooManyPairs = { error: `At most ${MAX_METADATA_PAIRS} pairs are allowed` }

const metadata = z
  .record(metadataKey, metadataValue, { error: 'Send an object of texts' })
  .refine(hasFewPairs, tooManyPairs)
  .meta({ maxProperties: MAX_METADATA_PAIRS })

const metadataChange = z
  .record(metadataKey, metadataValue.nullable(), { error: 'Send an object of texts, or null' })
  .refine(hasFewPairs, tooManyPairs)
  .meta({ maxProperties: MAX_METADATA_PAIRS })

/** An id of this kind, turned into the uuid that is stored. */
export function id(kind: IdKind) {
  const example = encodeId(kind, '0190f0e0-0000-7000-8000-000000000000')
  return z
    .string({ error: `Send an id such as ${example}` })
    .transform((value, context) => {
      const uuid = decodeId(kind, value)
      if (uuid !== undefined) return uuid
      context.addIssue({
        code: 'custom',
        message: `Send an id such as ${example}`,
        params: { code: 'invalid_id' },
      })
      return z.NEVER
    })
    .meta({ pattern: idPattern(kind) })
}

/** The form of an id on the wire, as a regular expression: a uuid of version 7 behind its prefix. */
export function idPattern(kind: IdKind): string {
  return `^${idPrefixes[kind]}_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$`
}

const wrongTime = 'Send a time such as 2026-01-31T12:00:00Z'

/** A time with its offset (RFC 3339), cut to milliseconds. */
function time(error: string) {
  return z.iso
    .datetime({ offset: true, error })
    .meta({ examples: ['2026-01-31T12:00:00Z'] })
    .transform((value) => new Date(value))
}

export const newAccount = z.strictObject({
  currency,
  kind: z
    .enum(['internal', 'external'], { error: 'Send internal or external' })
    .default('internal'),
  name: text(200).nullable().default(null),
  reference: text(200, 1).nullable().default(null),
  overdraft_limit: overdraftLimit.default(0),
  metadata: metadata.default({}),
})

export const accountChange = z.strictObject({
  status: z.enum(['open', 'frozen', 'closed'], { error: 'Send open, frozen or closed' }).optional(),
  name: text(200).nullable().optional(),
  overdraft_limit: overdraftLimit.optional(),
  metadata: metadataChange.nullable().optional(),
})

const fundsPolicy = z.strictObject({ retry_until: time(wrongTime) })

const condition = z.strictObject({
  source_balance_at_least: z.int({ error: wrongLimit }).optional(),
  source_version: z.int({ error: 'Send a version as the account tells it' }).min(0).optional(),
})

const leg = z.strictObject({
  source: id('account'),
  destination: id('account'),
  amount,
  currency,
})

/** The fewest and most legs of one transfer: one is a plain transfer. */
const legCount = { least: 2, most: 100 }
const wrongLegs = `Send ${legCount.least} to ${legCount.most} legs`

/** Whether it may be used is judged later: that depends on where this server runs. */
const webhookUrl = text(MAX_URL_LENGTH, 1)

const transferMembers = {
  callback_url: webhookUrl.nullable().default(null),
  description: text(500).nullable().default(null),
  metadata: metadata.default({}),
  expires_at: time(wrongTime).optional(),
  on_insufficient_funds: fundsPolicy.optional(),
}

const singleMembers = { ...leg.shape, ...transferMembers, if: condition.optional() }
const multiLegMembers = {
  legs: z
    .array(leg, { error: wrongLegs })
    .min(legCount.least, wrongLegs)
    .max(legCount.most, wrongLegs),
  ...transferMembers,
}
const scheduled = { execute_at: time(wrongTime).optional() }
const held = { hold: z.boolean({ error: 'Send true or false' }).default(false) }

export const newTransfer = z.strictObject({ ...singleMembers, ...held, ...scheduled })
export const newMultiLegTransfer = z.strictObject({ ...multiLegMembers, ...scheduled })

/** The times of an item are its batch's, but for the end of a hold. */
export const newBatchItem = z.strictObject({ ...singleMembers, ...held, ...itemKey() })
export const newMultiLegBatchItem = z.strictObject({ ...multiLegMembers, ...itemKey() })

function itemKey() {
  return { idempotency_key: z.string({ error: 'Send a key' }).optional() }
}

const wrongBatch = `Send 1 to ${MAX_BATCH_ITEMS} transfers`

/** The items are validated one by one, so that a fault is told with its place. */
export const newBatch = z.strictObject({
  transfers: z
    .array(z.unknown(), { error: wrongBatch })
    .min(1, wrongBatch)
    .max(MAX_BATCH_ITEMS, wrongBatch),
  atomic: z.boolean({ error: 'Send true or false' }).default(false),
  callback_url: webhookUrl.nullable().default(null),
  expires_at: time(wrongTime).optional(),
  ...scheduled,
})

export const captureRequest = z.strictObject({
  amount: amount.optional(),
  final: z.boolean({ error: 'Send true or false' }).default(false),
})
export const releaseRequest = z.strictObject({})
export const refundRequest = z.strictObject({ amount: amount.optional() })

export const keyPurpose = z.strictObject({
  purpose: z
    .enum(keyPurposes, { error: `Send one of: ${keyPurposes.join(', ')}` })
    .nullable()
    .default(null),
})

export const emptyBody = z.strictObject({})

const wrongTypes = `Send types of events: ${eventTypes.join(', ')}`
const wrongRate = 'Send a whole number from 1 to 10000'

const endpointMembers = {
  url: webhookUrl,
  description: text(500).nullable(),
  event_types: z
    .array(z.enum(eventTypes, { error: wrongTypes }), { error: wrongTypes })
    .min(1, wrongTypes)
    .max(eventTypes.length, wrongTypes)
    .nullable(),
  rate_limit: z.int({ error: wrongRate }).min(1, wrongRate).max(10_000, wrongRate),
  ed25519: z.boolean({ error: 'Send true or false' }),
}

export const newEndpoint = z.strictObject({
  url: endpointMembers.url,
  description: endpointMembers.description.default(null),
  event_types: endpointMembers.event_types.default(null),
  rate_limit: endpointMembers.rate_limit.default(DEFAULT_RATE_LIMIT),
  ed25519: endpointMembers.ed25519.default(false),
})

export const endpointChange = z.strictObject({
  url: endpointMembers.url.optional(),
  description: endpointMembers.description.optional(),
  event_types: endpointMembers.event_types.optional(),
  rate_limit: endpointMembers.rate_limit.optional(),
  ed25519: endpointMembers.ed25519.optional(),
  status: z.enum(['enabled', 'disabled'], { error: 'Send enabled or disabled' }).optional(),
})

const wrongOverlap = 'Send a whole number of seconds, from 0 to 604800'

export const secretRotation = z.strictObject({
  overlap_seconds: z
    .int({ error: wrongOverlap })
    .min(0, wrongOverlap)
    .max(7 * 24 * 3_600, wrongOverlap)
    .default(24 * 3_600),
})

export const newRecovery = z.strictObject({ since: time(wrongTime) })

const limit = z
  .string()
  .regex(/^\d{1,3}$/, 'expected a number from 1 to 100')
  .transform(Number)
  .refine((value) => value >= 1 && value <= 100, { error: 'expected a number from 1 to 100' })
  .default(10)
  .meta({ type: 'integer', minimum: 1, maximum: 100 })

/** 2 KB: far above any cursor of ours. */
const cursor = z.string().max(2_048).optional()

export const page = { limit, cursor }

export const accountQuery = z.strictObject({ ...page, reference: text(200, 1).optional() })
export const entryQuery = z.strictObject({
  ...page,
  created_after: time(wrongTime).optional(),
  created_before: time(wrongTime).optional(),
  format: z.enum(['json', 'csv'], { error: 'expected json or csv' }).default('json'),
})
export const keyQuery = z.strictObject({ key: z.string() })
export const noQuery = z.strictObject({})
export const keyedQuery = z.strictObject({ idempotency_key: z.string().optional() })
export const acceptanceQuery = z.strictObject({
  idempotency_key: z.string().optional(),
  dry_run: z.enum(['true', 'false'], { error: 'expected true or false' }).optional(),
})
export const balanceQuery = z.strictObject({ at: time(wrongTime).optional() })

export const transferQuery = z.strictObject({
  ...page,
  idempotency_key: z.string().optional(),
  account: id('account').optional(),
  status: z
    .enum(
      ['scheduled', 'queued', 'succeeded', 'failed', 'canceled', 'expired', 'held', 'released'],
      { error: 'expected a status such as queued or succeeded' },
    )
    .optional(),
  kind: z
    .enum(['transfer', 'hold', 'capture', 'release', 'refund'], {
      error: 'expected transfer, hold, capture, release or refund',
    })
    .optional(),
  created_after: time(wrongTime).optional(),
  created_before: time(wrongTime).optional(),
})

export const eventQuery = z.strictObject({
  limit,
  after: id('event').optional(),
  type: z.enum(eventTypes, { error: 'expected a type such as transfer.succeeded' }).optional(),
})

export const pageQuery = z.strictObject(page)

export const deliveryQuery = z.strictObject({
  ...page,
  status: z
    .enum(['pending', 'succeeded', 'failed', 'skipped'], {
      error: 'expected pending, succeeded, failed or skipped',
    })
    .optional(),
  endpoint: id('endpoint').optional(),
  event: id('event').optional(),
  created_after: time(wrongTime).optional(),
  created_before: time(wrongTime).optional(),
})
