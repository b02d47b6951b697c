/** What one invariant found: how much it looked at, and where it does not hold. */
export type Finding = {
  /** As in the list of invariants; 0 is what every row of the table of faults demands besides. */
  invariant: number
  title: string
  /** Facts looked at: an invariant that looked at none holds of nothing. */
  facts: number
  /** All that were found; `violations` shows the first of them. */
  count: number
  violations: readonly Violation[]
}

export type Violation = { invariant: number; text: string; where: string }

/** What an invariant tells while it looks. */
export type Report = {
  /** So many facts were looked at, good or bad. */
  saw(facts?: number): void
  /** Here it does not hold. `where` names the key, transfer or account; `text` what was expected and found. */
  breach(where: string, text: string): void
}

/** 25: enough to see a pattern, and a page that can still be read. */
const maxShown = 25

/** Lets an invariant look, and collects what it tells. */
export function collect(
  { invariant, title }: Pick<Finding, 'invariant' | 'title'>,
  look: (report: Report) => void,
): Finding {
  const violations: Violation[] = []
  let facts = 0
  let count = 0
  look({
    saw: (seen = 1) => (facts += seen),
    breach(where, text) {
      count += 1
      if (violations.length < maxShown) violations.push({ invariant, text, where })
    },
  })
  return { invariant, title, facts, count, violations }
}
