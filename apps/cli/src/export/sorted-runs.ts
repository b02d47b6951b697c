import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export type Keyed = { key: string; text: string }

/** 4 million characters, some 15,000 transfers: a few times that in memory, whatever is sorted. */
const charactersPerRun = 4_000_000

/**
 * Sorts more than fits into memory. No text may contain U+2028 or U+2029, at which readline parts lines.
 * What is added is sorted in runs, which lie in files under TMPDIR
 * and are merged in the end. A run is opened only when its first key is due: where the order of
 * adding is nearly the sorted one, few are open at a time.
 */
export class SortedRuns {
  readonly #charactersPerRun: number
  readonly #runs: { firstKey: string; path: string }[] = []
  #folder: string | undefined
  #current: Keyed[] = []
  #characters = 0

  constructor(options: { charactersPerRun?: number | undefined } = {}) {
    this.#charactersPerRun = options.charactersPerRun ?? charactersPerRun
  }

  add(item: Keyed): void {
    this.#current.push(item)
    this.#characters += item.key.length + item.text.length
    if (this.#characters >= this.#charactersPerRun) this.#writeRun()
  }

  /** All that was added, in the order of the keys. */
  async *merged(): AsyncGenerator<Keyed, void> {
    const waiting = this.#runs.toSorted((a, b) => compareKeys(a.firstKey, b.firstKey))
    const open = [toOpenRun(this.#takeSorted().values())].flatMap((run) => run ?? [])
    for (;;) {
      const least = leastOf(open)
      const next = waiting[0]
      if (next !== undefined && (least === undefined || next.firstKey <= least.head.key)) {
        waiting.shift()
        const run = await openFile(next.path)
        if (run !== undefined) open.push(run)
        continue
      }
      if (least === undefined) return
      yield least.head
      const { done, value } = await least.rest.next()
      if (done === true) open.splice(open.indexOf(least), 1)
      else least.head = value
    }
  }

  /** Removes the files, whether or not all was read. */
  remove(): void {
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }

  #takeSorted(): Keyed[] {
    const sorted = this.#current.toSorted((a, b) => compareKeys(a.key, b.key))
    this.#current = []
    this.#characters = 0
    return sorted
  }

  #writeRun(): void {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'payonce-export-'))
    const sorted = this.#takeSorted()
    const path = join(this.#folder, `${this.#runs.length}`)
    writeFileSync(path, sorted.map((item) => `${JSON.stringify(item)}\n`).join(''), { mode: 0o600 })
    this.#runs.push({ firstKey: sorted[0]?.key ?? '', path })
  }
}

type OpenRun = { head: Keyed; rest: Iterator<Keyed> | AsyncIterator<Keyed> }

function compareKeys(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function leastOf(open: readonly OpenRun[]): OpenRun | undefined {
  let least = open[0]
  for (const run of open) if (least === undefined || run.head.key < least.head.key) least = run
  return least
}

function toOpenRun(items: Iterator<Keyed>): OpenRun | undefined {
  const first = items.next()
  return first.done === true ? undefined : { head: first.value, rest: items }
}

async function openFile(path: string): Promise<OpenRun | undefined> {
  const rest = readItems(path)
  const first = await rest.next()
  return first.done === true ? undefined : { head: first.value, rest }
}

async function* readItems(path: string): AsyncGenerator<Keyed, void> {
  for await (const line of createInterface({ input: createReadStream(path) })) {
    yield JSON.parse(line) as Keyed
  }
}
