import { readFileSync } from 'node:fs'

/** The text of a small file, or undefined when it is not there or not ours to read. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
