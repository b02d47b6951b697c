import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** A change to one of the product's sources, for a process under test alone. */
export type Patch = {
  /** From the root of the repository. */
  file: string
  /** A text that stands in the file exactly once. */
  anchor: string
  put: 'before' | 'after' | 'instead'
  text: string
}

/** A patch has lost its place: the source has changed, and the patch has to follow. */
export class AnchorError extends Error {
  override name = 'AnchorError'
}

/** Applies the patches of one file in their order. Throws `AnchorError` for one that has no place. */
export function applyPatches(source: string, patches: readonly Patch[]): string {
  return patches.reduce(applyPatch, source)
}

/** Writes every patched file into a folder, under the name that it has in the repository. */
export function writePatchedSources(
  patches: readonly Patch[],
  { root, folder }: { root: string; folder: string },
): void {
  for (const file of new Set(patches.map((patch) => patch.file))) {
    const own = patches.filter((patch) => patch.file === file)
    const patched = applyPatches(readFileSync(join(root, file), 'utf8'), own)
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), patched)
  }
}

function applyPatch(source: string, { file, anchor, put, text }: Patch): string {
  const parts = source.split(anchor)
  const [before, after] = parts
  if (parts.length !== 2 || before === undefined || after === undefined) {
    throw new AnchorError(`${file} has this text ${parts.length - 1} times, not once:\n${anchor}`)
  }
  switch (put) {
    case 'before':
      return `${before}${text}${anchor}${after}`
    case 'after':
      return `${before}${anchor}${text}${after}`
    case 'instead':
      return `${before}${text}${after}`
  }
}
