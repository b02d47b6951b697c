import { beforeEach, describe, expect, it } from 'vitest'
import { createExpectations, type Noted } from '../../storm/expectations.ts'

let found: string[]
let nowMs: number
let see: (record: Noted) => void

beforeEach(() => {
  found = []
  nowMs = 0
  const expectations = createExpectations((finding) => found.push(finding))
  see = (record) => expectations.see(record, nowMs)
})

function call(number: number, { status, tookMs = 10 }: { status?: number; tookMs?: number }): void {
  const operation = { kind: 'read', target: 'tr_1' } as const
  see({ type: 'invoked', call: number, client: 'client', tenant: 'tenant', operation })
  nowMs += tookMs
  see(
    status === undefined
      ? { type: 'lost', call: number, reason: 'ECONNRESET: read ECONNRESET' }
      : { type: 'answered', call: number, status, bodyHash: '', isReplay: false },
  )
}

function fault(name: string, phase: 'begin' | 'end'): void {
  see({ type: 'fault', number: 1, name, phase, target: 'redis', inFlight: 0 })
}

describe('what a client may see in a storm', () => {
  it.each([200, 201, 202, 404, 409, 422, 429, 503])('is %i', (status) => {
    call(1, { status })
    expect(found).toEqual([])
  })

  it.each([400, 401, 500, 502])('is never %i', (status) => {
    call(1, { status })
    expect(found).toEqual([expect.stringContaining(`call 1 was answered with ${status}`)])
  })

  it('is a cut connection, but not while processes are started anew one after the other', () => {
    call(1, {})
    expect(found).toEqual([])
    fault('F6 rolling restart', 'begin')
    call(2, {})
    see({ type: 'lost', call: 3, reason: 'ECONNREFUSED: connect ECONNREFUSED 127.0.0.1:1' })
    expect(found).toEqual([expect.stringContaining('call 2 was cut off')])
  })

  it('is an answer within 2 s, whatever Redis does', () => {
    call(1, { status: 202, tookMs: 3_000 })
    fault('F7 frozen', 'begin')
    call(2, { status: 202, tookMs: 1_900 })
    expect(found).toEqual([])
    call(3, { status: 202, tookMs: 2_100 })
    call(4, {})
    fault('F7 frozen', 'end')
    expect(found).toEqual([
      expect.stringContaining('call 3 was answered after 2100 ms'),
      expect.stringContaining('call 4 has no answer'),
    ])
  })

  it('is an acceptance at least, whatever Redis does', () => {
    fault('F7 FLUSHALL', 'begin')
    fault('F7 FLUSHALL', 'end')
    expect(found).toEqual([])
    fault('F7 kill', 'begin')
    call(1, { status: 503, tookMs: 1_000 })
    call(2, { status: 503, tookMs: 1_000 })
    fault('F7 kill', 'end')
    expect(found).toEqual(['F7 kill: nothing was accepted'])
  })
})

describe('a process', () => {
  it('ends when it is killed or asked to, and never by itself', () => {
    const exited = (isExpected: boolean) =>
      see({ type: 'exited', process: 'worker-1', code: 1, signal: null, isExpected })
    exited(true)
    expect(found).toEqual([])
    exited(false)
    expect(found).toEqual(['worker-1 ended by itself, with 1'])
  })
})
