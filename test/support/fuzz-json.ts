import * as fc from 'fast-check'

/**
 * The text of a good JSON object, mostly as it is, else with something changed: a member left out,
 * retyped, doubled or added, a number spelled in another way, too deep, cut off, too long, or no JSON.
 */
export function mutatedJson(good: fc.Arbitrary<object>): fc.Arbitrary<string | Uint8Array> {
  const changed = fc.tuple(good, fc.nat(20), anything()).chain(([object, at, value]) => {
    const names = Object.keys(object)
    const name = names[at % Math.max(1, names.length)] ?? 'amount'
    const text = JSON.stringify(object)
    const others = JSON.stringify({ ...object, [name]: undefined })
    const beside = (member: string) =>
      others.replace(/\}$/, `${others === '{}' ? '' : ','}${member}}`)
    return fc.oneof(
      fc.constant(others),
      fc.constant(beside(`"${name}":${value}`)),
      fc.constant(text.replace(/^\{/, `{"${name}":${value}${text === '{}' ? '' : ','}`)),
      fc.constant(beside(`"extra":${value}`)),
      anything().map((key) => beside(`${JSON.stringify(key)}:${value}`)),
      number().map((token) => beside(`"${name}":${token}`)),
      number().map((token) => beside(`"amount":${token}`)),
      fc.nat(text.length).map((end) => text.slice(0, end)),
      fc.tuple(fc.nat(text.length), fc.nat(255)).map(([position, byte]) => {
        const bytes = Buffer.from(text)
        return Buffer.concat([
          bytes.subarray(0, position),
          Buffer.of(byte),
          bytes.subarray(position),
        ])
      }),
      fc.integer({ min: 65_000, max: 66_000 }).map((length) => text.padEnd(length)),
      fc.constant(`[${text}]`),
    )
  })
  return fc.oneof(
    { weight: 8, arbitrary: good.map((object) => JSON.stringify(object)) },
    { weight: 5, arbitrary: changed },
    { weight: 1, arbitrary: anything() },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)) },
  )
}

/** JSON of any form, deep forms among them. */
function anything(): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.json() },
    { weight: 1, arbitrary: fc.json({ stringUnit: 'binary' }) },
    { weight: 1, arbitrary: number() },
    {
      weight: 1,
      arbitrary: fc
        .integer({ min: 1, max: 10_000 })
        .map((depth) => `${'['.repeat(depth)}${']'.repeat(depth)}`),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom('{"__proto__":{"a":1}}', '{"a":1,"\\u0061":1}', '"\\ud800"'),
    },
  )
}

/** Numbers as a text may spell them, in JSON and not. */
function number(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constantFrom('0', '-0', '01', '1.0', '1e0', '10e-1', '1e400', 'NaN', '.5', '1.'),
    fc.constantFrom('9007199254740991', '9007199254740992', '1.00000000000000001'),
    fc.double().map(String),
    fc.bigInt().map(String),
  )
}
