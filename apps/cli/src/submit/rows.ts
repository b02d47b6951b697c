import { createReadStream } from 'node:fs'
import { CsvError, parse } from 'csv-parse'
import { FileError, messageOf } from './stop.ts'

/**
 * Reads a delimited file row by row, in bounded memory. Fields are trimmed, blank lines passed
 * over, and each row carries the line on which it begins.
 * Throws a FileError, with a line, for text that cannot be told apart into fields.
 */
export async function* readRows(path: string, form: RowForm): AsyncGenerator<Row> {
  const splitter = createSplitter(form)
  for await (const chunk of readText(path, form.encoding)) yield* await splitter.feed(chunk)
  yield* await splitter.end()
}

export type RowForm = {
  delimiter: string
  /** The quoting character, or null where a quote is a character like any other. */
  quote: string | null
  /** A label of the WHATWG Encoding Standard, such as `utf-8` or `windows-1250`. */
  encoding: string
}

export type Row = { line: number; fields: string[] }

async function* readText(path: string, encoding: string): AsyncGenerator<Buffer | string> {
  // The parser decodes UTF-8 itself, and faster.
  const decoder = encoding === 'utf-8' ? undefined : new TextDecoder(encoding)
  for await (const chunk of readBytes(path)) yield decoder?.decode(chunk, { stream: true }) ?? chunk
  yield decoder?.decode() ?? ''
}

async function* readBytes(path: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path)
  } catch (error) {
    throw new FileError(`cannot be read: ${messageOf(error)}`)
  }
}

/**
 * Drives the parser chunk by chunk instead of piping through it: a row is seen the moment it is
 * parsed, so an error knows the line of the row it interrupts, and the rows before it are kept.
 */
function createSplitter(form: RowForm) {
  // The line on which the next row begins. The parser's own count takes a CR LF inside quotes for
  // two lines, and for a quote that is never closed it names the end of the file.
  let line = 1
  let rows: Row[] = []
  const parser = parse({
    delimiter: form.delimiter,
    quote: form.quote,
    escape: form.quote,
    bom: true,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    max_record_size: MAX_ROW_LENGTH,
    on_record: keepRow,
  })
  // Every error reaches the callback of the write that caused it; this keeps it from being thrown.
  parser.on('error', () => {})

  function keepRow(record: string[]): null {
    const isBlank = record.length === 1 && record[0]?.trim() === ''
    if (!isBlank) rows.push({ line, fields: record.map((field) => field.trim()) })
    line += 1 + lineBreaksWithin(record)
    return null
  }

  function* takeRows(error: Error | null | undefined): Generator<Row> {
    const taken = rows
    rows = []
    yield* taken
    if (error) throw error instanceof CsvError ? new FileError(explain(error, form), line) : error
  }

  return {
    feed: (chunk: Buffer | string): Promise<Iterable<Row>> =>
      new Promise((resolve) => {
        parser.write(chunk, (error) => resolve(takeRows(error)))
      }),
    end: (): Promise<Iterable<Row>> =>
      new Promise((resolve) => {
        parser.end((error?: Error | null) => resolve(takeRows(error)))
      }),
  }
}

function lineBreaksWithin(record: readonly string[]): number {
  let breaks = 0
  for (const field of record) {
    for (let at = field.indexOf('\n'); at !== -1; at = field.indexOf('\n', at + 1)) breaks += 1
  }
  return breaks
}

function explain(error: CsvError, form: RowForm): string {
  const otherwise = `give --quote none if ${form.quote} is an ordinary character here`
  if (error.code === 'CSV_MAX_RECORD_SIZE') {
    return `the row is longer than ${MAX_ROW_LENGTH} characters: look for a quote that is not closed, or another kind of line end`
  }
  if (error.code === 'CSV_QUOTE_NOT_CLOSED') {
    return `a quoted field begins in this row and never ends: close it, or ${otherwise}`
  }
  return `${error.message}: put the whole field in quotes and double the quotes inside, or ${otherwise}`
}

// Far above any order, and small enough that a quote that is never closed cannot fill the memory.
const MAX_ROW_LENGTH = 65_536
