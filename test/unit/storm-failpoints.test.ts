import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { plants } from '../../storm/plants/catalogue.ts'
import {
  apiFailpoints,
  deliveryFailpoints,
  failpointPatches,
  settlementFailpoints,
  sweepFailpoints,
} from '../../storm/sources/failpoints.ts'
import { AnchorError, applyPatches, writePatchedSources } from '../../storm/sources/patch.ts'
import { readSources, repositoryRoot } from './sources.ts'

const folder = mkdtempSync(join(tmpdir(), 'payonce-failpoints-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('a patch', () => {
  const patch = { file: 'a.ts', anchor: 'two', text: '2' } as const

  it('stands before, after or instead of its anchor', () => {
    const apply = (put: 'before' | 'after' | 'instead') =>
      applyPatches('one two three', [{ ...patch, put }])
    expect(apply('before')).toBe('one 2two three')
    expect(apply('after')).toBe('one two2 three')
    expect(apply('instead')).toBe('one 2 three')
  })

  it('is refused where its anchor is not there exactly once', () => {
    for (const source of ['one three', 'two two']) {
      expect(() => applyPatches(source, [{ ...patch, put: 'after' }])).toThrow(AnchorError)
    }
  })
})

describe('failpoints', () => {
  const written = join(folder, 'failpoints')
  writePatchedSources(failpointPatches, { root: repositoryRoot, folder: written })
  const patched = readdirSync(written, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(written, name), 'utf8'))
    .join('\n')

  it('have their places in the present sources', () => {
    expect(patched.match(/stormFailpoint|stormLateFailpoint/g)?.length).toBeGreaterThan(15)
  })

  it('that a fault can be aimed at are called somewhere', () => {
    const names = [
      apiFailpoints,
      settlementFailpoints,
      sweepFailpoints,
      deliveryFailpoints,
    ].flatMap((points) => Object.values<string>(points))
    for (const name of names) {
      // Those that two kinds of processes share are named by what runs: the pool or the queue.
      const [, step = ''] = name.split(':')
      const isShared = /^(?:payonce-|settlement:)/.test(name)
      expect(patched).toContain(isShared ? `}:${step}\`` : `'${name}'`)
    }
  })

  it('are no part of the product', () => {
    for (const { path, code } of readSources()) {
      expect(`${path}: ${/storm|failpoint/i.exec(code)?.[0]}`).toBe(`${path}: undefined`)
    }
  })
})

describe('a planted bug', () => {
  it.each(plants)('has its place beside the failpoints: $name', ({ name, patches }) => {
    writePatchedSources([...failpointPatches, ...patches], {
      root: repositoryRoot,
      folder: join(folder, name),
    })
  })
})

describe('a process with patched sources', () => {
  const sources = join(folder, 'sources')
  const program = join(folder, 'program.mjs')
  const orders = join(folder, 'orders.json')
  const clock = 'packages/core/src/clock.ts'
  writePatchedSources(
    [
      {
        file: clock,
        anchor: 'export function createClock',
        put: 'before',
        text: "export const patched: string = 'patched'\n",
      },
    ],
    { root: repositoryRoot, folder: sources },
  )

  function run(code: string, told: object, env: Record<string, string> = {}) {
    writeFileSync(orders, JSON.stringify(told))
    writeFileSync(program, code)
    const register = join(repositoryRoot, 'storm/sources/register.mjs')
    return spawnSync(process.execPath, ['--import', register, '--import', 'tsx', program], {
      cwd: repositoryRoot,
      encoding: 'utf8',
      env: {
        PATH: process.env.PATH ?? '',
        STORM_SOURCES: sources,
        STORM_ORDERS: orders,
        ...env,
      },
    })
  }

  it('runs them instead of the product’s', () => {
    const path = JSON.stringify(join(repositoryRoot, clock))
    const { stdout } = run(`console.log((await import(${path})).patched)`, {})
    expect(stdout).toBe('patched\n')
  })

  it('is killed at the failpoint that it is told, at the hit that it is told', () => {
    const { stdout, signal } = run(
      `for (const n of [1, 2, 3]) {
         stormFailpoint('another')
         stormFailpoint('here')
         console.log(n)
       }`,
      { failpoint: { name: 'here', hit: 2, action: 'kill' } },
    )
    expect(signal).toBe('SIGKILL')
    const [first, second, ...rest] = stdout.trim().split('\n')
    expect(first).toBe('1')
    expect(JSON.parse(second ?? '')).toMatchObject({ failpoint: 'here', action: 'kill' })
    expect(rest).toEqual([])
  })

  it('has a wrong clock where it is told so', () => {
    const { stdout } = run(
      'console.log(JSON.stringify([Date.now(), new Date().getTime(), new Date(5).getTime()]))',
      { clockOffsetMs: 3_600_000 },
    )
    const [now = 0, made = 0, given] = JSON.parse(stdout) as number[]
    for (const time of [now, made])
      expect(Math.abs(time - Date.now() - 3_600_000)).toBeLessThan(60_000)
    expect(given).toBe(5)
  })

  it('does not run in production', () => {
    const { status, stderr } = run('', {}, { NODE_ENV: 'production' })
    expect(status).not.toBe(0)
    expect(stderr).toContain('failpoints are no part of production')
  })
})
