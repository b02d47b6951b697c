import type { Patch } from '../sources/patch.ts'

/** A bug, planted into the processes of one storm to see that the checker finds it. */
export type Plant = {
  name: string
  /** What is wrong, in words. */
  bug: string
  patches: readonly Patch[]
  /** What the bug lacks in the database, run before the storm. */
  statements?: readonly string[]
  /** Settings of Postgres that make it show. */
  settings?: Readonly<Record<string, string>>
  /** The faults under which it shows, for a storm that names none itself. */
  faults: readonly string[]
  /** The invariants that it breaks, by their numbers: each of them has to find it. */
  breaks: readonly number[]
  /** What the harness itself says, where the books alone do not show it. */
  says?: RegExp
}
