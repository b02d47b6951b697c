import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { HistoryRecord } from '../history.ts'

type Without<Record> = Record extends HistoryRecord ? Omit<Record, 'at'> : never

/** Writes the history: each record gets its time, on one clock, in the moment it is handed over. */
export type Recorder = {
  /** Milliseconds since the storm began. */
  now(): number
  append(record: Without<HistoryRecord>): void
  /** Shows every record from now on to somebody. */
  listen(listener: (record: Without<HistoryRecord>) => void): void
  /** Records so far, by their type. */
  counts: ReadonlyMap<string, number>
  close(): Promise<void>
}

export function createRecorder(path: string): Recorder {
  const startedAtMs = performance.now()
  const file = createWriteStream(path)
  const counts = new Map<string, number>()
  const listeners: ((record: Without<HistoryRecord>) => void)[] = []
  let isClosed = false
  const now = () => Math.round((performance.now() - startedAtMs) * 1_000) / 1_000
  return {
    now,
    append: (record) => {
      // What happens while the processes are ended in order is no part of the storm.
      if (isClosed) return
      counts.set(record.type, (counts.get(record.type) ?? 0) + 1)
      file.write(`${JSON.stringify({ at: now(), ...record })}\n`)
      for (const listener of listeners) listener(record)
    },
    listen: (listener) => void listeners.push(listener),
    counts,
    close: async () => {
      isClosed = true
      file.end()
      await finished(file)
    },
  }
}
