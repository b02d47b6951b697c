import { describe, expect, it } from 'vitest'
import { renderChart } from '../../bench/chart.ts'
import { concludeScenario } from '../../bench/result.ts'
import type { Machine } from '../../bench/machine.ts'
import type { Measurement } from '../../bench/metrics.ts'
import type { Scenario } from '../../bench/scenario.ts'

const machine: Machine = {
  cpu: 'Abacus <2000> & "Sons"',
  cores: 2,
  memoryGb: 4,
  system: 'linux',
  node: 'v20',
  postgres: '18',
  postgresSettings: { fsync: 'on' },
  redis: '7',
  commit: 'abcdef0',
}

function draw(scenario: Partial<Scenario>, rounds: Record<string, Measurement[]>): string {
  const result = concludeScenario(
    {
      name: 'uniform',
      title: 'Single transfers',
      contenders: async () => [],
      ratios: [],
      targets: [],
      ...scenario,
    },
    new Map(Object.entries(rounds)),
  )
  return renderChart([{ startedAt: '2026-01-02T03:04:05.000Z', machine, scenarios: [result] }])
}

describe('the chart of a run', () => {
  it('shows the median of each contender with its lowest and highest round', () => {
    const page = draw(
      { ratios: [{ metric: 'settledPerSecond', of: 'payonce', to: 'function' }] },
      {
        payonce: [100, 300, 200].map((settledPerSecond) => ({ settledPerSecond })),
        function: [400, 400, 400].map((settledPerSecond) => ({ settledPerSecond })),
      },
    )
    expect(page).toContain('200 (100 to 300)')
    expect(page).toContain('400 (400 to 400)')
    expect(page).toContain('0.50× payonce / function')
  })

  it('makes the longest bar as wide as there is room, and the others in proportion', () => {
    const page = draw({}, { a: [{ settledPerSecond: 400 }], b: [{ settledPerSecond: 100 }] })
    const widths = [...page.matchAll(/class="bar"[^>]* width="([\d.]+)"/g)].map(([, w]) =>
      Number(w),
    )
    expect(widths).toHaveLength(2)
    expect(widths[0]).toBeCloseTo(4 * (widths[1] ?? 0), 0)
  })

  it.each([
    { settledPerSecond: 1_600, verdict: '<span class="met">met</span>' },
    { settledPerSecond: 1_400, verdict: '<span class="missed">missed</span>' },
  ])('marks a target at $settledPerSecond as $verdict', ({ settledPerSecond, verdict }) => {
    const targets = [{ metric: 'settledPerSecond', of: 'payonce', atLeast: 1_500 }] as const
    const page = draw({ targets }, { payonce: [{ settledPerSecond }] })
    expect(page).toContain(verdict)
    expect(page.match(/class="target"/g)).toHaveLength(1)
  })

  it('says what a contender is bound by', () => {
    const page = draw({ explain: () => 'bound by the disk' }, { payonce: [{ drainMs: 1 }] })
    expect(page).toContain('payonce: bound by the disk')
  })

  it('escapes all that it is told', () => {
    const hostile = `<script>alert("1")</script>&'`
    const page = draw(
      { name: hostile, title: hostile, explain: () => hostile },
      { [hostile]: [{ p50Ms: 1 }] },
    )
    expect(page).not.toContain('<script')
    expect(page).toContain('Abacus &lt;2000&gt; &amp; &quot;Sons&quot;')
  })

  it('leaves out what a kept file has no number for', () => {
    const page = draw(
      { targets: [{ metric: 'p99Ms', of: 'payonce', atMost: 150 }] },
      { payonce: [{ p99Ms: Number.NaN }] },
    )
    expect(page).not.toContain('NaN')
    expect(page).toContain('not measured')
  })

  it('needs nothing from elsewhere', () => {
    const page = draw({}, { payonce: [{ p50Ms: 1 }] })
    expect(page).not.toMatch(/https?:|<link|<script|url\(/)
  })
})
