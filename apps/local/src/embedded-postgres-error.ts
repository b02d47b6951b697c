export type EmbeddedPostgresErrorCode =
  | 'platform_not_supported'
  | 'programs_do_not_run'
  | 'data_dir_in_use'
  | 'data_dir_not_usable'
  | 'data_dir_of_other_version'
  | 'port_in_use'
  | 'server_did_not_start'
  | 'server_did_not_stop'

/** What else there is where this Postgres will not do. */
export const ownPostgres =
  'a Postgres of your own (15 or newer) with npm run migrate, npm run api and npm run worker.'

/**
 * Something that the person at the terminal can put right. The message names the folder, port or
 * process and says what to do, so that it can be printed alone, without a stack trace.
 */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError'
  readonly code: EmbeddedPostgresErrorCode

  constructor(code: EmbeddedPostgresErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
