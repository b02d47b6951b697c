import { findProgram } from './program.ts'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** The browser of the machine: the one that TEST_CHROMIUM names, or the first on the PATH. */
export function findChromium(): string | undefined {
  return process.env.TEST_CHROMIUM ?? names.map(findProgram).find((path) => path !== undefined)
}

export const chromiumMissingLine =
  'NOT RUN: the tests in a browser (project browser), because there is no chromium on the PATH. ' +
  'Install one (Debian: apt-get install chromium; macOS: brew install chromium) or set TEST_CHROMIUM to its path.'
