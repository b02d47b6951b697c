import { writeFile } from 'node:fs/promises'
import { readApiKey } from '../submit/api-key.ts'
import { messageOf, UsageError } from '../submit/stop.ts'
import { createClient, type Client } from './client.ts'
import { createHttp, type Http } from './http.ts'
import { readOptions, type Environment, type RunOptions } from './options.ts'
import { renderCounts, renderJson, renderRow } from './report.ts'
import { runRow, type RowResult } from './run.ts'
import { usage } from './usage.ts'
import type { Context } from './row.ts'

/** Where the command writes, and whether somebody watches. */
export type Output = {
  /** The results. */
  print(text: string): void
  /** What is going on. */
  tell(text: string): void
  isTerminal: boolean
}

/** The whole command. Returns its exit code: 0 nothing failed, 1 some row did, 2 it is used wrongly. */
export async function conformance(
  argv: readonly string[],
  environment: Environment,
  output: Output,
): Promise<0 | 1 | 2> {
  try {
    const options = readOptions(argv, environment)
    if (!options.help) return await run(options, environment, output)
    output.print(usage)
    return 0
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    output.tell(`conformance: ${error.message}\nconformance: see npm run conformance -- --help\n`)
    return 2
  }
}

async function run(options: RunOptions, environment: Environment, output: Output): Promise<0 | 1> {
  const apiKey = await readApiKey({
    key: options.key,
    keyFile: options.keyFile,
    environmentKey: environment.apiKey,
    defaultKeyFile: '.payonce/api-key',
  })
  const urls = options.secondUrl === undefined ? [options.url] : [options.url, options.secondUrl]
  const processes = urls.map((url) => createHttp(url, { timeoutMs: answerTimeoutMs }))
  try {
    const context = createContext(options, apiKey, processes)
    await requireServer(options, context.client)
    return await runRows(options, context, output)
  } finally {
    for (const http of processes) http.close()
  }
}

/** 15 s: a server may wait 5 s for a settlement, and 2 s for a twin. */
const answerTimeoutMs = 15_000

function createContext(
  options: RunOptions,
  apiKey: string,
  [http, secondHttp]: readonly Http[],
): Omit<Context, 'note'> {
  if (http === undefined) throw new Error('no server to send to')
  const client = (key: string | undefined) =>
    key === undefined ? undefined : createClient(http, key)
  const others: { [Name in keyof Context['others']]: Client | undefined } = {
    otherCredential: client(options.secondKey),
    otherTenant: client(options.otherTenantKey),
    otherMode: client(options.otherModeKey),
    readOnly: client(options.readOnlyKey),
    otherProcess: secondHttp && createClient(secondHttp, apiKey),
  }
  const given = Object.entries(others).filter(([, other]) => other !== undefined)
  return {
    client: createClient(http, apiKey),
    others: Object.fromEntries(given),
    settleWithinMs: options.settleWithinMs,
  }
}

/** A wrong URL or key would fail every row: that is told once, and is no failure of the server. */
async function requireServer({ url }: RunOptions, client: Client): Promise<void> {
  const answer = await client.get('/v1/accounts?limit=1').catch((error: unknown) => {
    throw new UsageError(`${url.href} cannot be reached: ${messageOf(error)}`)
  })
  if (answer.status === 200) return
  throw new UsageError(
    answer.status === 401 || answer.status === 403
      ? `the API key is not accepted: ${answer.describe()}`
      : `${url.href} answers ${answer.describe()}, and not as Payonce does`,
  )
}

async function runRows(
  options: RunOptions,
  context: Omit<Context, 'note'>,
  output: Output,
): Promise<0 | 1> {
  const startedAt = new Date()
  const results: RowResult[] = []
  for (const row of options.rows) {
    if (output.isTerminal) output.tell(`\r\x1b[K${row.row} ${row.situation}`.slice(0, 80))
    const result = await runRow(row, context)
    if (output.isTerminal) output.tell('\r\x1b[K')
    output.print(renderRow(result))
    results.push(result)
  }
  output.print(renderCounts(results, Date.now() - startedAt.getTime()))
  if (options.json !== undefined) {
    await writeFile(options.json, renderJson(results, { url: options.url, startedAt }))
  }
  return results.some(({ result }) => result === 'failed') ? 1 : 0
}
