import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The root of the repository, as files are named in it. */
const root = fileURLToPath(new URL('../../', import.meta.url))

let folder = ''

export function initialize(data) {
  folder = data.folder
}

/** Reads a file of the product from the folder of patched sources, where that has it. */
export async function load(url, context, nextLoad) {
  const [address] = url.split('?')
  if (!address.startsWith('file:')) return nextLoad(url, context)
  const path = fileURLToPath(address)
  if (!path.startsWith(root)) return nextLoad(url, context)
  const patched = `${folder}/${path.slice(root.length)}`
  if (!existsSync(patched)) return nextLoad(url, context)
  return {
    format: context.format ?? 'module',
    source: readFileSync(patched, 'utf8'),
    shortCircuit: true,
  }
}
