import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { jobIdOf } from '@payonce/core/idempotency/job-id'
import { words } from './words.ts'

const tenantA = '0190f0e0-0000-7000-8000-00000000000a'
const tenantB = '0190f0e0-0000-7000-8000-00000000000b'

/** Every name that BullMQ or JavaScript gives a meaning to: as raw job ids they lose jobs or stop queues. */
const hostileKeys = words(`
    meta wait active delayed prioritized completed failed stalled events marker id
    pc limiter repeat paused waiting-children de stalled-check metrics:completed
    metrics:failed groups lock logs lr 0 123 -5 007 1e3 NaN Infinity a:b a:b:c : ::
    0:0:0 __proto__ constructor prototype toString hasOwnProperty null undefined
    true false ../x .. . / {x} {} * ? $1 %00 # ~ !
  `)

/** What BullMQ and Redis Cluster take as an ordinary name: not a number, no colon, no braces. */
const safeJobId = /^k_[A-Za-z0-9_-]{43}$/

describe('I40 the job id', () => {
  it.each(hostileKeys)('of the hostile key %s is a safe name', (key) => {
    const id = jobIdOf(tenantA, key)
    expect(id).toMatch(safeJobId)
    expect(hostileKeys).not.toContain(id)
    expect(String(Number.parseInt(id, 10))).not.toBe(id)
    expect(id).not.toContain(key.length > 2 ? key : ':')
  })

  it('of any key is a safe name', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 255 }), (key) => {
        expect(jobIdOf(tenantA, key)).toMatch(safeJobId)
      }),
    )
  })

  it('is the same for the same key, so that two rings are one job', () => {
    expect(jobIdOf(tenantA, 'order-7')).toBe(jobIdOf(tenantA, 'order-7'))
  })

  it('differs for every key', () => {
    const ids = hostileKeys.map((key) => jobIdOf(tenantA, key))
    expect(new Set(ids).size).toBe(hostileKeys.length)
    expect(jobIdOf(tenantA, 'abc')).not.toBe(jobIdOf(tenantA, 'ABC'))
  })

  it('differs for the same key of another tenant', () => {
    for (const key of hostileKeys) expect(jobIdOf(tenantA, key)).not.toBe(jobIdOf(tenantB, key))
  })

  it('tells where the tenant ends and the key begins', () => {
    expect(jobIdOf('ab', 'c')).not.toBe(jobIdOf('a', 'bc'))
  })

  it('is base64url of SHA-256 over tenant, NUL and key: another form would ring everything twice', () => {
    const bytes = Buffer.concat([Buffer.from(tenantA), Buffer.from([0]), Buffer.from('order-7')])
    const hash = createHash('sha256').update(bytes).digest('base64url')
    expect(jobIdOf(tenantA, 'order-7')).toBe(`k_${hash}`)
  })
})
