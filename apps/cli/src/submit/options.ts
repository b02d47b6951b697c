import { extname } from 'node:path'
import { parseArgs } from 'node:util'
import { isCurrency, minorUnitDigits } from '@payonce/core/money'
import { fieldNames, fields, type ColumnChoices } from './columns.ts'
import { prefixProblem } from './keys.ts'
import type { OrderFile } from './orders.ts'
import type { AccountKind } from './payonce.ts'
import { messageOf, UsageError } from './stop.ts'
import { DEFAULT_URL } from './usage.ts'

/**
 * Reads the command line (without `node` and the script). Throws a UsageError for everything that
 * cannot be followed, before any file is touched.
 */
export function readOptions(argv: readonly string[], environment: Environment = {}): Options {
  const { values, positionals } = parse(argv)
  if (values.help === true) return { help: true }
  const [path, ...more] = positionals
  if (path === undefined) throw new UsageError('no FILE is given')
  if (more.length > 0) throw new UsageError(`one FILE at a time, not also ${more.join(' ')}`)
  const currency = readCurrency(values.currency)
  return {
    help: false,
    file: {
      path,
      currency,
      digits: minorUnitDigits(currency),
      ...readForm(path, values),
      columns: readColumns(values),
      header: values.header,
      decimalSeparator: oneOf('decimal-separator', values['decimal-separator'], ['.', ',']),
      limit: wholeNumber('limit', values.limit, { from: 1 }) ?? Infinity,
      prefix: readPrefix(values.prefix),
    },
    kinds: {
      payer: oneOf('payer-kind', values['payer-kind'], accountKinds),
      receiver: oneOf('receiver-kind', values['receiver-kind'], accountKinds),
    },
    dryRun: values['dry-run'] === true || values.check === true,
    url: readUrl(values.url ?? environment.url ?? DEFAULT_URL),
    key: values.key,
    keyFile: values['key-file'],
    concurrency: wholeNumber('concurrency', values.concurrency, { from: 1, to: 256 }) ?? 32,
    giveUpAfterMs:
      1000 * (wholeNumber('give-up-after', values['give-up-after'], { from: 1 }) ?? 60),
  }
}

export type Options = { help: true } | SubmitOptions

export type SubmitOptions = {
  help: false
  file: OrderFile
  kinds: { payer: AccountKind; receiver: AccountKind }
  /** Check the file and say what would happen. */
  dryRun: boolean
  url: URL
  key: string | undefined
  keyFile: string | undefined
  concurrency: number
  giveUpAfterMs: number
}

/** What the environment sets. */
export type Environment = { apiKey?: string | undefined; url?: string | undefined }

const flags = {
  help: { type: 'boolean', short: 'h' },
  currency: { type: 'string' },
  header: { type: 'boolean' },
  delimiter: { type: 'string' },
  quote: { type: 'string' },
  'decimal-separator': { type: 'string', default: '.' },
  encoding: { type: 'string', default: 'utf-8' },
  limit: { type: 'string' },
  'dry-run': { type: 'boolean' },
  check: { type: 'boolean' },
  prefix: { type: 'string', default: 'order' },
  'payer-kind': { type: 'string', default: 'external' },
  'receiver-kind': { type: 'string', default: 'internal' },
  url: { type: 'string' },
  key: { type: 'string' },
  'key-file': { type: 'string' },
  concurrency: { type: 'string' },
  'give-up-after': { type: 'string' },
  'order-id': { type: 'string' },
  payer: { type: 'string' },
  'payer-bank': { type: 'string' },
  receiver: { type: 'string' },
  'receiver-bank': { type: 'string' },
  amount: { type: 'string' },
  description: { type: 'string' },
  category: { type: 'string' },
  'currency-column': { type: 'string' },
} as const

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: flags,
      allowPositionals: true,
      allowNegative: true,
      strict: true,
    })
  } catch (error) {
    throw new UsageError(messageOf(error))
  }
}

type Values = ReturnType<typeof parse>['values']

function readCurrency(code: string | undefined): string {
  if (code === undefined)
    throw new UsageError('--currency is missing: name the currency of the amounts')
  if (isCurrency(code)) return code
  const hint = isCurrency(code.toUpperCase()) ? `: write ${code.toUpperCase()}` : ''
  throw new UsageError(`--currency ${code} is no ISO 4217 code of a currency${hint}`)
}

function readForm(path: string, values: Values) {
  const delimiter = readDelimiter(path, values.delimiter)
  const usualQuote = delimiter === '\t' ? 'none' : '"'
  const quote = values.quote ?? usualQuote
  if (quote !== 'none' && quote.length !== 1) {
    throw new UsageError(`--quote ${quote} is neither one character nor none`)
  }
  return {
    delimiter,
    quote: quote === 'none' ? null : quote,
    encoding: readEncoding(values.encoding),
  }
}

function readDelimiter(path: string, given: string | undefined): string {
  const extension = extname(path).toLowerCase()
  const named = given === undefined ? delimiterOf[extension] : (delimiterNamed[given] ?? given)
  if (named === undefined) {
    throw new UsageError(
      `the columns' delimiter is not known from the ending "${extension}": give --delimiter tab, comma, semicolon or a character`,
    )
  }
  if (named.length !== 1 || /[\r\n]/.test(named)) {
    throw new UsageError(`--delimiter ${named} is not one character`)
  }
  return named
}

function readEncoding(label: string): string {
  try {
    return new TextDecoder(label).encoding
  } catch {
    throw new UsageError(
      `--encoding ${label} is not known: use a name such as utf-8 or windows-1250`,
    )
  }
}

function readColumns(values: Values): ColumnChoices {
  const choices: ColumnChoices = {}
  for (const field of fieldNames) {
    const choice = values[fields[field].option]
    if (choice === undefined) continue
    if (choice.trim() === '' || choice === '0') {
      throw new UsageError(
        `--${fields[field].option} is a header name, or a number that counts from 1`,
      )
    }
    choices[field] = choice.trim()
  }
  return choices
}

function readPrefix(prefix: string): string {
  const problem = prefixProblem(prefix)
  if (problem !== undefined) throw new UsageError(`--prefix ${prefix}: ${problem}`)
  return prefix
}

function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (url === undefined || !isHttp || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new UsageError(`--url ${text} is not of the form http(s)://host[:port][/path]`)
  }
  return url
}

function oneOf<const T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value)
  if (found === undefined)
    throw new UsageError(`--${option} ${value} is not ${allowed.join(' or ')}`)
  return found
}

function wholeNumber(
  option: string,
  text: string | undefined,
  { from, to = Number.MAX_SAFE_INTEGER }: { from: number; to?: number },
): number | undefined {
  if (text === undefined) return undefined
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (value >= from && value <= to) return value
  const range = to === Number.MAX_SAFE_INTEGER ? `from ${from} on` : `from ${from} to ${to}`
  throw new UsageError(`--${option} ${text} is not a whole number ${range}`)
}

const accountKinds = ['external', 'internal'] as const

const delimiterOf: Partial<Record<string, string>> = { '.csv': ',', '.tsv': '\t', '.tab': '\t' }

const delimiterNamed: Partial<Record<string, string>> = {
  tab: '\t',
  '\\t': '\t',
  comma: ',',
  semicolon: ';',
}
