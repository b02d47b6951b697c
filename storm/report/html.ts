/** Text that may stand in a page as it is: everything in it was escaped, or written by us. */
export type Html = { readonly html: string }

type Part = string | number | Html | readonly Html[]

/**
 * A piece of a page. What is filled in is escaped, for text and for attributes in double quotes,
 * unless it is a piece of a page itself.
 */
export function html(texts: TemplateStringsArray, ...parts: readonly Part[]): Html {
  const filled = parts.map((part, index) => toText(part) + (texts[index + 1] ?? ''))
  return { html: (texts[0] ?? '') + filled.join('') }
}

function toText(part: Part): string {
  if (typeof part === 'string') return escape(part)
  if (typeof part === 'number') return String(part)
  if ('html' in part) return part.html
  return part.map((one) => one.html).join('')
}

const replacements: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => replacements[character] ?? character)
}
