import { findProgram } from './program.ts'

/** The `redis-server` on the PATH, if there is one. */
export function findRedisProgram(): string | undefined {
  return findProgram('redis-server')
}

/** Whether tests can have a Redis at all: one of the machine's, or one named by TEST_REDIS_URL. */
export function isRedisMissing(): boolean {
  return process.env.TEST_REDIS_URL === undefined && findRedisProgram() === undefined
}

export const redisMissingLine =
  'NOT RUN: the tests on Redis (project integration-redis), because there is no redis-server on the PATH. ' +
  'Install one (Debian: apt-get install redis-server; macOS: brew install redis) or set TEST_REDIS_URL.'
