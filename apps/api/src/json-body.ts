import { visit } from 'jsonc-parser'
import { Problem } from './problem.ts'
import type { Context } from 'hono'

/** The largest body, in bytes. */
export const MAX_BODY_BYTES = 64 * 1024
/** The largest body of a batch, in bytes: 10,000 transfers of some 800 bytes. */
export const MAX_BATCH_BODY_BYTES = 8 * 1024 * 1024
/** The deepest nesting of objects and arrays. */
export const MAX_DEPTH = 32

/**
 * Reads the body of a request as strict JSON. Throws a `Problem` for a body that is too large, no
 * JSON, or whose JSON two readers might understand differently: see `parseStrictJson`.
 */
export async function readJsonBody(
  c: Context,
  maxBytes: number = MAX_BODY_BYTES,
): Promise<unknown> {
  requireJson(c)
  const bytes = await readBytes(c, maxBytes)
  return parseStrictJson(decode(bytes))
}

/** As `readJsonBody`; an empty body counts as `{}`, with or without a content type. */
export async function readOptionalJsonBody(c: Context): Promise<unknown> {
  const bytes = await readBytes(c, MAX_BODY_BYTES)
  if (bytes.byteLength === 0) return {}
  requireJson(c)
  return parseStrictJson(decode(bytes))
}

function requireJson(c: Context): void {
  const type = c.req.header('content-type') ?? ''
  if (!/^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(type)) {
    throw new Problem('unsupported_media_type', 'Send the body as Content-Type: application/json.')
  }
  if ((c.req.header('content-encoding') ?? 'identity') !== 'identity') {
    throw new Problem('unsupported_media_type', 'Send the body without a Content-Encoding.')
  }
}

/**
 * A body of a known length is refused before it is read; any other one as soon as it is too long.
 * The rest of it is not read: see close-unread.ts.
 */
async function readBytes(c: Context, maxBytes: number): Promise<Uint8Array> {
  try {
    return await readAtMost(c, maxBytes)
  } catch (error) {
    if (error instanceof Problem) throw error
    // The client has gone, or was cut off: no outage of ours, though it looks like one.
    throw new Problem('incomplete_body', 'Send the whole body.', { cause: error })
  }
}

async function readAtMost(c: Context, maxBytes: number): Promise<Uint8Array> {
  const length = c.req.header('content-length')
  if (length !== undefined && c.req.header('transfer-encoding') === undefined) {
    if (Number(length) > maxBytes) throw tooLarge(maxBytes)
    return new Uint8Array(await c.req.arrayBuffer())
  }
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of c.req.raw.body ?? []) {
    size += chunk.byteLength
    if (size > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLarge(maxBytes: number): Problem {
  return new Problem('body_too_large', `Send at most ${maxBytes} bytes.`)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new Problem('invalid_json', 'The body is not valid UTF-8.')
  }
}

/**
 * Parses JSON by RFC 8259, and refuses what the standard lets readers understand differently
 * (I-JSON, RFC 7493): a name twice in one object, and numbers that are no integers between
 * ±(2^53 - 1) in their text, since rounding would make two amounts one.
 */
export function parseStrictJson(text: string): unknown {
  const value = parseJson(text)
  new StrictJsonCheck(text).run()
  return value
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const reason = unquoted.exec(error instanceof SyntaxError ? error.message : '')?.[0]
    throw new Problem(
      'invalid_json',
      reason === undefined
        ? 'The body is not valid JSON.'
        : `The body is not valid JSON: ${reason}.`,
    )
  }
}

/** What the parser says without the part of the body that it quotes: bodies belong into no answer. */
const unquoted = /^(?:Unexpected token '.'|[^"]*JSON (?:at position \d+|input))/su

type Path = () => (string | number)[]

/** Walks through text that is known to be JSON, and throws a `Problem` at the first fault. */
class StrictJsonCheck {
  readonly #text: string
  readonly #openObjects: Set<string>[] = []
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  run(): void {
    visit(
      this.#text,
      {
        onObjectBegin: () => {
          this.#enter()
          this.#openObjects.push(new Set())
        },
        onObjectEnd: () => {
          this.#depth -= 1
          this.#openObjects.pop()
        },
        onArrayBegin: () => this.#enter(),
        onArrayEnd: () => {
          this.#depth -= 1
        },
        onObjectProperty: (name, _offset, _length, _line, _column, path) =>
          this.#checkName(name, path),
        onLiteralValue: (value, offset, length, _line, _column, path) => {
          if (typeof value === 'number') this.#checkNumber(offset, length, path)
        },
      },
      { disallowComments: true },
    )
  }

  #enter(): void {
    this.#depth += 1
    if (this.#depth > MAX_DEPTH) {
      throw new Problem('invalid_body', `The JSON is nested deeper than ${MAX_DEPTH} levels.`)
    }
  }

  #checkName(name: string, path: Path): void {
    const names = this.#openObjects.at(-1)
    const where = () => ({ param: toPointer([...path(), name]) })
    if (name === '__proto__') {
      throw new Problem('unknown_field', 'The member __proto__ is not allowed.', where())
    }
    if (names?.has(name)) throw new Problem('duplicate_member', 'Name each member once.', where())
    names?.add(name)
  }

  #checkNumber(offset: number, length: number, path: Path): void {
    if (isExactInteger(this.#text.slice(offset, offset + length))) return
    const member = path()
    throw new Problem(
      isAmountMember(member) ? 'invalid_amount' : 'invalid_field',
      'Send a whole number between -9007199254740991 and 9007199254740991.',
      { param: toPointer(member) },
    )
  }
}

/** The members that hold minor units: what is wrong with their number is wrong with an amount. */
const amountMembers: ReadonlySet<string> = new Set(['amount', 'overdraft_limit'])

/** Whether a path ends at an amount. Pairs of metadata are the client's own, whatever their names. */
export function isAmountMember(path: readonly PropertyKey[]): boolean {
  return amountMembers.has(String(path.at(-1))) && path.at(-2) !== 'metadata'
}

const numberForm = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/

/**
 * Whether the text of a JSON number names, without rounding, an integer that a double holds:
 * `1000e-3` and `0.1e1` are 1, `1.00000000000000001` is none. Linear in the length of the text,
 * since a body may be one single number.
 */
export function isExactInteger(text: string): boolean {
  if (!Number.isSafeInteger(Number(text))) return false
  const match = numberForm.exec(text)
  if (match === null) return false
  const [, whole = '', fraction = '', exponent = '0'] = match
  const digits = whole + fraction
  const zeros = countTrailingZeros(digits)
  return zeros === digits.length || zeros + Number(exponent) >= fraction.length
}

function countTrailingZeros(digits: string): number {
  let end = digits.length
  while (digits[end - 1] === '0') end -= 1
  return digits.length - end
}

/** A JSON pointer (RFC 6901) to a member. */
export function toPointer(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}
