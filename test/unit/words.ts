/** The words of a text: a table of short cases is easier to read without quotes and commas. */
export function words(text: string): string[] {
  return text.trim().split(/\s+/)
}
