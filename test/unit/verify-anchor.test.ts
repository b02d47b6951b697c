import { CHAIN_COUNT } from '@payonce/core/ledger/seal'
import { formatAnchor, parseAnchor } from '@payonce/core/verify/anchor'
import { describe, expect, it } from 'vitest'

const heads = Array.from({ length: CHAIN_COUNT }, (_, chain) => ({
  chain,
  length: BigInt(chain),
  seal: Buffer.alloc(chain === 0 ? 0 : 32, chain),
}))

describe('an anchor', () => {
  it('is read as it was written, with the lines of npm before it', () => {
    expect(parseAnchor(`\n> payonce verify\n${formatAnchor(heads)}`)).toEqual(heads)
  })

  it.each([
    ['that was cut off at the end of a line', formatAnchor(heads.slice(0, -1))],
    [
      'that names a chain twice in place of another',
      formatAnchor([...heads.slice(1), ...heads.slice(1, 2)]),
    ],
    ['of nothing', ''],
  ])('%s is refused: it would check fewer chains unseen', (_what, text) => {
    expect(() => parseAnchor(text)).toThrow('it was cut off')
  })
})
