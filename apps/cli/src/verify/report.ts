import { MAX_NAMED_FAULTS, rules, type Fault } from '@payonce/core/verify/findings'
import type { Verdict } from '@payonce/core/verify/verify'

/** The first rows that break each rule, under its sentence; nothing where all holds. */
export function describeFaults({ findings }: Pick<Verdict, 'findings'>): string {
  return findings
    .filter(({ faults }) => faults > 0)
    .map(({ rule, faults, first }) => {
      const more = faults > MAX_NAMED_FAULTS ? `\n  … and ${faults - MAX_NAMED_FAULTS} more` : ''
      return `BROKEN ${rule}: ${rules[rule]}\n${first.map(describeFault).join('\n')}${more}\n\n`
    })
    .join('')
}

function describeFault({ table, ids, expected, found }: Fault): string {
  const names = Object.entries(ids).map(([column, value]) => `${column}=${value}`)
  return `  ${[table, ...names].join(' ')}\n    expected ${expected}\n    found    ${found}`
}

/** One line per rule: what was checked, and how much of it is wrong. */
export function describeTable({ findings }: Pick<Verdict, 'findings'>): string {
  const rows = [
    ['rule', 'rows checked', 'faults'],
    ...findings.map(({ rule, checked, faults }) => [
      rule,
      checked.toLocaleString('en'),
      faults.toLocaleString('en'),
    ]),
  ]
  return rows
    .map(
      ([rule = '', checked = '', faults = '']) =>
        `${rule.padEnd(24)}${checked.padStart(14)}${faults.padStart(10)}`,
    )
    .join('\n')
}
