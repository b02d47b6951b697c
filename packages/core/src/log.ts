import { pino, stdSerializers, type DestinationStream, type LogFn, type Logger } from 'pino'

export type Log = Logger

/** Members that may carry a credential, wherever a log line nests them one or two levels deep. */
const secretMembers = ['authorization', 'apiKey', 'secret', 'password', 'databaseUrl', 'redisUrl']

export type LogOptions = {
  name: string
  level: string
  destination?: DestinationStream
}

/**
 * A structured log: one JSON line per record, with secrets cut out. Errors are written without the
 * members that database libraries hang on them, since those repeat parameters and so client data.
 */
export function createLog(options: LogOptions): Log {
  return pino(
    {
      name: options.name,
      level: options.level,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: secretMembers.flatMap((member) => [member, `*.${member}`, `*.*.${member}`]),
        censor: '[redacted]',
      },
      serializers: { error: serializeError, err: serializeError },
      hooks: { logMethod },
    },
    options.destination ?? pino.destination({ dest: 1, sync: false }),
  )
}

/** An error that is logged by itself would have its message repeated beside its serialised form. */
function logMethod(this: Logger, parameters: Parameters<LogFn>, log: LogFn): void {
  const [error, message] = parameters as [unknown, string?]
  if (error instanceof Error) log.call(this, { error }, message ?? 'failed')
  else log.apply(this, parameters)
}

type LoggedError = {
  type: string
  message: string
  code?: string
  constraint?: string
  stack?: string
}

function serializeError(error: unknown): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) }
  const { type, stack } = stdSerializers.err(error)
  // The stack repeats the messages of the error and of its causes.
  const isSafe = !withCauses(error).some(isOfDrizzle)
  return {
    type,
    message: messageOf(error),
    ...stringMember(error, 'code'),
    ...stringMember(error, 'constraint'),
    ...(isSafe && stack !== undefined ? { stack } : {}),
  }
}

/** The messages of an error and its causes, without those that repeat a statement's parameters. */
function messageOf(error: Error): string {
  const safe = withCauses(error).filter((one) => !isOfDrizzle(one))
  return safe.length === 0 ? 'a statement failed' : safe.map(({ message }) => message).join(': ')
}

/** At most 5: nobody reads further, and a cause may lead back to its own error. */
const maxCauses = 5

function withCauses(error: Error, depth = 0): Error[] {
  const { cause } = error
  return cause instanceof Error && depth < maxCauses
    ? [error, ...withCauses(cause, depth + 1)]
    : [error]
}

/** drizzle's message repeats the statement with its parameters, and so client data. */
function isOfDrizzle(error: Error): boolean {
  return error.constructor.name === 'DrizzleQueryError'
}

function stringMember(error: Error, name: 'code' | 'constraint'): { [member: string]: string } {
  const value: unknown = Reflect.get(error, name)
  return typeof value === 'string' ? { [name]: value } : {}
}
