export type QueueBackend = 'postgres' | 'redis'

/** What global-setup.ts and vitest.config.ts tell every test file; read it with `inject`. */
declare module 'vitest' {
  export interface ProvidedContext {
    /** The server, by its maintenance database. Tests ask createDatabase() for one of their own. */
    postgresUrl: string
    /** Begins the name of every database of this run; `<prefix>_template` has the migrations in it. */
    databasePrefix: string
    /** A shared Redis, or null where there is none. Tests ask createRedisDatabase(). */
    redisUrl: string | null
    /** On which queue backend this run of test/integration is to be. */
    queueBackend: QueueBackend
  }
}
