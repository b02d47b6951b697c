/**
 * Every failure that is an outage and no bug: the same statement may succeed later, so it is
 * retried. What is not in these lists is a bug or bad data and is never retried blindly.
 * SQLSTATE codes: PostgreSQL documentation, appendix A.
 */
const transientSqlStates = new Set([
  '08000', // connection_exception
  '08001', // sqlclient_unable_to_establish_sqlconnection
  '08003', // connection_does_not_exist
  '08004', // sqlserver_rejected_establishment_of_sqlconnection
  '08006', // connection_failure
  '08007', // transaction_resolution_unknown
  '08P01', // protocol_violation: what a pooler says when it lost its server
  '25006', // read_only_sql_transaction: the primary became a standby
  '25P03', // idle_in_transaction_session_timeout: this process was frozen
  '25P04', // transaction_timeout
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '53000', // insufficient_resources
  '53100', // disk_full
  '53200', // out_of_memory
  '53300', // too_many_connections
  '55P03', // lock_not_available
  '57014', // query_canceled: a statement_timeout, or an operator
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P05', // idle_session_timeout
  '58000', // system_error
  '58030', // io_error
])

const transientSystemCodes = new Set([
  'EADDRNOTAVAIL', // no port is left for a connection
  'EAGAIN',
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'EMFILE', // too many open files in this process
  'ENETDOWN',
  'ENETUNREACH',
  'ENFILE', // too many open files on this machine
  'ENOBUFS',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
])

/** What `pg` throws without a code when a connection is lost or does not come about. */
const transientMessages = [
  'Connection terminated',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'Query read timeout',
  'timeout exceeded when trying to connect',
  'timeout expired',
]

/** The answer to COMMIT was lost: nobody knows whether it took effect until somebody reads again. */
export class AmbiguousCommitError extends Error {
  override name = 'AmbiguousCommitError'
}

/** Whether an error is an outage: worth retrying, and no fault of the request. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof AmbiguousCommitError) return true
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.every(isTransient)
  }
  const code = codeOf(error)
  if (code !== undefined) return transientSqlStates.has(code) || transientSystemCodes.has(code)
  if (transientMessages.some((message) => error.message.startsWith(message))) return true
  return error.cause !== undefined && isTransient(error.cause)
}

/** Whether a statement gave up on a lock that somebody else holds (`lock_timeout`). */
export function isLockTimeout(error: unknown): boolean {
  return codeOf(error) === '55P03'
}

/** The name of the violated unique constraint, or undefined where the error is something else. */
export function violatedUnique(error: unknown): string | undefined {
  if (codeOf(error) !== '23505') return undefined
  const constraint: unknown = Reflect.get(error as Error, 'constraint')
  return typeof constraint === 'string' ? constraint : ''
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const code: unknown = Reflect.get(error, 'code')
  return typeof code === 'string' ? code : undefined
}
