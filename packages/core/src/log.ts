import { pino, stdSerializers, type DestinationStream, type Logger } from 'pino'

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
    },
    options.destination ?? pino.destination({ dest: 1, sync: false }),
  )
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
  const { type, message, stack } = stdSerializers.err(error)
  return {
    type,
    // drizzle's message repeats the statement with its parameters; its cause does not.
    message: type === 'DrizzleQueryError' ? messageOfCause(error) : message,
    ...stringMember(error, 'code'),
    ...stringMember(error, 'constraint'),
    ...(type === 'DrizzleQueryError' || stack === undefined ? {} : { stack }),
  }
}

function messageOfCause(error: Error): string {
  return error.cause instanceof Error ? error.cause.message : 'a statement failed'
}

function stringMember(error: Error, name: 'code' | 'constraint'): { [member: string]: string } {
  const value: unknown = Reflect.get(error, name)
  return typeof value === 'string' ? { [name]: value } : {}
}
