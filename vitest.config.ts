import { defineConfig } from 'vitest/config'
import { findChromium } from './test/support/chromium-program.ts'
import { findHledger } from './test/support/hledger-program.ts'
import { isRedisMissing } from './test/support/redis-program.ts'

// Tests that need Redis, a browser or hledger are left out where there is none, and the run says so at
// its end (see global-setup.ts). On a build server that would hide a hole, so there the same run fails.
const mayLeaveOut = process.env.CI !== 'true'
const leaveOutRedis = mayLeaveOut && isRedisMissing()
const leaveOutBrowser = mayLeaveOut && findChromium() === undefined
const leaveOutHledger = mayLeaveOut && findHledger() === undefined
const leftOutOfIntegration = leaveOutHledger ? ['test/integration/export.test.ts'] : []

export default defineConfig({
  test: {
    pool: 'forks',
    // 2: each file brings its own processes or database sessions, and the smallest machine has 2 cores.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 10_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'integration-postgres',
          include: ['test/integration/**/*.test.ts'],
          exclude: leftOutOfIntegration,
          globalSetup: 'test/global-setup.ts',
          provide: { queueBackend: 'postgres' },
          testTimeout: 20_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'integration-redis',
          include: leaveOutRedis ? [] : ['test/integration/**/*.test.ts'],
          exclude: leftOutOfIntegration,
          globalSetup: 'test/global-setup.ts',
          provide: { queueBackend: 'redis' },
          testTimeout: 20_000,
          hookTimeout: 30_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          include: leaveOutBrowser ? [] : ['test/browser/**/*.test.ts'],
          // A browser on a busy machine takes seconds to start and to show its first page.
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          globalSetup: 'test/global-setup.ts',
          // Real processes: a crash is noticed within 20 s, and some tests wait for two of them.
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
})
