import { describe, expect, it } from 'vitest'
import { decodeId } from '@payonce/core/ids'
import { parseStrictJson } from '@payonce/api/json-body'
import { Problem } from '@payonce/api/problem'
import {
  acceptanceQuery,
  accountChange,
  accountQuery,
  captureRequest,
  emptyBody,
  entryQuery,
  keyedQuery,
  newAccount,
  newBatch,
  newTransfer,
  noQuery,
  transferQuery,
} from '@payonce/api/schemas'
import { toBatchItem, toTransferCommand } from '@payonce/api/commands'
import { metadataFilterIn, validateBody, validateQuery } from '@payonce/api/validate'
import { words } from './words.ts'
import type { z } from 'zod'

const alice = 'acc_0190f0e00000700080000000000a11ce'
const merchant = 'acc_0190f0e00000700080000000000a4c4a'
const good = { source: alice, destination: merchant, amount: 1000, currency: 'EUR' }

type Refusal = { code: string; param?: string | undefined }

function refusalOf(check: () => unknown): Refusal | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    expect(error.message).toMatch(/^[A-Z][^]*\.$/)
    return { code: error.code, param: error.param }
  }
}

function refusalOfBody(body: unknown, schema: z.ZodType = newTransfer): Refusal | undefined {
  return refusalOf(() => validateBody(schema, body))
}

/** As the API reads it: from the text on. `members` are JSON, added to a good transfer. */
function refusalOfText(members: string): Refusal | undefined {
  const { amount: _, ...others } = good
  const json = `${JSON.stringify(others).slice(0, -1)},${members}}`
  return refusalOf(() => validateBody(newTransfer, parseStrictJson(json)))
}

function refusalOfQuery(query: Record<string, string[]>, schema: z.ZodType = transferQuery) {
  return refusalOf(() => validateQuery(schema, query))
}

describe('a good transfer', () => {
  it('is taken, with its accounts as stored and its defaults', () => {
    expect(validateBody(newTransfer, good)).toMatchObject({
      source: decodeId('account', alice),
      destination: decodeId('account', merchant),
      amount: 1000,
      currency: 'EUR',
      description: null,
      metadata: {},
    })
  })

  it('may have null for a description, and metadata', () => {
    const body = { ...good, description: null, metadata: { order: '7' } }
    expect(validateBody(newTransfer, body)).toMatchObject({
      description: null,
      metadata: { order: '7' },
    })
  })
})

describe('B1 a body that is no object is refused:', () => {
  it.each([[null], [[]], ['x'], [1], [true], [[good]]])('%j', (body) => {
    expect(refusalOfBody(body)).toEqual({ code: 'invalid_body', param: undefined })
  })
})

describe('B3 no amount is', () => {
  it.each(
    words(`
    0 -1 -0 1.5 1e400 9007199254740992 9007199254740993 "1000" null [] [1000] {}
    true "" -9007199254740991 0.0 1e-1
  `),
  )('%s', (token) => {
    expect(refusalOfText(`"amount":${token}`)).toEqual({ code: 'invalid_amount', param: '/amount' })
  })

  it('a missing one', () => {
    expect(refusalOfText('"description":"x"')).toEqual({ code: 'invalid_amount', param: '/amount' })
  })

  it.each(['1', '9007199254740991', '1e3', '1000.0'])('but %s is one', (token) => {
    expect(refusalOfText(`"amount":${token}`)).toBeUndefined()
  })
})

describe('B10 a member that is unknown or not the client’s is refused:', () => {
  it.each([
    ...words(`
    id status tenant_id created_at settled_at object version Amount sourceId
    idempotency_key parent failure balance toString constructor hasOwnProperty
    valueOf prototype __defineGetter__
  `),
    'amount ',
  ])('%s', (name) => {
    expect(refusalOfBody({ ...good, [name]: 1 })).toEqual({
      code: 'unknown_field',
      param: `/${name}`,
    })
  })

  it('with a pointer that can be followed, whatever its name', () => {
    expect(refusalOfBody({ ...good, 'a/b~c': 1 })?.param).toBe('/a~1b~0c')
    expect(refusalOfBody({ ...good, '': 1 })?.param).toBe('/')
  })

  it('before anything else that is wrong', () => {
    expect(refusalOfBody({ amount: 'x', surprise: 1 })).toEqual({
      code: 'unknown_field',
      param: '/surprise',
    })
  })

  it('in an account and its changes as well', () => {
    const refusal = { code: 'unknown_field', param: '/balance' }
    expect(refusalOfBody({ currency: 'EUR', balance: 1 }, newAccount)).toEqual(refusal)
    expect(refusalOfBody({ balance: 1 }, accountChange)).toEqual(refusal)
    expect(refusalOfBody({ balance: 1 }, emptyBody)).toEqual(refusal)
  })
})

describe('B11 no currency is', () => {
  it.each([['usd'], ['EURO'], [''], ['XXX'], ['XTS'], ['ZZZ'], [' EUR'], [978], [null], [['EUR']]])(
    '%j',
    (currency) => {
      const refusal = { code: 'invalid_currency', param: '/currency' }
      expect(refusalOfBody({ ...good, currency })).toEqual(refusal)
      expect(refusalOfBody({ currency }, newAccount)).toEqual(refusal)
    },
  )

  it('a missing one', () => {
    const { currency: _, ...others } = good
    expect(refusalOfBody(others)).toEqual({ code: 'invalid_currency', param: '/currency' })
  })
})

describe('B18 no id of an account is', () => {
  it.each([
    ['of 300 characters', `acc_${'0'.repeat(296)}`],
    ['with the prefix of a transfer', alice.replace('acc_', 'tr_')],
    ['without a prefix', alice.slice(4)],
    ['%2e%2e', '%2e%2e'],
    ['with a NUL', `${alice}\u0000`],
    ['an emoji', '😀'],
    ['SQL text', "' OR 1=1 --"],
    ['empty', ''],
    ['null', null],
    ['a number', 1],
    ['a list', [alice]],
    ['an object', { id: alice }],
  ])('%s', (_, text) => {
    for (const member of ['source', 'destination']) {
      expect(refusalOfBody({ ...good, [member]: text })).toEqual({
        code: 'invalid_id',
        param: `/${member}`,
      })
    }
  })

  it('a missing one', () => {
    const { source: _, ...others } = good
    expect(refusalOfBody(others)).toEqual({ code: 'invalid_id', param: '/source' })
  })
})

describe('B19 no text may have', () => {
  const forbidden = [
    ['a NUL', '\u0000'],
    ['a bell', '\u0007'],
    ['a vertical tab', '\u000b'],
    ['a form feed', '\u000c'],
    ['an escape', '\u001b[31m'],
    ['a DEL', '\u007f'],
    ['a C1 control', '\u0085'],
    ['the last C1 control', '\u009f'],
    ['half of a character', '\ud800'],
    ['the other half of a character', '\udc00'],
    ['two halves in the wrong order', '\udc00\ud800'],
    ['a mark that reverses text', '\u202e'],
    ['an embedding', '\u202a'],
    ['an isolate', '\u2066'],
    ['the end of an isolate', '\u2069'],
  ] as const

  it.each(forbidden)('%s', (_, text) => {
    const value = `before${text}after`
    const refuse = (body: object, param: string, schema?: z.ZodType) =>
      expect(refusalOfBody(body, schema)).toEqual({ code: 'invalid_text', param })
    refuse({ ...good, description: value }, '/description')
    refuse({ ...good, metadata: { note: value } }, '/metadata/note')
    refuse({ ...good, metadata: { [value]: 'x' } }, `/metadata/${value}`)
    refuse({ currency: 'EUR', name: value }, '/name', newAccount)
    refuse({ currency: 'EUR', reference: value }, '/reference', newAccount)
    refuse({ metadata: { [value]: null } }, `/metadata/${value}`, accountChange)
  })

  it('but it may have tabs, line feeds, carriage returns and whatever people write', () => {
    const texts = ['a\tb\nc\r\nd', 'Grüße, 你好, مرحبا, שלום', '👩‍👩‍👧‍👦 🇪🇺', '\u200e\u200f\u00a0', '']
    for (const description of texts) expect(refusalOfBody({ ...good, description })).toBeUndefined()
  })

  it('and markup, formats and commands are only text', () => {
    const description = '<script>alert(1)</script> ${jndi:ldap://x} %n%s $(reboot) {{7*7}}'
    expect(validateBody(newTransfer, { ...good, description }).description).toBe(description)
  })
})

describe('B20 a description', () => {
  it.each([
    ['500 letters', 'x'.repeat(500)],
    ['500 characters of 4 bytes', '😀'.repeat(500)],
    ['500 characters of 3 bytes', '你'.repeat(500)],
  ])('may have %s', (_, description) => {
    expect(refusalOfBody({ ...good, description })).toBeUndefined()
  })

  it.each([
    ['501 letters', 'x'.repeat(501)],
    ['501 characters of 4 bytes', '😀'.repeat(501)],
    ['500 characters and a mark on one', `${'x'.repeat(500)}\u0301`],
  ])('may not have %s', (_, description) => {
    expect(refusalOfBody({ ...good, description })).toEqual({
      code: 'invalid_field',
      param: '/description',
    })
  })
})

describe('B4 metadata', () => {
  const pairs = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`key-${index}`, 'value']))

  it.each<[string, Record<string, string>]>([
    ['50 pairs', pairs(50)],
    ['a name of 40 characters', { ['k'.repeat(40)]: 'x' }],
    ['a value of 500 characters', { k: '😀'.repeat(500) }],
    ['an empty value', { k: '' }],
    ['names of JavaScript', { constructor: 'x', toString: 'y', length: 'z' }],
    ['names that look like indexes', { 1: 'one', 0: 'zero' }],
  ])('may have %s', (_, metadata) => {
    expect(validateBody(newTransfer, { ...good, metadata }).metadata).toEqual(metadata)
  })

  it.each<[string, unknown, string]>([
    ['51 pairs', pairs(51), '/metadata'],
    ['a name of 41 characters', { ['k'.repeat(41)]: 'x' }, `/metadata/${'k'.repeat(41)}`],
    ['an empty name', { '': 'x' }, '/metadata/'],
    ['a value of 501 characters', { k: 'x'.repeat(501) }, '/metadata/k'],
    ['a number', { k: 1 }, '/metadata/k'],
    ['a number under the name of an amount', { amount: 5 }, '/metadata/amount'],
    ['a number under the name of an account', { source: 5 }, '/metadata/source'],
    ['a number under the name of a currency', { currency: 5 }, '/metadata/currency'],
    ['null for a value', { k: null }, '/metadata/k'],
    ['an object for a value', { constructor: { prototype: {} } }, '/metadata/constructor'],
    ['a list for a value', { k: ['x'] }, '/metadata/k'],
  ])('may not have %s', (_, metadata, param) => {
    expect(refusalOfBody({ ...good, metadata })).toEqual({ code: 'invalid_field', param })
  })

  it.each([['text'], [[]], [1], [null], [true]])('may not be %j', (metadata) => {
    expect(refusalOfBody({ ...good, metadata })).toEqual({
      code: 'invalid_field',
      param: '/metadata',
    })
  })
})

describe('the members of commands', () => {
  const time = '2026-01-31T12:00:00Z'

  it('are taken', () => {
    const command = toTransferCommand({
      ...good,
      hold: true,
      execute_at: time,
      expires_at: '2026-01-31T14:00:00.5+01:00',
      on_insufficient_funds: { retry_until: time },
      if: { source_balance_at_least: -5, source_version: 0 },
    })
    expect(command).toMatchObject({
      kind: 'hold',
      amount: 1000n,
      executeAt: new Date(time),
      expiresAt: new Date('2026-01-31T13:00:00.500Z'),
      retryFundsUntil: new Date(time),
      condition: { sourceBalanceAtLeast: -5n, sourceVersion: 0n },
    })
  })

  it.each<[string, object, Refusal]>([
    ['a hold that is no boolean', { hold: 1 }, { code: 'invalid_field', param: '/hold' }],
    ['no time', { execute_at: 'soon' }, { code: 'invalid_field', param: '/execute_at' }],
    [
      'a time without an offset',
      { expires_at: '2026-01-31T12:00:00' },
      { code: 'invalid_field', param: '/expires_at' },
    ],
    ['null for a time', { expires_at: null }, { code: 'invalid_field', param: '/expires_at' }],
    ['a condition that is none', { if: true }, { code: 'invalid_field', param: '/if' }],
    [
      'an unknown condition',
      { if: { source_held: 1 } },
      { code: 'unknown_field', param: '/if/source_held' },
    ],
    [
      'a version below 0',
      { if: { source_version: -1 } },
      { code: 'invalid_field', param: '/if/source_version' },
    ],
  ])('%s is refused', (_, members, refusal) => {
    expect(refusalOfBody({ ...good, ...members })).toEqual(refusal)
  })

  it('a capture takes an amount, and whether it is the last', () => {
    expect(validateBody(captureRequest, {})).toEqual({ final: false })
    expect(validateBody(captureRequest, { amount: 1, final: true })).toEqual({
      amount: 1,
      final: true,
    })
    expect(refusalOfBody({ amount: 0 }, captureRequest)).toEqual({
      code: 'invalid_amount',
      param: '/amount',
    })
    expect(refusalOfBody({ currency: 'EUR' }, captureRequest)?.code).toBe('unknown_field')
  })
})

describe('a transfer of several legs', () => {
  const refusal = (body: object) => refusalOf(() => toTransferCommand(body))

  it('has 2 to 100 of them, in their order, and no single members', () => {
    const command = toTransferCommand({ legs: [good, { ...good, amount: 7 }] })
    expect(command).toMatchObject({ kind: 'transfer', source: null, amount: null, currency: null })
    expect(command.legs?.map(({ amount }) => amount)).toEqual([1000n, 7n])
  })

  it.each<[string, object, Refusal]>([
    ['no legs', { legs: [] }, { code: 'invalid_field', param: '/legs' }],
    ['null for legs', { legs: null }, { code: 'invalid_field', param: '/legs' }],
    ['one leg', { legs: [good] }, { code: 'invalid_field', param: '/legs' }],
    [
      '101 legs',
      { legs: Array.from({ length: 101 }, () => good) },
      { code: 'invalid_field', param: '/legs' },
    ],
    [
      'a leg without an amount',
      { legs: [good, { ...good, amount: undefined }] },
      { code: 'invalid_amount', param: '/legs/1/amount' },
    ],
    ['an amount beside legs', { legs: [good, good], amount: 1 }, unknown('/amount')],
    ['a hold', { legs: [good, good], hold: true }, unknown('/hold')],
    ['a condition', { legs: [good, good], if: {} }, unknown('/if')],
    [
      'a text in a leg',
      { legs: [good, { ...good, description: 'x' }] },
      unknown('/legs/1/description'),
    ],
  ])('with %s is refused', (_, body, expected) => {
    expect(refusal(body)).toEqual(expected)
  })

  function unknown(param: string): Refusal {
    return { code: 'unknown_field', param }
  }
})

describe('a batch', () => {
  it('has 1 to 10,000 transfers', () => {
    const transfers = (length: number) => ({ transfers: Array.from({ length }, () => good) })
    expect(validateBody(newBatch, transfers(10_000)).atomic).toBe(false)
    const refusal = { code: 'invalid_field', param: '/transfers' }
    expect(refusalOfBody(transfers(0), newBatch)).toEqual(refusal)
    expect(refusalOfBody(transfers(10_001), newBatch)).toEqual(refusal)
    expect(refusalOfBody({}, newBatch)).toEqual(refusal)
  })

  it('gives its times to its transfers, but not the end of their holds', () => {
    const [executeAt, expiresAt] = [new Date(1), new Date(2)]
    const times = { executeAt, expiresAt, atomicBatchId: 'batch' }
    const own = '2026-01-31T12:00:00.000Z'
    expect(toBatchItem(good, times).command).toMatchObject(times)
    expect(toBatchItem({ ...good, expires_at: own }, times).command).toMatchObject({
      executeAt,
      expiresAt: new Date(own),
    })
    const item = { ...good, execute_at: own }
    expect(refusalOf(() => toBatchItem(item, times))?.code).toBe('unknown_field')
    expect(toBatchItem({ ...good, idempotency_key: 'K' }, times).key).toBe('K')
  })
})

describe('an account', () => {
  it('is internal, without a limit or a name, unless something else is said', () => {
    expect(validateBody(newAccount, { currency: 'EUR' })).toEqual({
      currency: 'EUR',
      kind: 'internal',
      name: null,
      reference: null,
      overdraft_limit: 0,
      metadata: {},
    })
  })

  it.each<[string, object, Refusal]>([
    ['an unknown kind', { kind: 'bank' }, { code: 'invalid_field', param: '/kind' }],
    [
      'a negative limit',
      { overdraft_limit: -1 },
      { code: 'invalid_amount', param: '/overdraft_limit' },
    ],
    [
      'a limit in a text',
      { overdraft_limit: '1' },
      { code: 'invalid_amount', param: '/overdraft_limit' },
    ],
    [
      'a limit beyond the largest amount',
      { overdraft_limit: 2 ** 53 },
      { code: 'invalid_amount', param: '/overdraft_limit' },
    ],
    [
      'a name of 201 characters',
      { name: 'x'.repeat(201) },
      { code: 'invalid_field', param: '/name' },
    ],
    ['an empty reference', { reference: '' }, { code: 'invalid_field', param: '/reference' }],
    ['a name that is none', { name: 1 }, { code: 'invalid_field', param: '/name' }],
  ])('with %s is refused', (_, members, refusal) => {
    expect(refusalOfBody({ currency: 'EUR', ...members }, newAccount)).toEqual(refusal)
  })

  it('may be changed in some members, and loses pairs that are null', () => {
    const change = { status: 'frozen', name: null, metadata: { old: null, new: 'x' } }
    expect(validateBody(accountChange, change)).toEqual(change)
    expect(validateBody(accountChange, {})).toEqual({})
    expect(validateBody(accountChange, { metadata: null })).toEqual({ metadata: null })
  })

  it('may not be changed to an unknown status, or to another kind or currency', () => {
    expect(refusalOfBody({ status: 'deleted' }, accountChange)).toEqual({
      code: 'invalid_field',
      param: '/status',
    })
    for (const member of ['kind', 'currency', 'reference', 'version']) {
      expect(refusalOfBody({ [member]: 'x' }, accountChange)?.code).toBe('unknown_field')
    }
  })
})

describe('B26 a query', () => {
  const refusal = { code: 'invalid_parameter', param: undefined }

  it('has a limit of 10 where none is given, and takes 1 to 100', () => {
    expect(validateQuery(transferQuery, {}).limit).toBe(10)
    expect(validateQuery(transferQuery, { limit: ['1'] }).limit).toBe(1)
    expect(validateQuery(transferQuery, { limit: ['100'] }).limit).toBe(100)
  })

  it.each(['0', '101', '-1', 'abc', '', '1.5', '1e1', ' 5', '0x5', '1000', '٣', '5\n'])(
    'with a limit of %j is refused',
    (limit) => {
      expect(refusalOfQuery({ limit: [limit] })).toEqual(refusal)
    },
  )

  it.each<[string, Record<string, string[]>, z.ZodType]>([
    ['an unknown parameter', { staus: ['failed'] }, transferQuery],
    ['a parameter where none is served', { limit: ['1'] }, noQuery],
    ['a parameter twice', { limit: ['1', '1'] }, transferQuery],
    ['an unknown parameter twice', { x: ['1', '2'] }, noQuery],
    ['a name of JavaScript', { constructor: ['1'] }, noQuery],
    ['an unknown status', { status: ['done'] }, transferQuery],
    ['an unknown kind', { kind: ['payment'] }, transferQuery],
    ['an id of another kind', { account: [alice.replace('acc', 'tr')] }, transferQuery],
    ['no time', { created_after: ['yesterday'] }, transferQuery],
    ['a time without an offset', { created_after: ['2026-01-31T12:00:00'] }, transferQuery],
    ['a day that is none', { created_before: ['2026-02-30T12:00:00Z'] }, transferQuery],
    ['a cursor beyond any of ours', { cursor: ['x'.repeat(2_049)] }, transferQuery],
    ['an empty reference', { reference: [''] }, accountQuery],
    ['a reference with a NUL', { reference: ['a\u0000'] }, accountQuery],
  ])('with %s is refused', (_, query, schema) => {
    expect(refusalOfQuery(query, schema)).toEqual(refusal)
  })

  it('is read: times with their offset, ids as stored', () => {
    const query = validateQuery(transferQuery, {
      account: [alice],
      status: ['failed'],
      created_after: ['2026-01-31T12:00:00.123456+02:00'],
    })
    expect(query).toMatchObject({
      account: decodeId('account', alice),
      status: 'failed',
      created_after: new Date('2026-01-31T10:00:00.123Z'),
    })
  })

  it('may carry the key of a POST', () => {
    expect(validateQuery(keyedQuery, { idempotency_key: ['K'] })).toEqual({ idempotency_key: 'K' })
    expect(refusalOfQuery({ idempotency_key: ['K', 'K'] }, keyedQuery)).toEqual(refusal)
  })

  it('may ask what would happen', () => {
    expect(validateQuery(acceptanceQuery, { dry_run: ['true'] })).toEqual({ dry_run: 'true' })
    expect(refusalOfQuery({ dry_run: ['1'] }, acceptanceQuery)).toEqual(refusal)
    expect(refusalOfQuery({ dry_run: ['true'] }, keyedQuery)).toEqual(refusal)
  })

  it('may ask for a statement in JSON or CSV', () => {
    expect(validateQuery(entryQuery, {}).format).toBe('json')
    expect(validateQuery(entryQuery, { format: ['csv'] }).format).toBe('csv')
    expect(refusalOfQuery({ format: ['pdf'] }, entryQuery)).toEqual(refusal)
  })

  it('may have pairs of metadata, each once', () => {
    const query = { 'metadata[order]': ['7'], 'metadata[a]b]': [''], limit: ['1'] }
    expect(metadataFilterIn(query)).toEqual({
      metadata: { order: '7', 'a]b': '' },
      others: { limit: ['1'] },
    })
    expect(metadataFilterIn({ limit: ['1'] }).metadata).toBeUndefined()
    for (const bad of [
      { 'metadata[a]': ['1', '2'] },
      { 'metadata[]': ['1'] },
      { [`metadata[${'x'.repeat(41)}]`]: ['1'] },
      { metadata: ['1'] },
    ]) {
      const { metadata, others } = metadataFilterIn(bad)
      expect(metadata).toBeUndefined()
      expect(refusalOfQuery(others)).toEqual(refusal)
    }
  })

  it('is refused in few words, whatever it said', () => {
    try {
      validateQuery(noQuery, { ['x'.repeat(5_000)]: ['1'] })
      expect.unreachable()
    } catch (error) {
      expect((error as Problem).message.length).toBeLessThan(200)
    }
  })
})
