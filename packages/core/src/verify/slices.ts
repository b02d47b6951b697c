import { appendFileSync, createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** What is laid down: lines of the books, and which settlement claims which transfers. */
export type SliceKind = 'entries' | 'transfers' | 'settlements'

/** All buffers together hold about so many characters, however many slices there are. */
const bufferedCharacters = 16 * 1024 * 1024

/**
 * Brings together what belongs together and lies apart: the rows of one settlement share their
 * moment, and no index finds entries by transfer. Every row is written to one of many files by its
 * moment, and each file then fits into memory. The files lie in TMPDIR and are gone in the end.
 */
export class Slices {
  readonly count: number
  readonly #folder = mkdtempSync(join(tmpdir(), 'payonce-verify-'))
  readonly #buffers = new Map<string, { text: string[]; length: number }>()
  readonly #bufferLength: number

  constructor(count: number) {
    this.count = count
    this.#bufferLength = Math.trunc(bufferedCharacters / (3 * count))
  }

  append(
    kind: SliceKind,
    moment: Date,
    fields: readonly (string | number | bigint | null)[],
  ): void {
    const path = this.#pathOf(kind, this.#sliceAt(moment))
    const buffer = this.#buffers.get(path) ?? { text: [], length: 0 }
    this.#buffers.set(path, buffer)
    const line = `${fields.map((field) => field ?? '').join('\t')}\n`
    buffer.text.push(line)
    buffer.length += line.length
    if (buffer.length >= this.#bufferLength) this.#flush(path, buffer)
  }

  async *read(kind: SliceKind, slice: number): AsyncGenerator<string[], void> {
    const path = this.#pathOf(kind, slice)
    const buffer = this.#buffers.get(path)
    if (buffer !== undefined) this.#flush(path, buffer)
    if (!existsSync(path)) return
    const lines = createInterface({ input: createReadStream(path), crlfDelay: Infinity })
    for await (const line of lines) yield line.split('\t')
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** By the second, so that what was settled one after the other is read together. */
  #sliceAt(moment: Date): number {
    const second = Math.floor(moment.valueOf() / 1_000)
    return Number.isFinite(second) ? ((second % this.count) + this.count) % this.count : 0
  }

  #pathOf(kind: SliceKind, slice: number): string {
    return join(this.#folder, `${kind}-${slice}`)
  }

  #flush(path: string, buffer: { text: string[]; length: number }): void {
    appendFileSync(path, buffer.text.join(''))
    buffer.text = []
    buffer.length = 0
  }
}
