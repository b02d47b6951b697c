import { hash } from 'node:crypto'

/**
 * A table from the fingerprint of a name to the fingerprint of its content and the line where it
 * first stood: 20 bytes an entry instead of the few hundred that strings would take. It grows to
 * `maxEntries` and then tells that it is full.
 *
 * Names are told apart by 64 bits of SHA-256. Two different names among three million alike: a
 * chance of 1 in 4 million, and it would show as an error in the file, never as an order lost,
 * because a repetition must also agree in 64 bits of content.
 */
export function createFingerprints(maxEntries: number = MAX_ENTRIES): Fingerprints {
  let table = createTable(Math.min(START_SLOTS, slotsFor(maxEntries)))
  let entries = 0

  function grow(): void {
    const old = table
    table = createTable(old.lines.length * 2)
    for (let slot = 0; slot < old.lines.length; slot += 1) {
      if (old.lines[slot] !== 0)
        copy(old, slot, table, findSlot(table, old.high[slot], old.low[slot]))
    }
  }

  return {
    get size() {
      return entries
    },
    add(name, content, line) {
      const nameHash = hash('sha256', name, 'buffer')
      const contentHash = hash('sha256', content, 'buffer')
      const high = nameHash.readUInt32LE(0)
      const low = nameHash.readUInt32LE(4)
      let slot = findSlot(table, high, low)
      const knownLine = table.lines[slot] ?? 0
      if (knownLine !== 0) {
        const same =
          table.contentHigh[slot] === contentHash.readUInt32LE(0) &&
          table.contentLow[slot] === contentHash.readUInt32LE(4)
        return { kind: same ? 'repeated' : 'changed', line: knownLine }
      }
      if (entries >= maxEntries) return { kind: 'full' }
      if (entries + 1 > table.lines.length * MAX_LOAD) {
        grow()
        slot = findSlot(table, high, low)
      }
      table.high[slot] = high
      table.low[slot] = low
      table.contentHigh[slot] = contentHash.readUInt32LE(0)
      table.contentLow[slot] = contentHash.readUInt32LE(4)
      table.lines[slot] = line
      entries += 1
      return { kind: 'new' }
    },
  }
}

export type Fingerprints = {
  readonly size: number
  /** `line` counts from 1. */
  add(name: string, content: string, line: number): Seen
}

/** `line` is where the name stood first. `full`: unknown name, and no room to remember it. */
export type Seen =
  | { kind: 'new' }
  | { kind: 'repeated'; line: number }
  | { kind: 'changed'; line: number }
  | { kind: 'full' }

/** A set of lines, one bit each: a hundred million lines take 12.5 MB. */
export function createLineSet(): LineSet {
  let bits = new Uint32Array(1024)
  let size = 0
  return {
    get size() {
      return size
    },
    has: (line) => (((bits[line >>> 5] ?? 0) >>> (line & 31)) & 1) === 1,
    add(line) {
      if (this.has(line)) return
      const word = line >>> 5
      if (word >= bits.length) {
        const longer = new Uint32Array(Math.max(bits.length * 2, word + 1))
        longer.set(bits)
        bits = longer
      }
      bits[word] = (bits[word] ?? 0) | (1 << (line & 31))
      size += 1
    },
  }
}

export type LineSet = { readonly size: number; has(line: number): boolean; add(line: number): void }

type Table = {
  high: Uint32Array
  low: Uint32Array
  contentHigh: Uint32Array
  contentLow: Uint32Array
  /** 0 marks a free slot: lines count from 1. */
  lines: Uint32Array
}

function createTable(slots: number): Table {
  return {
    high: new Uint32Array(slots),
    low: new Uint32Array(slots),
    contentHigh: new Uint32Array(slots),
    contentLow: new Uint32Array(slots),
    lines: new Uint32Array(slots),
  }
}

/** The slot of this name, or the free one where it belongs (open addressing, linear probing). */
function findSlot(table: Table, high = 0, low = 0): number {
  const mask = table.lines.length - 1
  let slot = low & mask
  while (table.lines[slot] !== 0 && (table.high[slot] !== high || table.low[slot] !== low)) {
    slot = (slot + 1) & mask
  }
  return slot
}

function copy(from: Table, at: number, to: Table, slot: number): void {
  for (const column of ['high', 'low', 'contentHigh', 'contentLow', 'lines'] as const) {
    to[column][slot] = from[column][at] ?? 0
  }
}

/** The smallest power of two that holds so many entries at the highest load. */
function slotsFor(entries: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(entries / MAX_LOAD, 2)))
}

// Linear probing stays short up to there.
const MAX_LOAD = 0.75
const START_SLOTS = 65_536
// 4,194,304 slots of 20 bytes: 84 MB when full.
const MAX_ENTRIES = 4_194_304 * MAX_LOAD
