import { DrizzleQueryError } from 'drizzle-orm'
import { DatabaseError } from 'pg'
import { describe, expect, it } from 'vitest'
import { createLog, type Log } from '@payonce/core/log'

const canary = 'canary-4f1c'

/** What one use of the log has written. */
function written(use: (log: Log) => void): string {
  let text = ''
  const destination = { write: (line: string) => (text += line) }
  use(createLog({ name: 'test', level: 'trace', destination }))
  return text
}

function lineOf(use: (log: Log) => void): Record<string, unknown> {
  return JSON.parse(written(use)) as Record<string, unknown>
}

describe('B22 a secret is cut out', () => {
  const members = ['authorization', 'apiKey', 'secret', 'password', 'databaseUrl', 'redisUrl']

  it.each(members)('as %s, at the top and one and two levels deep', (member) => {
    for (const record of [
      { [member]: canary },
      { request: { [member]: canary } },
      { request: { headers: { [member]: canary } } },
      { list: [{ [member]: canary }] },
    ]) {
      const line = written((log) => log.info(record, 'said'))
      expect(line).not.toContain(canary)
      expect(line).toContain('[redacted]')
    }
  })

  it('from the lines of a child as well', () => {
    const line = written((log) =>
      log.child({ requestId: 'req_1' }).warn({ apiKey: canary }, 'said'),
    )
    expect(line).not.toContain(canary)
    expect(line).toContain('req_1')
  })

  it('and what stands beside it is kept', () => {
    const line = lineOf((log) =>
      log.info({ headers: { authorization: canary, host: 'pay' } }, 'said'),
    )
    expect(line['headers']).toEqual({ authorization: '[redacted]', host: 'pay' })
  })
})

describe('an error is logged', () => {
  it('with its type, message, code, constraint and stack, and nothing that a library hung on it', () => {
    const error = Object.assign(new DatabaseError('duplicate key value', 7, 'error'), {
      code: '23505',
      constraint: 'transfers_primary',
      detail: `Key (idempotency_key)=(${canary}) already exists.`,
      where: canary,
      internalQuery: canary,
      parameters: [canary],
    })
    const line = lineOf((log) => log.error({ error }, 'failed'))
    expect(JSON.stringify(line)).not.toContain(canary)
    expect(line['error']).toEqual({
      type: 'DatabaseError',
      message: 'duplicate key value',
      code: '23505',
      constraint: 'transfers_primary',
      stack: expect.stringContaining('duplicate key value') as unknown,
    })
  })

  it('with the messages of its causes', () => {
    const error = new Error('the answer to COMMIT was lost', {
      cause: new Error('read ECONNRESET'),
    })
    const line = lineOf((log) => log.error({ error }, 'failed'))
    expect(line['error']).toMatchObject({
      message: 'the answer to COMMIT was lost: read ECONNRESET',
    })
  })

  it('also where its cause leads back to itself', () => {
    const error = new Error('round and round')
    error.cause = error
    expect(written((log) => log.error({ error }, 'failed'))).toContain('round and round')
  })

  it('also where it is no error at all', () => {
    const line = lineOf((log) => log.error({ error: 'thrown text' }, 'failed'))
    expect(line['error']).toEqual({ type: 'string', message: 'thrown text' })
  })

  it('also where it is logged by itself', () => {
    const line = lineOf((log) => log.error(new TypeError('x is undefined')))
    expect(line).toMatchObject({ error: { type: 'TypeError', message: 'x is undefined' } })
  })

  it('also where it is logged by itself with a message', () => {
    const line = lineOf((log) => log.error(new TypeError('x is undefined'), 'failed'))
    expect(line).toMatchObject({ msg: 'failed', error: { message: 'x is undefined' } })
  })
})

describe("B22 a statement's parameters", () => {
  const ofDrizzle = () =>
    new DrizzleQueryError('SELECT $1', [canary], new Error('relation "x" does not exist'))

  it.each<[string, (log: Log) => void]>([
    ['an error of drizzle', (log) => log.error({ error: ofDrizzle() }, 'failed')],
    ['one named err', (log) => log.error({ err: ofDrizzle() }, 'failed')],
    ['one logged by itself', (log) => log.error(ofDrizzle())],
    ['one logged by itself with a message', (log) => log.error(ofDrizzle(), 'failed')],
    [
      'one that is a cause',
      (log) => log.error({ error: new Error('a', { cause: ofDrizzle() }) }, 'b'),
    ],
    [
      'one that is a cause of a cause',
      (log) =>
        log.error(
          { error: new Error('a', { cause: new Error('b', { cause: ofDrizzle() }) }) },
          'c',
        ),
    ],
    [
      'one among several',
      (log) => log.error({ error: new AggregateError([ofDrizzle()], 'all') }, 'b'),
    ],
    ['one of a child', (log) => log.child({ requestId: 'req_1' }).error(ofDrizzle())],
  ])('never stand in a line about %s', (_, use) => {
    const line = written(use)
    expect(line).not.toContain(canary)
    expect(line).not.toBe('')
  })

  it('and what Postgres said about the statement is told', () => {
    const line = lineOf((log) => log.error({ error: ofDrizzle() }, 'failed'))
    expect(line['error']).toEqual({
      type: 'DrizzleQueryError',
      message: 'relation "x" does not exist',
    })
  })

  it('and without a cause it is told that a statement failed', () => {
    const error = new DrizzleQueryError('SELECT $1', [canary])
    const line = lineOf((log) => log.error({ error }, 'failed'))
    expect(line['error']).toEqual({ type: 'DrizzleQueryError', message: 'a statement failed' })
  })
})

describe('a record is one line of JSON', () => {
  it.each([
    ['CR LF', 'a\r\nb'],
    ['line separators of Unicode', 'a\u2028b\u2029c'],
    ['NUL and escape', 'a\u0000b\u001b[31m'],
    ['a record of its own', '"}\n{"level":"fatal","msg":"forged"}'],
    ['a format', '%s %d %j ${jndi:ldap://x}'],
  ])('B21 whatever the text: %s', (_, text) => {
    for (const use of [
      (log: Log) => log.info({ text }, 'said'),
      (log: Log) => log.info({ [text]: 1 }, 'said'),
      (log: Log) => log.info(text),
      (log: Log) => log.error({ error: new Error(text) }, 'failed'),
    ]) {
      const lines = written(use).split('\n')
      expect(lines).toHaveLength(2)
      expect(lines[1]).toBe('')
      expect(JSON.parse(lines[0] ?? '')).not.toMatchObject({ msg: 'forged' })
    }
  })

  it('with its level by name and its time as RFC 3339', () => {
    const line = lineOf((log) => log.warn('careful'))
    expect(line).toMatchObject({ level: 'warn', name: 'test', msg: 'careful' })
    expect(line['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })

  it('and none at all below the level', () => {
    let text = ''
    const destination = { write: (line: string) => (text += line) }
    createLog({ name: 'test', level: 'warn', destination }).info('not heard')
    expect(text).toBe('')
  })

  it('with amounts, which are bigint', () => {
    expect(written((log) => log.info({ amount: 9_007_199_254_740_991n }, 'said'))).toContain(
      '9007199254740991',
    )
  })
})
