import { constants } from 'node:os'

const names = new Map<number, string>(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
)

/** The signal that a shell's exit code tells of: 128 and its number. */
export function signalOfExit(code: number): string | null {
  return code > 128 ? (names.get(code - 128) ?? null) : null
}
