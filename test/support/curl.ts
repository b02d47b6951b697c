/**
 * Does what `curl` does with the options that our examples use, for a machine that has no curl. It
 * refuses every other option, so that an example cannot come to rely on one without a curl.
 */
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    silent: { type: 'boolean', short: 's' },
    'show-error': { type: 'boolean', short: 'S' },
    header: { type: 'string', short: 'H', multiple: true, default: [] },
    data: { type: 'string', short: 'd' },
    'write-out': { type: 'string', short: 'w', default: '' },
  },
})
const [url] = positionals
if (url === undefined || positionals.length !== 1) throw new Error('curl: one URL is needed')

const answer = await fetch(url, {
  method: values.data === undefined ? 'GET' : 'POST',
  headers: values.header.map((line) => line.split(/:\s*(.*)/s).slice(0, 2) as [string, string]),
  ...(values.data === undefined ? {} : { body: values.data }),
})
process.stdout.write((await answer.text()) + values['write-out'].replaceAll(String.raw`\n`, '\n'))
