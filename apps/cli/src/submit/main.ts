import { ConfigError, readClientConfig } from '@payonce/core/config'
import { exitCodeOf, onFirstSignal } from '@payonce/core/process'
import { createAccountBook } from './accounts.ts'
import { readApiKey } from './api-key.ts'
import { checkFile, createAccountCount, fileVersion, type CheckedFile } from './check.ts'
import { createHttpClient } from './http.ts'
import { readOptions, type Environment, type SubmitOptions } from './options.ts'
import { readOrders } from './orders.ts'
import { createPayonce } from './payonce.ts'
import { renderPlan } from './plan.ts'
import { showProgress } from './progress.ts'
import { FileError, resume, Stopped, UsageError } from './stop.ts'
import { submitOrders, type NumberedOrder } from './submit.ts'
import { allSucceeded, createTally, renderTable, sum, type Tally } from './tally.ts'
import { usage } from './usage.ts'

/** A look takes microseconds, and a file that grows is noticed before much of it is sent. */
const linesBetweenLooks = 1_000

process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  try {
    const { PAYONCE_API_KEY: apiKey, PAYONCE_URL: url } = readClientConfig()
    const environment = { apiKey, url }
    const options = readOptions(argv, environment)
    if (!options.help) return await run(options, environment)
    process.stdout.write(usage)
    return 0
  } catch (error) {
    if (error instanceof UsageError) say(`${error.message}\nsubmit: see npm run submit -- --help`)
    else if (error instanceof ConfigError) say(error.message)
    else if (error instanceof FileError) say(`the file ${error.message}`)
    else throw error
    return 2
  }
}

async function run(options: SubmitOptions, environment: Environment): Promise<number> {
  if (options.dryRun) return plan(options)
  // Asked for before a long file is read, so that a missing key is known at once.
  const apiKey = await readApiKey({
    key: options.key,
    keyFile: options.keyFile,
    environmentKey: environment.apiKey,
    defaultKeyFile: '.payonce/api-key',
  })
  const checked = await check(options)
  return checked === undefined ? 2 : send(options, apiKey, checked)
}

async function plan(options: SubmitOptions): Promise<number> {
  const accounts = createAccountCount(options.file.currency)
  const checked = await check(options, accounts)
  if (checked === undefined) return 2
  process.stdout.write(renderPlan(checked, accounts.read(), options))
  return 0
}

/** Reads the file once to the end; undefined, and every problem said, if it cannot be sent. */
async function check(
  { file }: SubmitOptions,
  accounts?: ReturnType<typeof createAccountCount>,
): Promise<CheckedFile | undefined> {
  let read = 0
  const progress = showProgress(process.stderr, () => `submit: checking the file, ${read} orders`)
  const checked = await checkFile(file, {
    onOrder: (order) => {
      read += 1
      accounts?.add(order)
    },
  }).finally(() => progress.stop())
  if (checked.problemCount === 0) return checked
  for (const { line, problem } of checked.problems) {
    say(`${file.path}${line === undefined ? '' : `:${line}`}: ${problem}`)
  }
  const hidden = checked.problemCount - checked.problems.length
  say(`${hidden > 0 ? `and ${hidden} more problems; ` : ''}nothing was sent`)
  return undefined
}

async function send(options: SubmitOptions, apiKey: string, checked: CheckedFile) {
  const { file, kinds } = options
  const stop = new AbortController()
  const tally = createTally()
  const http = createHttpClient(options.url)
  stop.signal.addEventListener('abort', http.close)
  const payonce = createPayonce({
    http,
    apiKey,
    signal: stop.signal,
    onTrouble: (trouble) => {
      tally.retries += 1
      tally.lastTrouble = trouble
    },
  })
  const stopListening = stopOnSignal(stop)
  const startedAt = performance.now()
  const progress = showProgress(process.stderr, () => describe(tally, checked.orders, startedAt))
  const stopped = await submitOrders(ordersToSend(options, checked), {
    payonce,
    accounts: createAccountBook({ payonce, currency: file.currency, kinds }),
    tally,
    currency: file.currency,
    prefix: file.prefix,
    concurrency: options.concurrency,
    giveUpAfterMs: options.giveUpAfterMs,
    stop,
  })
  progress.stop()
  stopListening()
  http.close()
  report(options, checked, tally, { stopped, elapsedMs: performance.now() - startedAt })
  return stopped?.exitCode ?? (allSucceeded(tally, checked.orders) ? 0 : 1)
}

/** The second reading. The file was found in order, so a problem now means that it has changed. */
async function* ordersToSend(
  { file }: SubmitOptions,
  checked: CheckedFile,
): AsyncGenerator<NumberedOrder> {
  try {
    await requireSame({ file, checked })
    for await (const { line, order, problem } of readOrders(file)) {
      if (order === undefined) throw new FileError(problem, line)
      if (line % linesBetweenLooks === 0) await requireSame({ file, checked })
      if (!checked.repeated.has(line)) yield { line, order }
    }
    await requireSame({ file, checked })
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    const at = error.line === undefined ? 'it' : `line ${error.line}:`
    throw new Stopped(`The file has changed since it was checked; ${at} ${error.message}.`)
  }
}

async function requireSame({ file, checked }: { file: { path: string }; checked: CheckedFile }) {
  if ((await fileVersion(file.path)) !== checked.version) throw new FileError('is not the same')
}

function report(
  { file }: SubmitOptions,
  checked: CheckedFile,
  tally: Tally,
  { stopped, elapsedMs }: { stopped: Stopped | undefined; elapsedMs: number },
): void {
  for (const { line, orderId, kind, code, detail } of tally.troubles) {
    say(`${file.path}:${line}: order ${orderId} ${kind}: ${code}. ${detail}`)
  }
  const hidden = sum(tally.failed) + sum(tally.refused) - tally.troubles.length
  if (hidden > 0) say(`and ${hidden} more that failed or were refused`)
  if (stopped !== undefined) say(`stopped. ${stopped.message} ${resume}`)
  const { currency, digits } = file
  const { orders, repeated } = checked
  process.stdout.write(
    renderTable(tally, { orders, repeated: repeated.size, elapsedMs, currency, digits }),
  )
}

function describe(tally: Tally, orders: number, startedAt: number): string {
  const accepted = tally.submitted + tally.replayed
  const failed = sum(tally.failed)
  const refused = sum(tally.refused)
  const settled = tally.succeeded + failed
  const rate = Math.round(settled / Math.max(0.001, (performance.now() - startedAt) / 1000))
  return [
    `submit: ${accepted + refused} of ${orders} answered`,
    `${settled} settled`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(refused > 0 ? [`${refused} refused`] : []),
    `${rate}/s`,
    ...(tally.lastTrouble === '' ? [] : [`trying again: ${tally.lastTrouble}`]),
  ].join(', ')
}

/** The first signal ends the run in order, with its table; a second one ends the process. */
function stopOnSignal(stop: AbortController): () => void {
  return onFirstSignal((signal) => {
    stop.abort(new Stopped(`${signal} was received.`, exitCodeOf(signal)))
  })
}

function say(text: string): void {
  process.stderr.write(`submit: ${text}\n`)
}
