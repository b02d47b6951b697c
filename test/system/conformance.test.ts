import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { conformance } from '../../apps/cli/src/conformance/conformance.ts'
import { rows } from '../../apps/cli/src/conformance/rows.ts'
import { createConformanceKeys, type ConformanceKeys } from '../support/conformance.ts'
import { startFaultyServer } from '../support/faulty-server.ts'
import { startPayonce, type Payonce } from '../support/payonce.ts'
import { faults, type FaultName } from '../support/planted-faults.ts'
import { startProgram } from '../support/processes.ts'

/*
 * `npm run conformance` itself: a tool that says ok is worth nothing until it has said no. Each
 * fault is planted in a server of its own (see planted-faults.ts); docs/reference/conformance.md
 * shows the same table.
 */

let payonce: Payonce

beforeAll(async () => {
  payonce = await startPayonce()
})

describe('npm run conformance', () => {
  it('passes a server that does everything right, and writes the results to a file', async () => {
    const keys = await createConformanceKeys(payonce, 'right')
    const folder = await mkdtemp(join(tmpdir(), 'payonce-conformance-'))
    try {
      const json = join(folder, 'results.json')
      const tool = await startTool([...argumentsOf(payonce.api.url, keys), '--json', json])
      expect([(await tool.exited).code, lastLineOf(tool.output())]).toEqual([
        0,
        expect.stringMatching(/^33 ok, 0 failed, 12 not applicable, in /),
      ])
      expect(tool.output()).toMatch(/^ok {6}I2 {3}the same request again$/m)
      const report = JSON.parse(await readFile(json, 'utf8')) as { counts: object; rows: object[] }
      expect(report.counts).toEqual({ ok: 33, failed: 0, not_applicable: 12 })
      expect(report.rows).toHaveLength(45)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('runs a second time on the same tenant, whose hostile keys are used by then', async () => {
    const keys = await createConformanceKeys(payonce, 'twice')
    const I40 = [...argumentsOf(payonce.api.url, keys), '--rows', 'I40']
    expect((await run(I40)).code).toBe(0)
    const second = await run(I40)
    expect([second.code, second.failed]).toEqual([0, []])
    expect(second.text).toContain('keys that an earlier run had used were looked up')
  })

  it('says what it could not run, with one credential alone', async () => {
    const { key } = await createConformanceKeys(payonce, 'alone')
    const rowsWanted = ['--rows', 'I7,I8,I10,I24']
    const { code, text } = await run(['--url', payonce.api.url, '--key', key, ...rowsWanted])
    expect(code).toBe(0)
    expect(text).toContain('why: give --other-tenant-key')
    expect(text).toContain('why: give --second-key')
    expect(text).toContain('why: give --other-mode-key')
    expect(text).toContain('why: HTTP is not enough: the API has to be killed')
    expect(lastLineOf(text)).toMatch(/^0 ok, 0 failed, 4 not applicable/)
  })

  it('ends with 1 as a process, when a row fails', async () => {
    const keys = await createConformanceKeys(payonce, 'process')
    const server = await startFaultyServer(payonce.api.url, 'drops the replay marker')
    const tool = await startTool([...argumentsOf(server.url, keys), '--rows', 'I1,I2'])
    expect((await tool.exited).code).toBe(1)
    expect(tool.output()).toContain('SEEN: the second POST: Idempotent-Replayed: nothing instead')
    expect(lastLineOf(tool.output())).toMatch(/^1 ok, 1 FAILED \(I2\), 0 not applicable/)
    await server.close()
  })

  it.each<[what: string, argv: string[], message: RegExp]>([
    ['an unknown option', ['--speed', '9'], /--speed/],
    ['no URL', ['--url', 'localhost'], /--url takes a URL/],
    ['an unknown row', ['--rows', 'I1,I46'], /not I46/],
    ['a server that is not there', ['--url', 'http://127.0.0.1:9', '--key', 'k'], /reached/],
    ['a key that is not accepted', ['--url', '$url', '--key', 'po_test_x'], /401 unauthorized/],
  ])('ends with 2 for %s', async (_what, argv, message) => {
    const { code, text } = await run(argv.map((text) => text.replace('$url', payonce.api.url)))
    expect(code).toBe(2)
    expect(text).toMatch(message)
  })
})

describe('on a server with a planted fault', () => {
  it.each(Object.entries(faults))('that %s, it fails the rows of that', async (name, { fails }) => {
    const keys = await createConformanceKeys(payonce, name)
    const server = await startFaultyServer(payonce.api.url, name as FaultName)
    // And one row that does not have to fail, where there is one.
    const control = fails.some((row) => row === 'I1') ? 'I16' : 'I1'
    const result = await run([
      ...argumentsOf(server.url, keys),
      '--rows',
      [control, ...fails].join(','),
      '--settle-within',
      '2',
    ])
    expect([result.failed, result.code]).toEqual([fails, 1])
    await server.close()
  })

  it('every row that HTTP can show is failed by some fault', () => {
    const failed = new Set(Object.values(faults).flatMap(({ fails }) => [...fails]))
    const runnable = rows.filter((row) => !('beyondHttp' in row))
    expect(runnable.map(({ row }) => row).filter((row) => !failed.has(row))).toEqual([])
  })

  it('the documentation tells these faults and rows, and no others', async () => {
    const page = new URL('../../docs/reference/conformance.md', import.meta.url)
    const rowsOf = (text: string) =>
      text
        .split('\n')
        .filter((line) => line.startsWith('|'))
        .map((line) =>
          line
            .split('|')
            .slice(1, -1)
            .map((cell) => cell.trim()),
        )
    const [, section = ''] = (await readFile(page, 'utf8')).split('## What it has been seen')
    const [, , ...told] = rowsOf(section)
    expect(told).toEqual(Object.entries(faults).map(([name, { fails }]) => [name, fails.join(' ')]))
  })
})

function argumentsOf(url: string, keys: ConformanceKeys): string[] {
  const options = {
    '--url': url,
    '--key': keys.key,
    '--second-key': keys.secondKey,
    '--other-tenant-key': keys.otherTenantKey,
    '--other-mode-key': keys.otherModeKey,
    '--read-only-key': keys.readOnlyKey,
  }
  return Object.entries(options).flat()
}

function startTool(args: readonly string[]) {
  return startProgram('apps/cli/src/conformance/main.ts', { args })
}

/** The command within this process: what it says, its exit code, and the rows that failed. */
async function run(argv: readonly string[]) {
  let text = ''
  const write = (more: string) => {
    text += more
  }
  const code = await conformance(argv, {}, { print: write, tell: write, isTerminal: false })
  const failed = [...text.matchAll(/^FAILED +(I\d+)/gm)].map(([, row]) => row ?? '')
  return { code, text, failed }
}

function lastLineOf(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? ''
}
