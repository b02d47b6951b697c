/** Every rule that is checked, in the order in which it is told, as a sentence that must be true. */
export const rules = {
  balances_sum_to_zero: 'the balances of a tenant sum to zero in each currency',
  balance_is_last_entry: 'an account stands where its last entry has left it',
  entries_form_a_chain: 'the entries of an account form a chain without a gap',
  held_is_open_holds: 'what is held is the open remainder of the held transfers',
  limits_hold: 'no internal account is or was below its overdraft limit',
  entries_match_transfers: 'a transfer that moved money has two entries per leg, no other has any',
  transfers_match_keys: 'a transfer is the one that its key was accepted for',
  parents_match_children: 'what was captured and refunded is what the children moved',
  statuses_are_consistent: 'kind, status and failure code of a transfer fit together',
  due_is_settled: 'what is due below the watermark is settled or put aside',
  settlements_are_sealed: 'the rows of every settlement make its seal again',
  chains_are_whole: 'the chains of seals have no gap and no cut tail',
} as const

export type Rule = keyof typeof rules

/** A row that breaks a rule. */
export type Fault = {
  rule: Rule
  table: string
  /** What names the row, column by column. */
  ids: Readonly<Record<string, string>>
  expected: string
  found: string
}

export type RuleFindings = { rule: Rule; checked: number; faults: number; first: readonly Fault[] }

/** So many rows are named per rule: enough to see a pattern, and few enough to read. */
export const MAX_NAMED_FAULTS = 10

/** Counts what was checked and what was found, in constant memory. */
export class Findings {
  readonly #byRule = new Map<Rule, { checked: number; faults: number; first: Fault[] }>()

  checked(rule: Rule, rows: number): void {
    this.#of(rule).checked += rows
  }

  /** Notes a row that breaks a rule. */
  fault(rule: Rule, fault: Omit<Fault, 'rule'>): void {
    const findings = this.#of(rule)
    findings.faults++
    if (findings.first.length < MAX_NAMED_FAULTS) findings.first.push({ rule, ...fault })
  }

  /** Notes a row that breaks a rule, unless what was found is what was expected. */
  compare(
    rule: Rule,
    row: Pick<Fault, 'table' | 'ids'>,
    { what, expected, found }: { what: string; expected: Value; found: Value },
  ): void {
    if (expected === found) return
    this.fault(rule, { ...row, expected: `${what} ${show(expected)}`, found: show(found) })
  }

  /** How many rows break a rule so far. */
  get faults(): number {
    return [...this.#byRule.values()].reduce((sum, { faults }) => sum + faults, 0)
  }

  /** One per rule, whether anything was found or not. */
  all(): RuleFindings[] {
    return Object.keys(rules)
      .filter(isRule)
      .map((rule) => ({ rule, ...this.#of(rule) }))
  }

  #of(rule: Rule) {
    const known = this.#byRule.get(rule)
    if (known !== undefined) return known
    const fresh = { checked: 0, faults: 0, first: [] }
    this.#byRule.set(rule, fresh)
    return fresh
  }
}

function isRule(name: string): name is Rule {
  return Object.hasOwn(rules, name)
}

type Value = string | number | bigint | boolean | null

function show(value: Value): string {
  return value === null ? 'nothing' : value.toString()
}
