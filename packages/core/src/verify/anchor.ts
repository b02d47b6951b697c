import { CHAIN_COUNT } from '../ledger/seal.ts'
import type { Reader } from './pages.ts'

/** The end of a chain of seals: kept elsewhere, it shows later that nothing of it was cut off. */
export type ChainHead = { chain: number; length: bigint; seal: Buffer }

export async function readHeads(read: Reader): Promise<ChainHead[]> {
  return read<ChainHead>('SELECT chain, length, seal FROM ledger_chains ORDER BY chain')
}

/** One line per chain, as `parseAnchor` reads them. */
export function formatAnchor(heads: readonly ChainHead[]): string {
  return heads
    .map(
      ({ chain, length, seal }) =>
        `${JSON.stringify({ chain, length: Number(length), seal: seal.toString('hex') })}\n`,
    )
    .join('')
}

/** Throws where a line is no head; lines that are no JSON at all are the banner of npm. */
export function parseAnchor(text: string): ChainHead[] {
  const heads = text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map(parseHead)
  const chains = new Set(heads.map(({ chain }) => chain)).size
  if (chains !== CHAIN_COUNT) {
    throw new Error(`the anchor names ${chains} chains of ${CHAIN_COUNT}: it was cut off`)
  }
  return heads
}

function parseHead(line: string): ChainHead {
  const head = parseJson(line)
  if (typeof head === 'object' && head !== null) {
    const { chain, length, seal } = head as Record<string, unknown>
    const isSeal = typeof seal === 'string' && /^([0-9a-f]{64})?$/.test(seal)
    if (Number.isSafeInteger(chain) && Number.isSafeInteger(length) && isSeal) {
      return {
        chain: chain as number,
        length: BigInt(length as number),
        seal: Buffer.from(seal, 'hex'),
      }
    }
  }
  throw new Error(`the anchor has a line that is no head of a chain: ${line.slice(0, 100)}`)
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
