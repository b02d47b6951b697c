import { processArguments } from './process-identity.ts'

/**
 * Calls `onGone` once when the npm that started us has gone without a word, as after its kill -9.
 * Nobody would stop us then, and the next `npm start` would find its data and port in use.
 */
export function watchNpmParent(onGone: () => void): void {
  const parent = process.ppid
  if (!isNpm(parent)) return
  const timer = setInterval(() => {
    // An orphan is given another parent.
    if (process.ppid === parent) return
    clearInterval(timer)
    onGone()
  }, pollEveryMs)
  timer.unref()
}

/** Half a second: soon enough for whoever starts again at once, and asking costs a microsecond. */
const pollEveryMs = 500

/** npm gives itself a title such as `npm start`; otherwise its program is named npm-cli.js. */
function isNpm(pid: number): boolean {
  return processArguments(pid).some((argument) => /^npm\b|\bnpm-cli\.js$/.test(argument))
}
