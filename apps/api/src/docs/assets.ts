import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip as gzipCallback } from 'node:zlib'
import { entityTagOf } from '../entity-tag.ts'

/** What is sent to many without a change, in both forms in which it is sent. */
export type Asset = { type: string; plain: Form; gzipped: Form }
type Form = { bytes: Uint8Array<ArrayBuffer>; etag: string }

const gzip = promisify(gzipCallback)
const script = 'text/javascript; charset=utf-8'
const style = 'text/css; charset=utf-8'
const ours = (name: string) => () => join(import.meta.dirname, 'assets', name)
const swaggerUi = (name: string) => () =>
  createRequire(import.meta.url).resolve(`swagger-ui-dist/${name}`)

/** Swagger UI comes from its package, so that nothing is fetched from anywhere else. */
const sources: Readonly<Record<string, { type: string; path(): string }>> = {
  'pages.css': { type: style, path: ours('pages.css') },
  'reference.css': { type: style, path: ours('reference.css') },
  'reference.js': { type: script, path: ours('reference.js') },
  'swagger-ui.css': { type: style, path: swaggerUi('swagger-ui.css') },
  'swagger-ui-bundle.js': { type: script, path: swaggerUi('swagger-ui-bundle.js') },
}

/**
 * Gives the files of the pages. Each is read and compressed when it is first asked for, and kept
 * (about 2.4 MB when all of them are), so that a server whose pages nobody reads pays nothing.
 */
export function createAssets(): (name: string) => Promise<Asset> | undefined {
  const loaded = new Map<string, Promise<Asset>>()

  return function assetNamed(name) {
    const source = Object.hasOwn(sources, name) ? sources[name] : undefined
    if (source === undefined) return undefined
    const known = loaded.get(name)
    if (known !== undefined) return known
    const loading = load(source)
    loaded.set(name, loading)
    // A file that could not be read is tried again by the next request.
    loading.catch(() => loaded.delete(name))
    return loading
  }
}

async function load({ type, path }: { type: string; path(): string }): Promise<Asset> {
  return toAsset(type, await readFile(path()))
}

/** Prepares bytes to be sent often. */
export async function toAsset(type: string, bytes: Buffer): Promise<Asset> {
  return { type, plain: toForm(bytes), gzipped: toForm(await gzip(bytes)) }
}

function toForm(buffer: Buffer): Form {
  const bytes = new Uint8Array(buffer)
  return { bytes, etag: entityTagOf(bytes) }
}
