import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { eventIdOf, positionOf } from '@payonce/core/events/event'
import { decodeId, encodeId, lowestIdAt } from '@payonce/core/ids'

const createdAt = new Date('2026-11-24T09:05:25.241Z')

/** All that 48 bits of milliseconds and a `Date` can hold: up to the year 10889. */
const times = fc.integer({ min: 0, max: 2 ** 48 - 1 }).map((ms) => new Date(ms))
/** 62 bits: a database that records a million events a second uses them up in 146,000 years. */
const positions = fc.bigInt({ min: 0n, max: 2n ** 62n - 1n })
const events = fc.record({ createdAt: times, position: positions })

describe('the id of an event', () => {
  it('is what consumers have already stored', () => {
    const id = eventIdOf({ createdAt, position: 4n })
    expect(id).toBe('01a20ccd-84f9-7000-8000-000000000004')
    expect(encodeId('event', id)).toBe('evt_01a20ccd84f970008000000000000004')
  })

  it('is a uuid of version 7: its time, the version, zeros, the variant (RFC 9562, 5.7)', () => {
    fc.assert(
      fc.property(events, (event) => {
        const id = eventIdOf(event)
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7000-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        const bits = BigInt(`0x${id.replaceAll('-', '')}`)
        expect(bits >> 80n).toBe(BigInt(event.createdAt.getTime()))
        expect((bits >> 76n) & 0xfn).toBe(7n)
        expect((bits >> 62n) & 0b11n).toBe(0b10n)
      }),
    )
  })

  it('carries the position of the event', () => {
    fc.assert(
      fc.property(events, (event) => {
        expect(positionOf(eventIdOf(event))).toBe(event.position)
      }),
    )
  })

  it.each([0n, 1n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 62n - 1n])(
    'carries the position %i exactly',
    (position) => {
      expect(positionOf(eventIdOf({ createdAt, position }))).toBe(position)
    },
  )

  it('is the same whenever it is asked for', () => {
    const again = new Date(createdAt.toISOString())
    const id = eventIdOf({ createdAt, position: 4n })
    expect(eventIdOf({ createdAt: again, position: 4n })).toBe(id)
  })

  it('sorts by time, and by position within a millisecond', () => {
    // Close together, so that many of them have a time or a position in common.
    const near = fc.record({
      createdAt: fc.integer({ min: 0, max: 20 }).map((ms) => new Date(createdAt.getTime() + ms)),
      position: fc.bigInt({ min: 0n, max: 300n }),
    })
    const some = fc.array(fc.oneof(near, events), { minLength: 2, maxLength: 20 })
    fc.assert(
      fc.property(some, (unsorted) => {
        const inOrder = unsorted.toSorted(
          (a, b) =>
            a.createdAt.getTime() - b.createdAt.getTime() || Number(a.position - b.position),
        )
        const ids = unsorted.map(eventIdOf)
        expect(ids.toSorted()).toEqual(inOrder.map(eventIdOf))
        const wireIds = ids.map((id) => encodeId('event', id))
        expect(wireIds.toSorted()).toEqual(
          inOrder.map((event) => encodeId('event', eventIdOf(event))),
        )
      }),
    )
  })

  it('is at or above the lowest id of its time, and below that of the next millisecond', () => {
    fc.assert(
      fc.property(events, (event) => {
        fc.pre(event.createdAt.getTime() < 2 ** 48 - 1)
        const id = eventIdOf(event)
        expect(id >= lowestIdAt(event.createdAt)).toBe(true)
        expect(id < lowestIdAt(new Date(event.createdAt.getTime() + 1))).toBe(true)
      }),
    )
  })

  it('is read back from the wire, as an id of an event only', () => {
    fc.assert(
      fc.property(events, (event) => {
        const id = eventIdOf(event)
        const wire = encodeId('event', id)
        expect(wire).toMatch(/^evt_[0-9a-f]{32}$/)
        expect(decodeId('event', wire)).toBe(id)
        expect(decodeId('transfer', wire)).toBeUndefined()
      }),
    )
  })
})
