import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLimit } from '../../apps/cli/src/submit/limit.ts'
import { showProgress } from '../../apps/cli/src/submit/progress.ts'

describe('progress', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })

  afterEach(() => {
    vi.useRealTimers()
  })

  it('is one line on a terminal, cut to its width and wiped at the end', () => {
    const written: string[] = []
    const stream = { write: (text: string) => written.push(text), isTTY: true, columns: 11 }
    const progress = showProgress(stream, () => 'ten of one thousand')
    vi.advanceTimersByTime(400)
    progress.stop()
    vi.advanceTimersByTime(400)
    expect(written).toEqual(['\r\u001B[Kten of one', '\r\u001B[Kten of one', '\r\u001B[K'])
  })

  it('is a line every five seconds elsewhere', () => {
    const written: string[] = []
    let count = 0
    const progress = showProgress({ write: (text) => written.push(text) }, () => `${(count += 1)}`)
    vi.advanceTimersByTime(10_000)
    progress.stop()
    expect(written).toEqual(['1\n', '2\n'])
  })
})

describe('a limit', () => {
  it('runs so much at a time, first come, first served', async () => {
    const limit = createLimit(3)
    const begun: number[] = []
    let open = 0
    let mostOpen = 0
    const work = async (name: number) => {
      begun.push(name)
      open += 1
      mostOpen = Math.max(mostOpen, open)
      await Promise.resolve()
      open -= 1
      return name
    }
    const names = Array.from({ length: 5000 }, (_, index) => index)
    const done = await Promise.all(names.map((name) => limit.run(() => work(name))))
    expect(done).toEqual(names)
    expect(begun).toEqual(names)
    expect(mostOpen).toBe(3)
  })

  it('goes on after work that failed', async () => {
    const limit = createLimit(1)
    const failing = limit.run(() => Promise.reject(new Error('no')))
    const next = limit.run(() => Promise.resolve('yes'))
    await expect(failing).rejects.toThrow('no')
    expect(await next).toBe('yes')
  })
})
