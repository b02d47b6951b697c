import { parseArgs } from 'node:util'
import { messageOf, UsageError } from '../submit/stop.ts'
import { rows } from './rows.ts'
import type { Row } from './row.ts'

/**
 * Reads the command line (without `node` and the script). Throws a UsageError for everything that
 * cannot be followed, before anything is sent.
 */
export function readOptions(argv: readonly string[], environment: Environment = {}): Options {
  const values = parse(argv)
  if (values.help === true) return { help: true }
  return {
    help: false,
    url: readUrl('url', values.url ?? environment.url ?? DEFAULT_URL),
    key: values.key,
    keyFile: values['key-file'],
    secondUrl: readOptionalUrl('second-url', values['second-url']),
    secondKey: values['second-key'],
    otherTenantKey: values['other-tenant-key'],
    otherModeKey: values['other-mode-key'],
    readOnlyKey: values['read-only-key'],
    rows: readRows(values.rows),
    json: values.json,
    settleWithinMs: 1_000 * readSeconds(values['settle-within']),
  }
}

export const DEFAULT_URL = 'http://127.0.0.1:3000'

export type Options = { help: true } | RunOptions

export type RunOptions = {
  help: false
  url: URL
  key: string | undefined
  keyFile: string | undefined
  secondUrl: URL | undefined
  secondKey: string | undefined
  otherTenantKey: string | undefined
  otherModeKey: string | undefined
  readOnlyKey: string | undefined
  rows: readonly Row[]
  /** Where the results are written as JSON. */
  json: string | undefined
  settleWithinMs: number
}

/** What the environment sets. */
export type Environment = { apiKey?: string | undefined; url?: string | undefined }

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        help: { type: 'boolean', short: 'h' },
        url: { type: 'string' },
        key: { type: 'string' },
        'key-file': { type: 'string' },
        'second-url': { type: 'string' },
        'second-key': { type: 'string' },
        'other-tenant-key': { type: 'string' },
        'other-mode-key': { type: 'string' },
        'read-only-key': { type: 'string' },
        rows: { type: 'string' },
        json: { type: 'string' },
        'settle-within': { type: 'string', default: '30' },
      },
    }).values
  } catch (error) {
    throw new UsageError(messageOf(error))
  }
}

function readOptionalUrl(name: string, text: string | undefined): URL | undefined {
  return text === undefined ? undefined : readUrl(name, text)
}

function readUrl(name: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url
  throw new UsageError(`--${name} takes a URL such as ${DEFAULT_URL}, not ${text}`)
}

function readRows(text: string | undefined): readonly Row[] {
  if (text === undefined) return rows
  const wanted = text.split(',').map((name) => name.trim())
  const unknown = wanted.filter((name) => !rows.some(({ row }) => row === name))
  if (unknown.length > 0) {
    throw new UsageError(`--rows takes numbers of rows such as I1,I16, not ${unknown.join(',')}`)
  }
  return rows.filter(({ row }) => wanted.includes(row))
}

function readSeconds(text: string): number {
  const seconds = Number(text)
  if (seconds >= 1 && seconds <= 3_600) return seconds
  throw new UsageError('--settle-within takes a number of seconds from 1 to 3600')
}
