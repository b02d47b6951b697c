import { readFileSync } from 'node:fs'

/*
 * Prints the closing line of a CI run from the report of the tests and the steps that failed.
 * A file that could not be loaded has no failed test in the report, and an error outside of a test
 * fails the run alone: both are counted here, so that the line never says less than what happened.
 */

const [reportPath, ...failedSteps] = process.argv.slice(2)
const report = readReport(reportPath)
const tests = report.testResults.flatMap((file) => file.assertionResults)
const brokenFiles = report.testResults.filter(
  (file) => file.assertionResults.length === 0 || (file.status === 'failed' && !hasFailure(file)),
)
const count = (...statuses) => tests.filter(({ status }) => statuses.includes(status)).length

const passed = count('passed')
const skipped = count('skipped', 'pending', 'todo', 'disabled')
const failedTests = count('failed') + brokenFiles.length
// A step that failed is counted once, unless its tests already say why.
const explained = failedTests > 0 ? failedSteps.filter((step) => step !== 'npm test') : failedSteps
const failed = failedTests + explained.length + (passed === 0 ? 1 : 0)

for (const file of brokenFiles)
  console.log(`no test ran to its end in ${file.name}: ${file.message}`)
for (const step of failedSteps) console.log(`failed: ${step}`)
if (skipped > 0)
  console.log('a skipped test is a failure here: nothing that is promised goes untested')
console.log(`${passed} passed, ${failed + skipped} failed, ${skipped} skipped`)
process.exitCode = failed + skipped === 0 ? 0 : 1

function hasFailure(file) {
  return file.assertionResults.some(({ status }) => status === 'failed')
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return { testResults: [] }
  }
}
