/**
 * Pairs by their keys' code units, as RFC 8785 orders them, however they were sent or stored. Keys
 * that look like array indexes come first, as JavaScript writes them: one fixed order all the same.
 */
export function canonicalMetadata(
  metadata: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
