import { onFirstSignal, runUntilSignal, type Service } from '@payonce/core/process'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

/** Thrown in place of ending this process, which runs the tests. */
class Exit extends Error {}

const signals = ['SIGINT', 'SIGTERM'] as const
/** The runner's own. */
const listenersBefore = signals.flatMap((signal) => process.listeners(signal))

const exit = vi.spyOn(process, 'exit')
const complain = vi.spyOn(console, 'error')

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
  exit.mockReset().mockImplementation(() => {
    throw new Exit()
  })
  complain.mockReset().mockReturnValue()
})

afterEach(() => {
  vi.useRealTimers()
  for (const signal of signals) {
    const ours = process.listeners(signal).filter((one) => !listenersBefore.includes(one))
    ours.forEach((listener) => process.off(signal, listener))
  }
})

const receive = (signal: (typeof signals)[number]) => process.emit(signal, signal)

describe('the first signal', () => {
  it.each(signals)('is told, when it is %s', (signal) => {
    const told = vi.fn()
    onFirstSignal(told)
    receive(signal)
    expect(told.mock.calls).toEqual([[signal]])
  })

  it('is told once where npm passes it on a moment later', () => {
    const told = vi.fn()
    onFirstSignal(told)
    receive('SIGINT')
    vi.advanceTimersByTime(400)
    receive('SIGINT')
    expect(told).toHaveBeenCalledOnce()
    expect(exit).not.toHaveBeenCalled()
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    'is followed by %s of someone who will not wait, with exit code %i',
    (signal, code) => {
      onFirstSignal(() => undefined)
      receive('SIGINT')
      vi.advanceTimersByTime(600)
      expect(() => receive(signal)).toThrow(Exit)
      expect(exit).toHaveBeenCalledWith(code)
    },
  )

  it('is not told to one that listens no more', () => {
    const told = vi.fn()
    onFirstSignal(told)()
    receive('SIGINT')
    expect(told).not.toHaveBeenCalled()
  })
})

describe('a service', () => {
  /** Runs until it would have exited, or returns undefined where it goes on. */
  const run = (start: () => Promise<Service>) =>
    runUntilSignal('name', start).catch((error: unknown) => {
      if (!(error instanceof Exit)) throw error
    })

  it('is closed by a signal that comes in the very moment in which it has started', async () => {
    exit.mockImplementation((() => undefined) as typeof process.exit)
    const close = vi.fn(async () => undefined)
    await run(async () => {
      setImmediate(() => receive('SIGTERM'))
      return { close }
    })
    expect(close).toHaveBeenCalledOnce()
    expect(exit.mock.calls).toEqual([[0]])
  })

  it('is not waited for where a signal comes while it starts', () => {
    void run(() => new Promise(() => undefined))
    expect(() => receive('SIGINT')).toThrow(Exit)
    expect(exit).toHaveBeenCalledWith(130)
  })

  it('that fails while it runs says why in one line, and is not closed in order', async () => {
    exit.mockImplementation((() => undefined) as typeof process.exit)
    const close = vi.fn(async () => undefined)
    await run(async () => ({ close, failed: Promise.resolve(new Error('nothing moves')) }))
    expect(close).not.toHaveBeenCalled()
    expect(complain.mock.calls).toEqual([['name: nothing moves']])
    expect(exit.mock.calls).toEqual([[1]])
  })

  it('that cannot start says why in one line', async () => {
    exit.mockImplementation((() => undefined) as typeof process.exit)
    await run(() => Promise.reject(new Error('there is no database')))
    expect(complain.mock.calls).toEqual([['name: there is no database']])
    expect(exit.mock.calls).toEqual([[1]])
  })
})
