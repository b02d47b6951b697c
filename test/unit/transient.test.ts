import { DrizzleQueryError } from 'drizzle-orm'
import { DatabaseError } from 'pg'
import { describe, expect, it } from 'vitest'
import {
  AmbiguousCommitError,
  isLockTimeout,
  isTransient,
  violatedUnique,
} from '@payonce/core/db/transient'
import { words } from './words.ts'

function sqlError(code: string, constraint?: string): DatabaseError {
  return Object.assign(new DatabaseError('refused', 7, 'error'), { code, constraint })
}

function systemError(code: string): Error {
  return Object.assign(new Error(`connect ${code} 127.0.0.1:5432`), { code, syscall: 'connect' })
}

/** SQLSTATE codes of the PostgreSQL documentation, appendix A, with what each means for a payment. */
const outages = [
  ['08000', 'connection exception'],
  ['08001', 'no connection came about'],
  ['08003', 'the connection does not exist'],
  ['08004', 'the server rejected the connection'],
  ['08006', 'connection failure'],
  ['08007', 'transaction resolution unknown'],
  ['08P01', 'a pooler lost its server'],
  ['25006', 'the primary became a standby'],
  ['25P03', 'idle in transaction for too long'],
  ['25P04', 'transaction timeout'],
  ['40001', 'serialization failure'],
  ['40P01', 'deadlock'],
  ['53000', 'insufficient resources'],
  ['53100', 'disk full'],
  ['53200', 'out of memory'],
  ['53300', 'too many connections'],
  ['55P03', 'lock timeout'],
  ['57014', 'statement timeout'],
  ['57P01', 'admin shutdown'],
  ['57P02', 'crash shutdown'],
  ['57P03', 'starting up'],
  ['57P05', 'idle session timeout'],
  ['58000', 'system error'],
  ['58030', 'I/O error'],
] as const

const bugsAndBadData = [
  ['22003', 'a number out of range'],
  ['22021', 'a NUL in a text'],
  ['22P02', 'a malformed uuid'],
  ['22P05', 'a NUL in jsonb'],
  ['23502', 'a null'],
  ['23503', 'a foreign key'],
  ['23505', 'a unique key'],
  ['23514', 'a CHECK, such as the overdraft rule'],
  ['25P02', 'a statement after a failed one'],
  ['28P01', 'a wrong password'],
  ['3D000', 'no such database'],
  ['42501', 'a missing right'],
  ['42601', 'a syntax error'],
  ['42703', 'no such column'],
  ['42P01', 'no such table'],
  ['XX000', 'a bug of Postgres'],
] as const

describe('an outage is', () => {
  it.each(outages)('SQLSTATE %s: %s', (code) => {
    expect(isTransient(sqlError(code))).toBe(true)
  })

  it.each(
    words(`
    EAI_AGAIN ECONNABORTED ECONNREFUSED ECONNRESET EHOSTUNREACH ENETDOWN ENETUNREACH
    ENOTFOUND EPIPE ETIMEDOUT
  `),
  )('the network failing with %s', (code) => {
    expect(isTransient(systemError(code))).toBe(true)
  })

  it.each([
    'Connection terminated',
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'Client has encountered a connection error and is not queryable',
    'Client was closed and is not queryable',
    'Query read timeout',
    'timeout exceeded when trying to connect',
    'timeout expired',
  ])('what pg says without a code: %s', (message) => {
    expect(isTransient(new Error(message))).toBe(true)
  })

  it.each<[string, unknown]>([
    ['a lost answer to COMMIT', new AmbiguousCommitError('lost')],
    [
      'a lost answer to COMMIT, whatever lost it',
      new AmbiguousCommitError('lost', { cause: sqlError('23505') }),
    ],
    ['an outage that drizzle wraps', new DrizzleQueryError('SELECT', [], sqlError('57P01'))],
    [
      'an outage two causes deep',
      new Error('a', { cause: new Error('b', { cause: sqlError('53300') }) }),
    ],
    [
      'every address of a host failing',
      new AggregateError([systemError('ECONNREFUSED'), systemError('ETIMEDOUT')]),
    ],
  ])('%s', (_, error) => {
    expect(isTransient(error)).toBe(true)
  })
})

describe('no outage is', () => {
  it.each(bugsAndBadData)('SQLSTATE %s: %s', (code) => {
    expect(isTransient(sqlError(code))).toBe(false)
  })

  it.each<[string, unknown]>([
    ['a bug', new TypeError('x is undefined')],
    ['an error without a message', new Error()],
    ['a code that nobody knows', systemError('EWHATEVER')],
    ['a file that is missing', systemError('EACCES')],
    ['a code that is a number', Object.assign(new Error('x'), { code: 57014 })],
    ['a message that only speaks of a timeout', new Error('the lock timeout expired')],
    ['bad data that drizzle wraps', new DrizzleQueryError('SELECT', [], sqlError('22003'))],
    [
      'bad data whose cause is an outage',
      Object.assign(sqlError('23505'), { cause: sqlError('57P01') }),
    ],
    [
      'several failures of which one is a bug',
      new AggregateError([sqlError('57P01'), new TypeError('x')]),
    ],
    ['several failures of which none is known', new AggregateError([])],
    ['a thrown text', 'ECONNREFUSED'],
    ['a thrown object with a code', { code: '57P01' }],
    ['null', null],
    ['undefined', undefined],
  ])('%s', (_, error) => {
    expect(isTransient(error)).toBe(false)
  })
})

describe('a lock timeout', () => {
  it('is 55P03 and nothing else', () => {
    expect(isLockTimeout(sqlError('55P03'))).toBe(true)
    for (const [code] of [...outages, ...bugsAndBadData]) {
      expect(isLockTimeout(sqlError(code))).toBe(code === '55P03')
    }
    expect(isLockTimeout('55P03')).toBe(false)
    expect(isLockTimeout(undefined)).toBe(false)
  })
})

describe('a violated unique constraint', () => {
  it('is told by its name', () => {
    expect(violatedUnique(sqlError('23505', 'transfers_primary'))).toBe('transfers_primary')
  })

  it('without a name is told as one without a name', () => {
    expect(violatedUnique(sqlError('23505'))).toBe('')
  })

  it('is no other violation', () => {
    expect(violatedUnique(sqlError('23514', 'accounts_overdraft_check'))).toBeUndefined()
    expect(violatedUnique(new Error('duplicate key value'))).toBeUndefined()
    expect(violatedUnique('23505')).toBeUndefined()
  })
})
