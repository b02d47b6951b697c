import { findProgram } from './program.ts'

/** The accounting program of the machine: the one that TEST_HLEDGER names, or the one on the PATH. */
export function findHledger(): string | undefined {
  return process.env.TEST_HLEDGER ?? findProgram('hledger')
}

export const hledgerMissingLine =
  'NOT RUN: the tests of the export (test/integration/export.test.ts), because there is no hledger on the PATH. ' +
  'Install one (Debian: apt-get install hledger; macOS: brew install hledger) or set TEST_HLEDGER to its path.'
