import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createIdGenerator,
  decodeId,
  encodeId,
  idPrefixes,
  lowestIdAt,
  type IdKind,
} from '@payonce/core/ids'

const uuid = '0190f0e0-1234-7abc-9def-0123456789ab'
const wire = 'tr_0190f0e012347abc9def0123456789ab'
const kinds = Object.keys(idPrefixes) as IdKind[]

const uuids = fc.uuid({ version: 7 })

describe('an id on the wire', () => {
  it('is its prefix and the hex digits of the uuid', () => {
    expect(encodeId('transfer', uuid)).toBe(wire)
    expect(decodeId('transfer', wire)).toBe(uuid)
  })

  it('is read back as the uuid it was made from, for every kind', () => {
    fc.assert(
      fc.property(uuids, fc.constantFrom(...kinds), (one, kind) => {
        expect(decodeId(kind, encodeId(kind, one))).toBe(one)
      }),
    )
  })

  it('is an id of its own kind only', () => {
    for (const kind of kinds) {
      for (const other of kinds) {
        const read = decodeId(other, encodeId(kind, uuid))
        expect(read).toBe(other === kind ? uuid : undefined)
      }
    }
  })

  it('sorts as its uuid does', () => {
    fc.assert(
      fc.property(fc.array(uuids, { maxLength: 10 }), (some) => {
        const encoded = some.toSorted().map((one) => encodeId('transfer', one))
        expect(encoded).toEqual(encoded.toSorted())
      }),
    )
  })

  it('has a prefix that no other kind has, of lower-case letters', () => {
    const prefixes = Object.values(idPrefixes)
    expect(new Set(prefixes).size).toBe(prefixes.length)
    for (const prefix of prefixes) expect(prefix).toMatch(/^[a-z]{2,4}$/)
  })

  it('has the prefixes that clients already store', () => {
    expect(idPrefixes).toMatchObject({ account: 'acc', transfer: 'tr' })
  })
})

describe('B18 no id of a transfer is', () => {
  it.each([
    ['the empty text', ''],
    ['the prefix alone', 'tr_'],
    ['the digits alone', wire.slice(3)],
    ['the stored uuid', uuid],
    ['a prefix and the stored uuid', `tr_${uuid}`],
    ['an account id', wire.replace('tr_', 'acc_')],
    ['an upper-case id', wire.toUpperCase()],
    ['an id with upper-case digits', `tr_${wire.slice(3).toUpperCase()}`],
    ['one digit too few', wire.slice(0, -1)],
    ['one digit too many', `${wire}0`],
    ['300 characters', `tr_${'0'.repeat(297)}`],
    ['a digit that is none', wire.replace('abc', 'xyz')],
    ['a space before', ` ${wire}`],
    ['a line feed behind', `${wire}\n`],
    ['a NUL behind', `${wire}\u0000`],
    ['a uuid of version 4', wire.replace('7abc', '4abc')],
    ['a uuid of another variant', wire.replace('9def', 'cdef')],
    ['two dots escaped', '%2e%2e'],
    ['an emoji', 'tr_😀'],
    ['SQL text', "tr_' OR 1=1 --"],
    ['digits of another script', `tr_${'٠'.repeat(32)}`],
  ])('%s', (_, text) => {
    expect(decodeId('transfer', text)).toBeUndefined()
  })

  it('anything but its 35 characters, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (text) => {
        expect(decodeId('transfer', text)).toBeUndefined()
      }),
    )
  })
})

describe('a new id', () => {
  it('rises with every call, also within one millisecond', () => {
    const newId = createIdGenerator(() => 1_700_000_000_000)
    const made = Array.from({ length: 5_000 }, newId)
    expect(made).toEqual(made.toSorted())
    expect(new Set(made).size).toBe(made.length)
  })

  it('rises also while the clock is a few seconds behind what it was', () => {
    let nowMs = 1_700_000_000_000
    const newId = createIdGenerator(() => nowMs)
    const first = newId()
    nowMs -= 5_000
    expect(newId() > first).toBe(true)
  })

  it('carries the time that it was told, and can be sent over the wire', () => {
    const newId = createIdGenerator(() => 1_700_000_000_000)
    const made = newId()
    expect(Number.parseInt(made.replaceAll('-', '').slice(0, 12), 16)).toBe(1_700_000_000_000)
    expect(decodeId('transfer', encodeId('transfer', made))).toBe(made)
  })
})

describe('the lowest id of a time', () => {
  it('is at or below every id made then, and above every id made before', () => {
    const times = fc.integer({ min: 1, max: 253_402_300_799_999 })
    fc.assert(
      fc.property(times, (nowMs) => {
        const lowest = lowestIdAt(new Date(nowMs))
        expect(createIdGenerator(() => nowMs)() >= lowest).toBe(true)
        expect(createIdGenerator(() => nowMs - 1)() < lowest).toBe(true)
      }),
    )
  })

  it('is a uuid of version 7, also for times before 1970', () => {
    const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7000-8000-0{12}$/
    for (const time of ['2026-01-01T00:00:00Z', '1970-01-01T00:00:00Z', '1900-01-01T00:00:00Z']) {
      expect(lowestIdAt(new Date(time))).toMatch(form)
    }
  })
})
