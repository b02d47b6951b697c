/** The command line cannot be followed. Exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The file cannot be read as orders. Exit code 2. */
export class FileError extends Error {
  override readonly name = 'FileError'
  readonly line: number | undefined

  constructor(message: string, line?: number) {
    super(message)
    this.line = line
  }
}

/** Why a run ended before every order had its answer. Nothing is lost by it: see `resume`. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** What to do after a run that stopped early. */
export const resume =
  'Run the same command again to go on: orders that were accepted are replayed, not paid twice.'

/** The text of whatever was thrown; network errors often carry only a code. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(messageOf).join('; ')
  }
  return error.message === '' ? error.name : error.message
}
