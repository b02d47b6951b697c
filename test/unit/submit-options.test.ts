import { describe, expect, it } from 'vitest'
import { readOptions, type SubmitOptions } from '../../apps/cli/src/submit/options.ts'

describe('options by default', () => {
  it('are those of the reference', () => {
    expect(read('july.csv', '--currency', 'EUR')).toMatchObject({
      file: {
        path: 'july.csv',
        currency: 'EUR',
        digits: 2,
        delimiter: ',',
        quote: '"',
        encoding: 'utf-8',
        decimalSeparator: '.',
        header: undefined,
        columns: {},
        limit: Infinity,
        prefix: 'order',
      },
      kinds: { payer: 'external', receiver: 'internal' },
      dryRun: false,
      concurrency: 32,
      giveUpAfterMs: 60_000,
    })
    expect(read('july.csv', '--currency', 'EUR').url.href).toBe('http://127.0.0.1:3000/')
  })

  it('take delimiter and quoting from the ending of the file', () => {
    expect(read('july.TSV', '--currency', 'EUR').file).toMatchObject({
      delimiter: '\t',
      quote: null,
    })
    expect(read('july.txt', '--currency', 'EUR', '--delimiter', 'semicolon').file).toMatchObject({
      delimiter: ';',
      quote: '"',
    })
  })

  it('take the URL from the environment unless it is given', () => {
    const environment = { url: 'https://pay.example/base' }
    const given = ['--url', 'http://[::1]:3000']
    const url = (...args: string[]) => {
      const options = readOptions(['july.csv', '--currency', 'EUR', ...args], environment)
      return options.help ? undefined : options.url.href
    }
    expect(url()).toBe('https://pay.example/base')
    expect(url(...given)).toBe('http://[::1]:3000/')
  })
})

it('--check is --dry-run, and --no-header says that there is none', () => {
  expect(read('july.csv', '--currency', 'EUR', '--check').dryRun).toBe(true)
  expect(read('july.csv', '--currency', 'EUR', '--dry-run').dryRun).toBe(true)
  expect(read('july.csv', '--currency', 'EUR', '--no-header').file.header).toBe(false)
  expect(read('july.csv', '--currency', 'EUR', '--header').file.header).toBe(true)
})

it('--help needs nothing else', () => {
  expect(readOptions(['--help'])).toEqual({ help: true })
})

describe('a command line is refused', () => {
  const euros = ['july.csv', '--currency', 'EUR']
  it.each([
    ['without a file', ['--currency', 'EUR'], /no FILE/],
    ['with two files', [...euros, 'august.csv'], /one FILE.*august/],
    ['without a currency', ['july.csv'], /--currency is missing/],
    ['with a currency in small letters', ['july.csv', '--currency', 'eur'], /write EUR/],
    ['with a code that is no money', ['july.csv', '--currency', 'XXX'], /no ISO 4217/],
    ['with an option that does not exist', [...euros, '--dryrun'], /--dryrun/],
    ['with an ending that tells no delimiter', ['july.txt', '--currency', 'EUR'], /"\.txt"/],
    ['with a delimiter of two characters', [...euros, '--delimiter', '||'], /not one character/],
    ['with a quote of two characters', [...euros, '--quote', "''"], /neither one character/],
    ['with an unknown encoding', [...euros, '--encoding', 'ebcdic'], /ebcdic is not known/],
    ['with a bad prefix', [...euros, '--prefix', 'a b'], /visible ASCII/],
    ['with column 0', [...euros, '--payer', '0'], /counts from 1/],
    ['with an unknown kind', [...euros, '--payer-kind', 'outer'], /not external or internal/],
    ['with no concurrency', [...euros, '--concurrency', '0'], /from 1 to 256/],
    ['with too much concurrency', [...euros, '--concurrency', '257'], /from 1 to 256/],
    ['with half a limit', [...euros, '--limit', '1.5'], /not a whole number/],
    ['with a URL of another kind', [...euros, '--url', 'ftp://x'], /not of the form/],
    ['with a password in the URL', [...euros, '--url', 'http://u:p@x'], /not of the form/],
  ])('%s', (_, args, message) => {
    expect(() => readOptions(args)).toThrow(message)
  })
})

function read(...args: string[]): SubmitOptions {
  const options = readOptions(args)
  if (options.help) throw new Error('no help was asked for')
  return options
}
