import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startProgram } from '../support/processes.ts'
import type { HistoryRecord } from '../../storm/history.ts'

/** What a storm tells and writes; it ends by itself. */
async function runStorm(...args: string[]) {
  const out = mkdtempSync(join(tmpdir(), 'payonce-storm-test-'))
  onTestFinished(() => rmSync(out, { recursive: true }))
  const storm = await startProgram('storm/main.ts', { args: [...args, '--out', out] })
  const { code } = await storm.exited
  const read = (name: string) => readFileSync(join(out, name), 'utf8')
  return { code, output: storm.output(), read }
}

test('a short storm kills an API under load, heals, and writes down what was seen', async () => {
  const options = '--seed 1 --seconds 6 --queue postgres --clients 8 --rate 40'.split(' ')
  const { code, output, read } = await runStorm(...options, '--faults', 'F1 kill')
  expect(`${code}\n${output}`).toMatch(/^0\n/)
  const plan = JSON.parse(read('plan.json')) as { faults: { name: string }[] }
  expect(plan.faults).toMatchObject([{ name: 'F1 kill' }])

  const history = read('history.jsonl')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as HistoryRecord)
  const times = history.map(({ at }) => at)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  const ofType = (type: HistoryRecord['type']) => history.filter((record) => record.type === type)
  for (const type of ['snapshot', 'webhook', 'gauge', 'recovered'] as const) {
    expect(ofType(type).length).toBeGreaterThan(0)
  }
  expect(ofType('fault')).toMatchObject([{ phase: 'begin' }, { phase: 'end' }])
  expect(ofType('exited')).toMatchObject([{ signal: 'SIGKILL', isExpected: true }])
  const ended = ofType('answered').length + ofType('lost').length
  expect(ofType('invoked')).toHaveLength(ended)
  expect(read('verdict.txt')).toMatch(/\npassed\n$/)
})

test('a storm that nobody can mean is refused with its usage', async () => {
  const { code, output } = await runStorm('--seed', '1', '--faults', 'F99')
  expect(code).toBe(2)
  expect(output).toContain('there is no fault F99')
  expect(output).toContain('Usage: npm run storm')
})
