import { appendFileSync, writeFileSync } from 'node:fs'

/** What Postgres says of itself, kept beside the history of a storm. */
export type PostgresLog = {
  write(line: string): void
  /** The deadlocks that Postgres has broken, in the order in which it told of them. */
  deadlocks(): readonly Deadlock[]
}

export type Deadlock = {
  /**
   * BullMQ renews the locks of many jobs in one statement and marks or claims them in others, in
   * different orders. Its transactions touch no table of ours, so no transfer waits in such a circle.
   */
  isOfQueue: boolean
  /** The error, who waited for whom, and the statements. */
  text: string
}

/** The settings under which a log says all that is looked for here; it holds what clients sent. */
export const tellingSettings = { log_error_verbosity: 'default' }

/** A message is "2026-11-24 19:50:55.406 UTC [3948] ERROR:  …", and its further lines are indented. */
const beginsDeadlock = /\bERROR: {2}deadlock detected$/
const goesOn = /^\s|\] (DETAIL|HINT|CONTEXT):/
/** Who stood in the circle, and with which statement. */
const member = /^\tProcess \d+: (.*)$/gm
/** Each statement of BullMQ's begins with a comment, and none of ours does. */
const isOfQueue = (text: string) => {
  const statements = [...text.matchAll(member)].map(([, statement = '']) => statement)
  return statements.length > 0 && statements.every((statement) => statement.startsWith('-- '))
}

export function keepPostgresLog(path: string): PostgresLog {
  writeFileSync(path, '')
  const texts: string[] = []
  let isInDeadlock = false
  return {
    write: (line) => {
      appendFileSync(path, `${line}\n`)
      const begins = beginsDeadlock.test(line)
      isInDeadlock = begins || (isInDeadlock && goesOn.test(line))
      if (begins) texts.push(line)
      else if (isInDeadlock) texts.push(`${texts.pop()}\n${line}`)
    },
    deadlocks: () => texts.map((text) => ({ isOfQueue: isOfQueue(text), text })),
  }
}
